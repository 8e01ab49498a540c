"""Gold programs: their steps, and their answer sets on all instances."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scripts.asp.comparison import Relation, compare
from scripts.asp.feedback import context_of
from scripts.asp.solver import Outcome, Request, Solver
from scripts.data.checks import instance_faults
from scripts.data.problems import Problem
from utils_ft import UserError


@dataclass(frozen=True)
class Variant:
    """A problem under one naming: instructions and codes of its steps with an instruction, and the code without.

    `names` maps the variables of each step from old to new.
    """

    naming: str
    given: str
    steps: tuple[tuple[str, str], ...]
    names: tuple[dict[str, str], ...] = ()

    @property
    def program(self) -> str:
        return context_of("", self.given, [code for _, code in self.steps])


def variant_of(problem: Problem) -> Variant:
    """The problem with its own variables."""
    encoding = problem.encoding
    return Variant(
        "original", encoding.given, tuple((step.instruction, step.code) for step in encoding.instructed)
    )


def given_stands_first(problem: Problem, gold: list[Outcome], solver: Solver) -> bool:
    """Whether the code without instructions can stand before the rest, as it does when steps are asked for."""
    variant = variant_of(problem)
    return (
        not variant.given or compare(gold, solve(problem, variant.program, solver)).relation is Relation.EQUAL
    )


def gold_outcomes(problem: Problem, solver: Solver) -> list[Outcome]:
    """The outcomes of the gold program, one an instance. UserError, with file and line, where its answer sets are not all found."""
    outcomes = solve(problem, problem.encoding.program, solver)
    failing = [
        (item, outcome)
        for item, outcome in zip(problem.instances.items(), outcomes, strict=True)
        if outcome.answer_sets is None
    ]
    if failing:
        items, why = zip(*failing, strict=True)
        fault = next(instance_faults(replace(problem, instances=dict(items)), why))
        raise UserError(fault.what, where=fault.file, line=fault.line, remedy=fault.remedy)
    return outcomes


def solve(problem: Problem, program: str, solver: Solver) -> list[Outcome]:
    """The solved outcome of `program` on each instance of `problem`."""
    return list(
        solver.run(Request(f"{facts}\n{program}", solve=True) for facts in problem.instances.values())
    )
