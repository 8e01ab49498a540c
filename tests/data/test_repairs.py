"""Repair rows: only those that the solver verifies."""

from __future__ import annotations

from random import Random

from scripts.data.renamed_problems import RenamedProblem
from scripts.data.repairs import RepairMaker
from tests.examples import shipped_problem


def test_repairs_that_the_solver_does_not_verify_are_dropped_and_counted(solver):
    maker = RepairMaker(RenamedProblem(shipped_problem("games/counter_heaps")), solver)
    rows = maker.rows(40, Random(3))
    assert len(rows) >= 25
    assert maker.report.dropped and all(": " in reason for reason in maker.report.dropped)
    assert sum(maker.report.verified.values()) == len(rows)
