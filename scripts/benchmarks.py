"""Base problems: a text, an annotated encoding, small instances. Reading them, and the gate they must pass.

python -m scripts.benchmarks check DIR        every fault with file, line and remedy; exit code 2 if there is one
python -m scripts.benchmarks constructs DIR   how many problems show each construct of the language
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts.asp.constructs import construct_table
from scripts.asp.solver import Solver
from scripts.data.checks import Fault, check_problem
from scripts.data.problems import Problem, read_problems
from scripts.data.twins import twins
from utils_ft import BENCHMARKS, command


class Action(StrEnum):
    CHECK = "check"
    CONSTRUCTS = "constructs"


def main(
    action: Annotated[Action, typer.Argument()], folder: Annotated[Path, typer.Argument()] = BENCHMARKS
) -> None:
    """Check a folder of problems, or count the constructs that it shows."""
    problems = read_problems(folder)
    if action is Action.CONSTRUCTS:
        for name, count in construct_table(problem.encoding for problem in problems).most_common():
            print(f"{count:5}  {name}")
        return
    faults: list[Fault] = []
    parsed: list[Problem] = []
    statements = load_bearing = 0
    with Solver() as solver:
        print(f"{'problem':44} {'rules':>5} {'tested':>6}  answer sets by instance")
        for problem in problems:
            checked = check_problem(problem, solver)
            counts = " ".join(map(str, checked.answer_sets)) + "  FAULT" * bool(checked.faults)
            print(f"{problem.id:44} {checked.statements:5} {checked.load_bearing:6}  {counts}", flush=True)
            faults += checked.faults
            parsed += [problem] if checked.statements else []
            statements += checked.statements
            load_bearing += checked.load_bearing
    faults += [
        Fault(
            second.encoding_file,
            None,
            f"the same problem as {first.id}, up to renaming",
            "remove one of the two",
        )
        for first, second in twins(parsed)
    ]
    print(
        f"\n{len(problems)} problems, {statements} statements, {load_bearing} of them load-bearing "
        f"({load_bearing / max(statements, 1):.1%}), {len(faults)} faults"
    )
    for fault in faults:
        print(f"\n{fault}")
    if faults:
        raise typer.Exit(2)


if __name__ == "__main__":
    command(main)()
