"""Read the problem set of another project into a folder that `evaluate --benchmarks` takes.

python -m scripts.import_problems aspuzzle DIR --out data/aspuzzle
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from utils_ft import command, show_path


class Format(StrEnum):
    """The sets that can be read."""

    ASPUZZLE = "aspuzzle"
    SAVANTY = "savanty"


def main(
    name: Annotated[Format, typer.Argument()], source: Annotated[Path, typer.Argument()], out: Path
) -> None:
    """Read the problem set of another project into a folder that `evaluate --benchmarks` takes.

    The set must have been fetched before; nothing is downloaded. docs/evaluation.md says how each is read.

    Arguments:
        name: The set: aspuzzle or savanty.
        source: Folder of the set. For aspuzzle the checkout, for savanty its folder benchmark/problems.
        out: Folder to write. It replaces what is there.
    """
    from scripts.asp.solver import Solver
    from scripts.data.importers.aspuzzle import read_aspuzzle
    from scripts.data.importers.layout import write_collection
    from scripts.data.importers.savanty import read_savanty

    if name is Format.ASPUZZLE:
        problems = read_aspuzzle(source)
    else:
        with Solver() as solver:
            problems = read_savanty(source, solver)
    write_collection(problems, out)
    print(f"{len(problems)} problems: {show_path(out)}")


if __name__ == "__main__":
    command(main)()
