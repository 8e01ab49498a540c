"""Cells that change while they run: the loss curve and the steps of a model."""

import pytest

from scripts.data.problems import read_problem
from scripts.notebook import live
from scripts.training.log import COLUMNS
from tests.examples import write_problem
from tests.fakes import ScriptedGenerator


def test_the_loss_curve_is_redrawn_in_one_place_and_removed_at_the_end(monkeypatch):
    shown = []

    class Place:
        update = staticmethod(shown.append)

    def display(figure, display_id):
        shown.append(figure)
        return Place

    monkeypatch.setattr("IPython.display.display", display)
    with live.loss_curve(2, every=0) as curve:
        for steps in (1, 2, 3):
            curve([dict.fromkeys(COLUMNS) | {"step": step, "loss": 1.0} for step in range(steps)])
    *curves, last = shown
    assert [type(figure).__name__ for figure in curves] == ["Figure"] * 3 and last.data == ""


def test_the_progress_has_step_speed_and_remaining_time():
    log = [
        dict.fromkeys(COLUMNS) | {"step": step, "tokens_per_second": 200.4, "seconds": 30 + 10 * step}
        for step in range(1, 5)
    ]
    assert live.progress(log, 550) == "step 4 of 550, 200 tokens/s, 91 min left"
    assert live.progress(log, 5) == "step 4 of 5, 200 tokens/s, less than a minute left"
    assert live.progress(log[:1], 550) == "step 1 of 550, 200 tokens/s"
    assert live.progress([dict.fromkeys(COLUMNS) | {"step": 1}], 4) == "step 1 of 4"


@pytest.fixture
def pages(monkeypatch):
    """The pages that a cell shows, one after another."""
    shown = []
    monkeypatch.setattr(live, "_redrawn", lambda page: lambda: shown.append(page()))
    return shown


def test_rejected_steps_are_shown_with_all_attempts_until_they_are_repaired(tmp_path, pages):
    encoding = "% Derive p.\np :- q(1).\n% Derive p of X.\np(X) :- q(X).\n% Derive r.\nr :- q(1).\n"
    folder = write_problem(tmp_path / "games" / "three", "# Three steps", encoding, one="q(1).")
    generator = ScriptedGenerator.by_list(
        {
            "Derive p.": ["p :- q(1)."],
            "Derive p of X.": ["p(X).", "p(X) :- q(X)."],
            "Derive r.": [":- q(1).", ":- q(1)."],
        },
        {"Derive r.": [":- q(1)."] * 4},
    )
    steps = live.write_steps(generator, read_problem(folder, "games"), k=3)
    assert [step.ok for step in steps] == [True, True, False]
    assert "Derive p." not in pages[-1] and "unsafe" in pages[-1] and "UNSATISFIABLE" in pages[-1]
    assert "3 steps: 1 accepted at once, 1 of the other 2 repaired" in pages[-1]


def test_a_program_is_shown_with_all_attempts_and_returned_with_its_failures_as_comments(pages, solver):
    gold = ("{ paint(N,(red;green)) } = 1 :- node(N).", ":- edge(N,M), paint(N,C), paint(M,C).")
    generator = ScriptedGenerator.by_list(
        {
            "One colour.": [gold[0]],
            "Neighbours differ.": ["<wrong>", gold[1]],
            "Show them.": ["#show paint/2", "#show paint"],
        }
    )
    instructions = "One colour.\nNeighbours differ.\nShow them.\n"
    program = live.write(generator, "# Colours", instructions, "node(1..3). edge(1,2). edge(2,3).", k=1)
    assert solver.check(program).passes and gold[1] in program and "%! #show paint" in program
    assert "0 accepted, 0 failed, 3 to do" in pages[0]
    attempts = [page for page in pages if "writing" in page]
    assert len(attempts) == 5 and "&lt;wrong&gt;" in attempts[1]
    assert "#fef2f2" in attempts[2] and "accepted" in attempts[2]
    assert "2 accepted, 1 failed, 0 to do" in pages[-1] and "<wrong>" not in pages[-1]
