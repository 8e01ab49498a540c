"""Measure what each idea of the recipe and the data is worth: train and score the recipe without it.

python -m scripts.ablations --out runs/study --arms reference,no_noise --seeds 0,1 --max-steps 60
"""

from __future__ import annotations

from pathlib import Path

from scripts.evaluation.arms import ARMS
from utils_ft import RUNS, UserError, check_writable, command, show_path


def main(
    out: Path = RUNS / "study",
    arms: str = ",".join(ARMS),
    seeds: str = "0",
    profile: str | None = None,
    max_steps: int | None = None,
    problems: int | None = None,
) -> None:
    """Train and score the recipe without each of its ideas, and print a table.

    Each arm is one training that differs from the reference in one thing. All arms take the same number of
    training steps. One arm of the demo profile takes about as long as `make demo`. A study that was
    interrupted continues when the command is run again, and arms and seeds can be added.

    Arguments:
        out: Folder of the study.
        arms: Names of arms, with commas between. By default all.
        seeds: Seeds of the training, with commas between.
        profile: Profile with the recipe, the model and the amount of data: smoke, demo, …
        max_steps: Training steps of each arm. By default those of the profile.
        problems: Test problems to score, spread over the families. By default all.
    """
    wanted = [name.strip() for name in arms.split(",")]
    if unknown := sorted(set(wanted) - set(ARMS)):
        raise UserError(f"unknown arm {unknown[0]!r}", remedy=f"some of: {', '.join(ARMS)}")
    numbers = [seed.strip() for seed in seeds.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--seeds is a list of numbers, not {seeds!r}", remedy="write --seeds 0,1")

    if problems is not None and problems < 1:
        raise UserError(f"--problems must be at least 1, not {problems}")
    check_writable(out, folder=True)
    from scripts.evaluation.ablations import study

    table = study(out, wanted, [int(number) for number in numbers], profile, max_steps, problems)
    print(table.to_string(index=False))
    print(show_path(out / "study.json"))


if __name__ == "__main__":
    command(main)()
