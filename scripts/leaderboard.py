"""Merge result files of `evaluate` into one table and one figure.

python -m scripts.leaderboard base.json fine_tuned.json --out leaderboard.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from utils_ft import RUNS, UserError, check_writable, command, show_path, write_text


def main(files: Annotated[list[Path], typer.Argument()], out: Path = RUNS / "leaderboard.md") -> None:
    """Merge result files of `evaluate` into one Markdown table and one figure.

    Each file is a row. Files of different problems or scoring versions are refused, as their figures cannot
    be compared.

    Arguments:
        files: JSON files that `evaluate --out` has written.
        out: Markdown file for the table. The figure stands beside it, with the ending .png.
    """
    from scripts.evaluation.leaderboard import leaderboard, markdown, read_results
    from scripts.notebook.plots import leaderboard_bars

    figure = out.with_suffix(".png")
    if figure == out:
        raise UserError(
            "this is the name of the figure", where=out, remedy="name a Markdown file, such as a.md"
        )
    for file in (out, figure):
        check_writable(file, inputs=files)
    results = read_results(files)
    table = leaderboard(results)
    out.parent.mkdir(parents=True, exist_ok=True)
    leaderboard_bars(results).savefig(figure)
    write_text(out, markdown(table, results) + f"\n![Shares of right answers]({figure.name})\n")
    print(table.to_string(index=False))
    print(f"{show_path(out)}, {show_path(figure)}")


if __name__ == "__main__":
    command(main)()
