"""Examples that a notebook shows: one chosen or made row, text or problem for one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scripts.data.problems import Problem


def problem_with_fewest_errors(result: Mapping, problems: Sequence[Problem]) -> Problem:
    """The problem with the fewest steps that clingo rejects, but with at least one if possible.

    `result` has the figures of an evaluation of `problems`. A notebook repairs the steps of this problem.
    """
    steps = [item for item in result["verdicts"] if item["part"] == "steps"]
    rejected = [item["problem"] for item in steps if not item["ground"]]
    return min(problems, key=lambda problem: rejected.count(problem.id) or len(rejected) + 1)
