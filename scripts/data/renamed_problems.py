"""A problem under other predicate and variable names, verified on all instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

from scripts.asp.comparison import Relation, compare
from scripts.asp.solver import Outcome, Solver
from scripts.data.gold import Variant, given_stands_first, gold_outcomes, solve, variant_of
from scripts.data.predicate_renaming import (
    rename_predicates,
    rename_predicates_in_program,
    rename_predicates_in_text,
    renamed,
)
from scripts.data.problems import Problem
from scripts.data.report import Report
from scripts.data.variable_renaming import POOLS, rename, same_up_to

NAMINGS = ("original", *POOLS)


@dataclass
class RenamedProblem:
    """A problem in one vocabulary, under the namings of its variables that are asked for and proved.

    `names` maps its own predicates to those told, {} where they are the same; `gold` are its outcomes on its instances;
    `source` is the problem in its own vocabulary, where this is another.
    """

    problem: Problem
    names: dict[str, str]
    gold: list[Outcome]
    solver: Solver
    report: Report
    namings: tuple[str, ...] = NAMINGS
    source: RenamedProblem | None = None
    _variants: dict[str, Variant] = field(default_factory=dict)

    @cached_property
    def original(self) -> Variant:
        return variant_of(self.problem)

    @property
    def meta(self) -> dict[str, Any]:
        """What every row of it says of its origin."""
        return {"problem": self.problem.name, "family": self.problem.family} | (
            {"vocabulary": self.names} if self.names else {}
        )

    def variant(self, naming: str) -> Variant:
        """The problem under `naming` if its renaming is proved: same trees, nothing merged, same answer sets; else as it is."""
        if naming not in self._variants:
            self._variants[naming] = (self._renamed(naming) if naming in POOLS else None) or self.original
        return self._variants[naming]

    def _renamed(self, pool: str) -> Variant | None:
        variant = self._retold(pool) if self.source else self._same_trees(pool)
        if variant is None:
            return None
        relation = compare(self.gold, solve(self.problem, variant.program, self.solver)).relation
        if relation is not Relation.EQUAL:
            self.report.dropped[f"renaming {pool}: answer sets {relation}"] += 1
            return None
        self.report.proofs["renamings with the same trees and answer sets"] += 1
        return variant

    def _same_trees(self, pool: str) -> Variant | None:
        """The problem with its variables renamed, if that is all that is changed."""
        found = [rename(instruction, code, pool) for instruction, code in self.original.steps]
        if not all(
            same_up_to(new.names, code, new.code)
            for new, (_, code) in zip(found, self.original.steps, strict=True)
        ):
            self.report.dropped[f"renaming {pool}: not the same tree"] += 1
            return None
        return Variant(
            pool,
            self.original.given,
            tuple((new.instruction, new.code) for new in found),
            tuple(new.names for new in found),
        )

    def _retold(self, pool: str) -> Variant | None:
        """The source under `pool`, its predicates renamed: which of the two comes first makes no difference."""
        renamed = self.source.variant(pool)
        steps = tuple(
            (
                rename_predicates_in_text(instruction, self.names),
                rename_predicates_in_program(code, self.names),
            )
            for instruction, code in renamed.steps
        )
        return Variant(pool, self.original.given, steps, renamed.names) if renamed.naming == pool else None


def renamed_problems(
    problem: Problem, count: int, rng: Random, solver: Solver, report: Report
) -> list[RenamedProblem]:
    """The problem as it is, then in up to `count` other vocabularies, each proved: same answer sets up to the names.

    Empty where its code without instructions cannot stand before the rest.
    """
    gold = gold_outcomes(problem, solver)
    own = RenamedProblem(problem, {}, gold, solver, report)
    if not given_stands_first(problem, gold, solver):
        report.dropped["problem: its code without instructions cannot stand before the rest"] += 1
        return []
    result = [own]
    for _ in range(count):
        retold, names = rename_predicates(problem, rng)
        found = solve(retold, retold.encoding.program, solver)
        pairs = zip(gold, found, strict=True)
        if all(
            new.answer_sets is not None and renamed(old.answer_sets, names) == new.answer_sets
            for old, new in pairs
        ):
            report.proofs["vocabularies with the same answer sets up to the names"] += 1
            result.append(RenamedProblem(retold, names, found, solver, report, source=own))
        else:
            report.dropped["vocabulary: other answer sets"] += 1
    return result
