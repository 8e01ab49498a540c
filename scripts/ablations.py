"""What each idea of recipe and data is worth: the same training without it, scored by the solver beside the reference.

    python -m scripts.ablations --out runs/study [--arms reference,no_noise] [--seeds 0,1] [--max-steps 60]

Every arm takes the same number of optimiser steps of the same size from the same converted problems, and differs from the
reference in one thing. What is done is kept: a study that was cut short goes on, and arms and seeds can be added later.
"""

from __future__ import annotations

from pathlib import Path

from scripts.evaluation.ablations import ARMS, study
from utils_ft import RUNS, UserError, command, show_path


def main(
    out: Path = RUNS / "study",
    arms: str = ",".join(ARMS),
    seeds: str = "0",
    profile: str | None = None,
    max_steps: int | None = None,
    problems: int | None = None,
) -> None:
    """Train and score the recipe without each of its ideas, and print a table.

    --arms and --seeds are lists with commas between; --problems limits how many test problems are scored. One arm of the
    demo profile takes about as long as `make demo`.
    """
    wanted = [name.strip() for name in arms.split(",")]
    if unknown := sorted(set(wanted) - set(ARMS)):
        raise UserError(f"unknown arm {unknown[0]!r}", remedy=f"some of: {', '.join(ARMS)}")
    if not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        raise UserError(f"these are no seeds: {seeds!r}", remedy="write --seeds 0,1")
    print(
        study(out, wanted, [int(seed) for seed in seeds.split(",")], profile, max_steps, problems).to_string(
            index=False
        )
    )
    print(show_path(out / "study.json"))


if __name__ == "__main__":
    command(main)()
