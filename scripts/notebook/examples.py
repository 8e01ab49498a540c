"""Examples that a notebook shows: one chosen or made row, text or problem for one cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random

from scripts.asp.solver import Solver
from scripts.data.problems import Problem
from scripts.data.renamed_problems import VariableRenamer, renamed_problems
from scripts.data.repairs import RepairMaker
from scripts.data.report import Report
from scripts.data.rows import Row
from scripts.data.settings import NAMINGS
from utils_ft import EXAMPLES, read_json


def problem_with_fewest_errors(result: Mapping, problems: Sequence[Problem]) -> Problem:
    """The problem with the fewest steps that clingo rejects, but with at least one if possible.

    `result` has the figures of an evaluation of `problems`. A notebook repairs the steps of this problem.
    """
    steps = [item for item in result["verdicts"] if item["part"] == "steps"]
    rejected = [item["problem"] for item in steps if not item["ground"]]
    return min(problems, key=lambda problem: rejected.count(problem.id) or len(rejected) + 1)


def example_repair(problem: Problem, corruption: str, solver: Solver, seed: int = 0) -> Row:
    """Return a repair row of a problem, of the class `corruption` if there is one among 40 rows."""
    report = Report()
    own = renamed_problems(problem, 0, Random(seed), solver, report)[0]
    rows = RepairMaker(own, solver, VariableRenamer(solver, report), NAMINGS).rows(40, Random(seed))
    return next((row for row in rows if row["meta"]["corruption"] == corruption), rows[0])


def example_unfaithful_text(text: str) -> str:
    """Return `text` with another name for its first predicate: an error that paraphrases may have."""
    return re.sub(r"`(\w+)\(", r"`my_\1(", text, count=1)


def stored_paraphrase_run() -> dict:
    """Return a real run of a local model on one description: its answers, and the errors of each.

    Keys: `provider`, `model`, `date`, `command`, `problem`, `style`, `original`, `tries` (for each one the
    SHA-256 of its prompt, the answer and its errors), `status` (`made` or `dropped`), and `tasks`: how each
    text ended that the run finished before it was stopped.
    """
    return read_json(EXAMPLES / "paraphrase_run.json", "restore the file from the repository")
