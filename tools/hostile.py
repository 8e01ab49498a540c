"""Attacks on the gate and the scores: random texts against clingo's own lexer, and hostile answers.

python -m tools.hostile gate --number 50000
python -m tools.hostile answers --number 1000
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from utils_ft import UserError, command


class Action(StrEnum):
    """What is tried: texts for the gate, or answers for the scores."""

    GATE = "gate"
    ANSWERS = "answers"


def main(
    action: Annotated[Action, typer.Argument(show_default=False)], number: int = 50_000, seed: int = 0
) -> None:
    """Try random texts on the gate, or hostile answers on all parts of an evaluation.

    A failure is printed, and the exit code is 2.

    Arguments:
        action: gate: whether clingo's lexer reads what the gate does not see. answers: whether a hostile
            answer passes, or a prompt is longer than the context of the smoke model.
        number: Texts or answers, at least.
        seed: Seed of the texts.
    """
    from tools.hostile_runs import try_answers, try_texts

    failures = try_texts(number, seed) if action is Action.GATE else try_answers(number)
    for failure in failures[:20]:
        print(failure)
    if failures:
        raise UserError(f"{len(failures)} failures")


if __name__ == "__main__":
    command(main)()
