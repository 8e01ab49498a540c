"""Generate problems: random programs in random worlds, with instructions, each rule verified with the solver.

python -m scripts.data_generator --out data/generated --problems 100 --seed 0
"""

from __future__ import annotations

from pathlib import Path

from utils_ft import BENCHMARKS, command, show_path


def main(
    out: Path,
    problems: int = 100,
    seed: int = 0,
    level: int | None = None,
    benchmarks: Path = BENCHMARKS,
) -> None:
    """Generate problems: random programs in random worlds, with instructions, each rule verified.

    The folder has the layout of the shipped problems, so that benchmarks, data_converter and evaluate read
    it. Problem number i of a seed is the same for any number of problems. Problems that the folder has are
    kept, so an interrupted run goes on.

    Arguments:
        out: The folder to write to.
        problems: The number of problems in the folder when the command ends.
        seed: Decides all random choices.
        level: From 1 (short programs of simple rules) to 5 (long programs of all constructs). Default: all in
            turn.
        benchmarks: The folder of problems whose training rules give a part of the shapes.
    """
    from scripts.data.generator.folder import generate_folder

    written = generate_folder(out, problems, seed, level, benchmarks)
    for index in written.failed:
        print(f"nothing came out of number {index}")
    kept = f", {written.kept} were there already" * bool(written.kept)
    print(f"{show_path(out)}: {len(written.problems)} new problems with {written.rules} rules{kept}")


if __name__ == "__main__":
    command(main)()
