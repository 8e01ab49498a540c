"""Comparison of programs: equal answer sets and costs on all instances, and evidence of a difference."""

from __future__ import annotations

import pytest

from scripts.asp.comparison import Relation, compare, evidence
from tests.asp.hostile import CRASH, ENDLESS, MEMORY


@pytest.mark.parametrize(
    ("gold", "candidate", "relation"),
    [
        ("{a; b} = 1.", "a :- not b. b :- not a.", Relation.EQUAL),
        ("{a; b} = 1. #show a/0.", "{a}. #show a/0.", Relation.EQUAL),
        ("{a; b}. #minimize{1 : a}.", "{a; b}. :~ a. [1]", Relation.EQUAL),
        ("a. :- a.", "b. :- b.", Relation.EQUAL),
        ("{a; b} = 1.", "a ; b. {c} 0.", Relation.EQUAL),
        ("{a; b}. #minimize{1 : a}.", "{b}.", Relation.DIFFERENT),  # the same answer sets, but without costs
        ("{a; b}. #minimize{1 : a}.", "{a; b}. #minimize{1 : b}.", Relation.DIFFERENT),
        ("{a; b} = 1. #minimize{2 : a; 3 : b}.", "{a; b} = 1. #minimize{1 : a; 3 : b}.", Relation.DIFFERENT),
        ("{a; b} = 1.", "{a; b}.", Relation.DIFFERENT),
        ("a.", "", Relation.DIFFERENT),
        ("a.", "a. :- a.", Relation.DIFFERENT),
        ("a.", "p(X).", Relation.DIFFERENT),
        ("p(X).", "p(X).", Relation.DIFFERENT),  # two programs that clingo rejects are not equal
        ("a b", "a b", Relation.DIFFERENT),
        ("{p(1..20)}.", "{p(1..20)}.", Relation.UNDECIDED),  # too many answer sets of both
        ("{a}.", "{p(1..20)}. {a}.", Relation.UNDECIDED),
        (ENDLESS, ENDLESS, Relation.UNDECIDED),
        ("a.", ENDLESS, Relation.UNDECIDED),
        (MEMORY, MEMORY, Relation.UNDECIDED),
        (CRASH, CRASH, Relation.DIFFERENT),
        ("p(X).", "a.", Relation.UNDECIDED),
    ],
)
def test_programs_are_equal_if_all_answer_sets_and_costs_are(solver, gold, candidate, relation):
    comparison = compare([solver.answer_sets(gold)], [solver.answer_sets(candidate)])
    assert comparison.relation is relation
    assert bool(comparison.evidence) == (relation is Relation.DIFFERENT or "error" in comparison.evidence)


def test_one_different_instance_decides(solver):
    a, b, endless, none = (solver.answer_sets(program) for program in ("a.", "b.", ENDLESS, "a. :- a."))
    assert compare([a, a], [endless, b]).relation is Relation.DIFFERENT
    assert compare([a, endless], [a, a]).relation is Relation.UNDECIDED
    assert compare([a, none], [a, none]).relation is Relation.EQUAL
    with pytest.raises(ValueError, match="instance"):
        compare([], [])
    with pytest.raises(ValueError, match="instance"):
        compare([a], [a, a])


@pytest.mark.parametrize(
    ("gold", "candidate", "sentence"),
    [
        ("a.", "a. :- a.", "UNSATISFIABLE, though there should be an answer set"),
        ("a. :- a.", "a.", "SATISFIABLE, though there should be no answer set"),
        ("{long(1); b}.", "{long(1)}.", "the atom b is never true, though it should be possible"),
        ("{a}.", "{a}. c :- a.", "the atom c is possible, though it should never be true"),
        ("a. {b}.", "{a; b}.", "the atom a is not in every answer set, though it should be"),
        ("{a; b}.", "a. {b}.", "the atom a is in every answer set, though it should not be"),
        ("a. #minimize{2 : a}.", "a. #minimize{5 : a}.", "the optimal cost is 5, though it should be 2"),
        ("a. #minimize{2 : a}.", "a.", "the optimal cost is none, though it should be 2"),
        ("{a; b}.", "{a; b}. :- a, b.", "there are 3 answer sets, though there should be 4"),
        (
            "{a; b} = 1. {c} = 1 :- a. :- c, b.",
            "{a; b} = 1. {c} = 1 :- b. :- c, a.",
            "the answer sets combine the same atoms in other ways than they should",
        ),
    ],
)
def test_the_evidence_names_the_first_difference(solver, gold, candidate, sentence):
    outcomes = [solver.answer_sets(program).answer_sets for program in (gold, candidate)]
    assert evidence(*outcomes) == sentence
