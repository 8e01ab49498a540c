"""Comparison of two programs by their answer sets on all instances of a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scripts.asp.solver import AnswerSet, Outcome, Verdict
from scripts.asp.worker import LINE_LENGTH


class Relation(StrEnum):
    """Whether a candidate has the answer sets of the gold program."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"  # a limit was reached for one of the two, or the gold program fails


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        relation: The relation over all instances.
        verdict: The candidate's verdict on the instance that decided the relation.
        evidence: A sentence about the difference, or clingo's message, or "".
    """

    relation: Relation
    verdict: Verdict
    evidence: str = ""


def compare(gold: Sequence[Outcome], candidate: Sequence[Outcome]) -> Comparison:
    """Compare two programs by their solved outcomes.

    Equal means that on every instance both have the same set of projected answer sets with the same costs. If
    one of the two reaches a limit, the relation is never equal. A candidate that clingo rejects is different,
    even from a gold program that clingo rejects as well.

    Arguments:
        gold: The outcomes of the gold program, one for each instance.
        candidate: The outcomes of the candidate, in the same order.

    Raises:
        ValueError: There is no instance, or the two lists differ in length.
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
    """Return a sentence on the first difference between `got` and `expected`, as repair prompts have it."""
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
            return template.format(_short(min(atoms, key=lambda atom: (len(atom), atom))))
    costs = [{cost for _, cost in sets} for sets in (expected, got)]
    if costs[0] != costs[1]:
        right, wrong = (_short(" ".join(map(str, min(values)))) or "none" for values in costs)
        return f"the optimal cost is {wrong}, though it should be {right}"
    if len(got) != len(expected):
        return f"there are {len(got)} answer sets, though there should be {len(expected)}"
    return "the answer sets combine the same atoms in other ways than they should"


def _short(text: str) -> str:
    """An atom or costs as a sentence shows them."""
    return text if len(text) <= LINE_LENGTH else f"{text[:LINE_LENGTH]} …"
