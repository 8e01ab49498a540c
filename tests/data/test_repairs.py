"""Repair rows: only those that the solver verifies."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from scripts.data.problems import read_problem
from scripts.data.renamed_problems import RenamedProblem
from scripts.data.repairs import Candidate, RepairMaker, repair_row
from scripts.data.report import Report
from scripts.lm import prompts
from tests.examples import shipped_problem, write_problem


def test_repairs_that_the_solver_does_not_verify_are_dropped_and_counted(solver):
    maker = RepairMaker(RenamedProblem(shipped_problem("games/counter_heaps")), solver)
    rows = maker.rows(40, Random(3))
    assert len(rows) >= 25
    assert maker.report.dropped and all(": " in reason for reason in maker.report.dropped)
    assert sum(maker.report.verified.values()) == len(rows)


def test_a_share_of_the_repairs_goes_on_in_the_conversation_of_the_step(solver):
    """The errors that are drawn stay the same. A conversation shows more names, so fewer rows are dropped."""
    renamed = RenamedProblem(shipped_problem("games/counter_heaps"))
    plain, half, every = (
        RepairMaker(renamed, solver, in_conversation=share).rows(24, Random(3)) for share in (0.0, 0.5, 1.0)
    )
    description = prompts.describe(renamed.problem.description, renamed.original.given)
    conversation = prompts.conversation(description, renamed.original.steps)
    for row in every:
        meta = row["meta"]
        asked = conversation[: 2 + 2 * meta["step"]]
        assert row["messages"][:-1] == prompts.repair(
            meta["instruction"], meta["broken"], meta["error"], asked
        )
        assert row["messages"][-1] == prompts.answer(meta["fixed"]) and meta["form"] == "conversation"
    drawn = [{(row["meta"]["step"], row["meta"]["broken"]) for row in rows} for rows in (plain, half, every)]
    assert len(set.intersection(*drawn)) > 16
    assert 6 <= sum("form" in row["meta"] for row in half) <= 18
    assert not any("form" in row["meta"] for row in plain)


def test_a_repair_in_the_conversation_may_use_the_names_of_its_description(solver, tmp_path):
    """An independent turn would not show the model the name `node`."""
    write_problem(
        tmp_path / "p",
        "The input has `node(N)`.",
        "% Every node is red.\ntint(N,red) :- node(N).\n",
        one="node(1..2).\n",
    )
    renamed = RenamedProblem(read_problem(tmp_path / "p", "family"))
    candidate = Candidate(
        "", "original", 0, "one", "", "Say which.", "tint(N,red) :- .", "tint(N,red) :- node(N)."
    )
    report = Report()
    assert repair_row(candidate, renamed, "", "error", report) is None and report.dropped
    seen = replace(candidate, conversation=prompts.conversation("The input has `node(N)`.", []))
    assert repair_row(seen, renamed, "", "error", report)["meta"]["form"] == "conversation"
