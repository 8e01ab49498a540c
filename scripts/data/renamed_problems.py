"""Problems with other predicate names and other variable names, verified on all instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

from scripts.asp.comparison import Relation, compare
from scripts.asp.solver import Outcome, Solver
from scripts.data.gold import Variant, solve, solve_gold, variant_of
from scripts.data.left_out import left_out
from scripts.data.predicate_renaming import (
    predicate_names,
    rename_answer_sets,
    rename_predicates,
    rename_predicates_in_program,
    rename_predicates_in_text,
)
from scripts.data.problems import Problem
from scripts.data.report import Report
from scripts.data.retellings import retelling_faults, retold, same_but_retold
from scripts.data.variable_renaming import POOLS, rename, same_up_to
from utils_ft import UserError


@dataclass(frozen=True, eq=False)
class RenamedProblem:
    """A problem under one predicate renaming, in a retelling, or as it is.

    Attributes:
        problem: The problem with the new names.
        names: The old and new names of its predicates; empty if it has its own. A predicate that is not there
            keeps its name.
        gold: The outcomes of its gold program, one for each instance; empty if nothing is compared with them.
        source: The problem with its own names, if a predicate renaming gave `problem` others.
        retelling: The domain of the retelling, or "".
    """

    problem: Problem
    names: dict[str, str] = field(default_factory=dict)
    gold: tuple[Outcome, ...] = ()
    source: RenamedProblem | None = None
    retelling: str = ""

    @cached_property
    def original(self) -> Variant:
        """The gold program with the problem's own variables."""
        return variant_of(self.problem)

    @property
    def kept(self) -> set[str]:
        """The predicates that keep their names although others are renamed."""
        return predicate_names(self.source.problem) - self.names.keys() if self.source else set()

    @property
    def meta(self) -> dict[str, Any]:
        """The part of a row's `meta` that all rows of this problem share."""
        vocabulary = {"vocabulary": self.names} if self.names else {}
        retelling = {"retelling": self.retelling} if self.retelling else {}
        return {"problem": self.problem.name, "family": self.problem.family} | vocabulary | retelling


class VariableRenamer:
    """Gives the variants of problems under other names of their variables, each verified when it is first
    used.

    A variant is verified if its trees are the same up to the names, no two variables have become one, and it
    has the same answer sets on all instances.

    Arguments:
        solver: The solver that verifies.
        report: Counts what is verified and what is dropped.
    """

    def __init__(self, solver: Solver, report: Report):
        self.solver, self.report = solver, report
        self._variants: dict[tuple[RenamedProblem, str], Variant] = {}

    def variant(self, renamed: RenamedProblem, naming: str) -> Variant:
        """Return the variant of a problem under `naming`, or the original if none is verified."""
        key = (renamed, naming)
        if key not in self._variants:
            variant = self._verified(renamed, naming) if naming in POOLS else None
            self._variants[key] = variant or renamed.original
        return self._variants[key]

    def _verified(self, renamed: RenamedProblem, pool: str) -> Variant | None:
        variant = self._from_source(renamed, pool) if renamed.source else self._same_trees(renamed, pool)
        if variant is None:
            return None
        outcomes = solve(renamed.problem, variant.program, self.solver)
        relation = compare(renamed.gold, outcomes).relation
        if relation is not Relation.EQUAL:
            self.report.dropped[f"renaming {pool}: answer sets {relation}"] += 1
            return None
        answer_sets = " and answer sets" if any(outcome.answer_sets for outcome in renamed.gold) else ""
        self.report.verified[f"renamings with the same trees{answer_sets}"] += 1
        return variant

    def _same_trees(self, renamed: RenamedProblem, pool: str) -> Variant | None:
        """The original with renamed variables, or None if more than the names of variables would change."""
        original = renamed.original
        renamings = [rename(instruction, code, pool) for instruction, code in original.steps]
        for renaming, (_, code) in zip(renamings, original.steps, strict=True):
            if not same_up_to(renaming.names, code, renaming.code):
                self.report.dropped[f"renaming {pool}: not the same tree"] += 1
                return None
        steps = tuple((renaming.instruction, renaming.code) for renaming in renamings)
        return Variant(pool, original.given, steps, tuple(renaming.names for renaming in renamings))

    def _from_source(self, renamed: RenamedProblem, pool: str) -> Variant | None:
        """The source's variant under `pool`, with the new predicate names.

        The two renamings are independent.
        """
        variant = self.variant(renamed.source, pool)
        if variant.naming != pool:
            return None
        kept = renamed.kept
        steps = tuple(
            (
                rename_predicates_in_text(instruction, renamed.names, kept),
                rename_predicates_in_program(code, renamed.names),
            )
            for instruction, code in variant.steps
        )
        return Variant(pool, renamed.original.given, steps, variant.names)


def renamed_problems(
    problem: Problem, count: int, rng: Random, solver: Solver, report: Report
) -> list[RenamedProblem]:
    """Return the problem as it is, then under up to `count` predicate renamings.

    A predicate renaming is dropped if the solver does not verify that the answer sets of all instances are
    the same up to the names. The list is empty if the problem cannot be used; the report says why.

    Arguments:
        problem: The problem.
        count: The number of predicate renamings to draw.
        rng: Draws the new names.
        solver: The solver that verifies.
        report: Counts what is verified and what is dropped, and lists why the problem is left out.
    """
    gold = solve_gold(problem, solver)
    if gold.faults:
        report.left_out += left_out(problem.id, gold.faults)
        return []
    own = RenamedProblem(problem, {}, gold.outcomes)
    result = [own]
    for _ in range(count):
        try:
            renamed, names = rename_predicates(problem, rng)
        except UserError:
            report.dropped["vocabulary: clingo cannot parse the renamed encoding"] += 1
            continue
        if kept := len(predicate_names(problem) - names.keys()):
            report.dropped["vocabulary: new name of a predicate, not in view before its first use"] += kept
        if not names:
            continue
        outcomes = solve(renamed, renamed.encoding.program, solver)
        if not _same_up_to_names(gold.outcomes, outcomes, names):
            report.dropped["vocabulary: other answer sets"] += 1
        elif not gold.has_answer_sets:
            report.dropped["vocabulary: no answer set to compare"] += 1
        else:
            report.verified["vocabularies with the same answer sets up to the names"] += 1
            result.append(RenamedProblem(renamed, names, tuple(outcomes), own))
    return result


def retold_problems(own: RenamedProblem, solver: Solver, report: Report) -> list[RenamedProblem]:
    """Return the retellings of a problem.

    A retelling is dropped if it is not complete, or if the solver does not verify that the answer sets of all
    instances are the same up to the names.

    Arguments:
        own: The problem as it is, with its outcomes.
        solver: The solver that verifies.
        report: Counts what is verified and what is dropped.
    """
    result = []
    for retelling in own.problem.retellings:
        if any(retelling_faults(own.problem, retelling)):
            report.dropped["retelling: not complete"] += 1
            continue
        problem = retold(own.problem, retelling)
        outcomes = solve(problem, problem.encoding.program, solver)
        if not any(outcome.answer_sets for outcome in own.gold):
            report.dropped["retelling: no answer set to compare"] += 1
        elif same_but_retold(own.gold, outcomes, retelling):
            report.verified["retellings with the same answer sets up to the names"] += 1
            result.append(RenamedProblem(problem, gold=tuple(outcomes), retelling=retelling.domain))
        else:
            report.dropped["retelling: other answer sets"] += 1
    return result


def _same_up_to_names(gold: Sequence[Outcome], outcomes: Sequence[Outcome], names: dict[str, str]) -> bool:
    """Whether a renamed problem has the outcomes of the original up to the names, on every instance."""
    return all(
        new.answer_sets is not None and rename_answer_sets(old.answer_sets, names) == new.answer_sets
        for old, new in zip(gold, outcomes, strict=True)
    )
