"""Two programs compared by the answer sets of all instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scripts.asp.solver import AnswerSet, Outcome, Verdict


class Relation(StrEnum):
    """How a candidate's answer sets stand to the gold program's."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"  # a limit was met on either side, or the gold program itself fails


@dataclass(frozen=True)
class Comparison:
    """A relation over all instances, the candidate's verdict on the instance that decided it, and evidence against it."""

    relation: Relation
    verdict: Verdict
    evidence: str = ""


def compare(gold: Sequence[Outcome], candidate: Sequence[Outcome]) -> Comparison:
    """Compare two programs by their solved outcomes, one a instance, in the same order.

    Equal means: on every instance the same set of projected answer sets with the same costs. A limit met by either
    side is never equality; a candidate that clingo rejects differs from everything, a rejected one included.
    """
    if not gold or len(gold) != len(candidate):
        raise ValueError("both programs need an outcome for each instance, and there must be one")
    undecided: Comparison | None = None
    for got in candidate:
        if got.verdict in (Verdict.SYNTAX, Verdict.UNSAFE, Verdict.REFUSED):
            return Comparison(Relation.DIFFERENT, got.verdict, got.message)
    for expected, got in zip(gold, candidate, strict=True):
        if expected.answer_sets is None or got.answer_sets is None:
            undecided = undecided or Comparison(Relation.UNDECIDED, got.verdict, got.message)
        elif expected.answer_sets != got.answer_sets:
            return Comparison(
                Relation.DIFFERENT, got.verdict, evidence(expected.answer_sets, got.answer_sets)
            )
    return undecided or Comparison(Relation.EQUAL, candidate[0].verdict)


def evidence(expected: frozenset[AnswerSet], got: frozenset[AnswerSet]) -> str:
    """The shortest true sentence that tells `got` from `expected`, in the words of the repair prompt."""
    if not got:
        return "UNSATISFIABLE, though there should be an answer set"
    if not expected:
        return "SATISFIABLE, though there should be no answer set"

    def always(sets: frozenset[AnswerSet]) -> frozenset[str]:
        return frozenset.intersection(*(frozenset(atoms) for atoms, _ in sets))

    def ever(sets: frozenset[AnswerSet]) -> frozenset[str]:
        return frozenset().union(*(atoms for atoms, _ in sets))

    for template, atoms in (
        ("the atom {} is never true, though it should be possible", ever(expected) - ever(got)),
        ("the atom {} is possible, though it should never be true", ever(got) - ever(expected)),
        ("the atom {} is not in every answer set, though it should be", always(expected) - always(got)),
        ("the atom {} is in every answer set, though it should not be", always(got) - always(expected)),
    ):
        if atoms:
            return template.format(min(atoms, key=lambda atom: (len(atom), atom)))
    costs = [{cost for _, cost in sets} for sets in (expected, got)]
    if costs[0] != costs[1]:
        right, wrong = (" ".join(map(str, min(values))) or "none" for values in costs)
        return f"the optimal cost is {wrong}, though it should be {right}"
    if len(got) != len(expected):
        return f"there are {len(got)} answer sets, though there should be {len(expected)}"
    return "the answer sets combine the same atoms in other ways than they should"
