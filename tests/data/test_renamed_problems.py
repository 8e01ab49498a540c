"""Renamed problems: only those that the solver verifies are used."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from scripts.data import renamed_problems as module
from scripts.data.renamed_problems import VariableRenamer, renamed_problems
from scripts.data.report import Report
from tests.examples import shipped_problem

PROBLEM = "matching/hostel_roommates"
OTHER = "planning/stage_lamps"


def test_a_problem_comes_first_as_it_is_and_then_with_renamed_predicates(solver):
    report = Report()
    first, *others = renamed_problems(shipped_problem(PROBLEM), 2, Random(0), solver, report)
    assert first.names == {} and first.source is None
    assert all(other.names and other.source is first for other in others)
    assert report.verified["vocabularies with the same answer sets up to the names"] == len(others) == 2
    assert not report.dropped


def test_a_renamed_problem_with_other_answer_sets_is_dropped(solver, monkeypatch):
    report = Report()
    other = shipped_problem(OTHER)
    monkeypatch.setattr(
        module, "rename_predicates", lambda problem, rng: (replace(problem, source=other.source), {"a": "b"})
    )
    assert len(renamed_problems(shipped_problem(PROBLEM), 2, Random(0), solver, report)) == 1
    assert report.dropped["vocabulary: other answer sets"] == 2


def test_a_variant_is_verified_when_it_is_first_used(solver):
    report = Report()
    [own] = renamed_problems(shipped_problem(PROBLEM), 0, Random(0), solver, report)
    renamer = VariableRenamer(solver, report)
    assert renamer.variant(own, "original") == own.original and not report.verified
    abstract = renamer.variant(own, "abstract")
    assert abstract.naming == "abstract" and renamer.variant(own, "abstract") is abstract
    assert report.verified["renamings with the same trees and answer sets"] == 1


def test_a_variant_with_other_answer_sets_is_dropped(solver):
    report = Report()
    [own] = renamed_problems(shipped_problem(PROBLEM), 0, Random(0), solver, report)
    wrong = replace(own, gold=(*own.gold[:-1], replace(own.gold[-1], answer_sets=frozenset())))
    assert VariableRenamer(solver, report).variant(wrong, "canonical") == wrong.original
    assert report.dropped["renaming canonical: answer sets different"] == 1
