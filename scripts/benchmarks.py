"""Check a folder of problems, or count the constructs that it shows.

python -m scripts.benchmarks check DIR
python -m scripts.benchmarks constructs DIR
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts.asp.constructs import construct_table, lacking
from scripts.asp.solver import Solver
from scripts.data.checks import Checked, check_problem
from scripts.data.problems import Problem, read_folder, with_split
from scripts.data.twins import twins
from utils_ft import BENCHMARKS, UserError, command


class Action(StrEnum):
    """What the command does."""

    CHECK = "check"
    CONSTRUCTS = "constructs"


def main(
    action: Annotated[Action, typer.Argument()], folder: Annotated[Path, typer.Argument()] = BENCHMARKS
) -> None:
    """Check a folder of problems, or count the constructs that it shows.

    `check` prints a line for each problem, then how many are in each split, and every fault with its file,
    line and remedy. The exit code is 2 if there is a fault. A note names a step of several statements that
    can be split. `constructs` prints how many problems show each construct of the language, and the
    constructs that none shows.

    Arguments:
        action: check or constructs.
        folder: The folder of problems: DIR/<family>/<problem>/ with problem.md, encoding.lp and
            instances/*.lp.
    """
    problems, unreadable = read_folder(folder)
    if action is Action.CONSTRUCTS:
        table = construct_table(problem.encoding for problem in problems)
        for name, count in table.most_common():
            print(f"{count:5}  {name}")
        if missing := lacking(table):
            print(f"\nNo problem shows: {', '.join(missing)}")
        return
    others = [entry.fault for entry in unreadable]
    try:
        split = with_split(problems, folder, unreadable).describe_split_for_training()
    except UserError as error:
        others, split = [*others, error], ""
    faults, notes = _check(problems, others)
    if split:
        print(split)
    for fault in faults:
        print(f"\n{fault}")
    for note in notes:
        print(f"\nnote: {note}")
    if faults:
        raise typer.Exit(2)


def _check(problems: list[Problem], others: list[UserError]) -> tuple[list[UserError], list[UserError]]:
    """Check all problems and print a table.

    Returns the faults, each once and `others` first, and the notes.
    """
    faults = list(others)
    notes: list[UserError] = []
    parsed: list[Problem] = []
    statements = load_bearing = known = 0
    with Solver() as solver:
        print(f"{'problem':44} {'rules':>5} {'tested':>6}  answer sets by instance")
        for problem in problems:
            checked = check_problem(problem, solver)
            counts = _counts(checked) + "  FAULT" * bool(checked.faults)
            tested = "?" if checked.load_bearing is None else checked.load_bearing
            print(f"{problem.id:44} {checked.statements:5} {tested:>6}  {counts}", flush=True)
            faults += checked.faults
            notes += checked.notes
            parsed += [problem] if checked.statements else []
            if checked.load_bearing is not None:
                statements += checked.statements
                load_bearing += checked.load_bearing
                known += 1
    faults += [
        UserError(
            pair.what,
            where=pair.second.description_file if pair.same == "description" else pair.second.encoding_file,
            remedy="remove one of the two",
        )
        for pair in twins(parsed)
    ]
    faults = list({str(fault): fault for fault in faults}.values())
    of_known = "" if known == len(problems) else f", of {known} problems whose answer sets are known"
    print(
        f"\n{_number(len(problems), 'problem')}, {_number(statements, 'statement')}, "
        f"{load_bearing} of them load-bearing ({load_bearing / max(statements, 1):.1%}){of_known}, "
        f"{_number(len(faults), 'fault')}"
    )
    return faults, notes


def _number(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _counts(checked: Checked) -> str:
    """The answer sets of each instance in the table. Reasons of several words have commas between."""
    separator = ", " if any(isinstance(count, str) for count in checked.answer_sets) else " "
    return separator.join(map(str, checked.answer_sets))


if __name__ == "__main__":
    command(main)()
