"""HTML for cells: escaped text, marked changes, answer sets, the checkpoint table."""

import re

import pytest

from scripts.asp.solver import Outcome, Verdict, shared_solver
from scripts.notebook import html
from scripts.training.checkpoints import CheckpointScore, write_score
from scripts.training.log import COLUMNS, write_log

EVIL = 'p("<script>alert(1)</script>").'
FIELDS = ("problem", "prompt", "gold", "code", "evidence")
RUN_TEXTS = ("problem", "style", "model", "date", "status", "original")


def test_text_of_a_model_or_a_file_is_escaped():
    item = dict.fromkeys(FIELDS, EVIL) | {"part": "steps", "family": "games", "verdict": "wrong"}
    for shown in (
        html.program(EVIL),
        html.conversation([{"role": "user", "content": EVIL}, {"role": "assistant", "content": EVIL}]),
        html.conversation([{"role": EVIL, "content": "a"}]),
        html.side_by_side({"a": "p.", EVIL: EVIL}, marked=True),
        html.side_by_side({"a": EVIL}, code=False),
        html.repair({"meta": dict.fromkeys(("instruction", "broken", "error", "fixed"), EVIL)}),
        html.failures({"verdicts": [item]}),
        html.paraphrase_tries(dict.fromkeys(RUN_TEXTS, EVIL) | {"tries": [{"text": EVIL, "errors": [EVIL]}]}),
        html.answer_sets(Outcome(Verdict.SYNTAX, EVIL)),
        html.answer_sets(shared_solver().answer_sets(EVIL)),
    ):
        assert "<script" not in shown.data and "&lt;" in shown.data


def test_an_empty_answer_set_is_not_shown_as_no_answer_set():
    empty, none = (
        html.answer_sets(shared_solver().answer_sets(program)).data
        for program in ("a. #show b/0.", "a. :- a.")
    )
    assert "1 answer set<" in empty and "no shown atom" in empty
    assert "unsatisfiable" in none and "no shown atom" not in none


@pytest.mark.parametrize(
    "before, after, marked",
    [
        ("a :- b, c.", "a :- b and c.", ["and"]),
        ("p(X) :- q(X).", "p(V0) :- q(V0).", ["V0", "V0"]),
        ("a.", "a.", []),
        ("a :- b, c.", "a :- b.", []),
    ],
)
def test_changed_words_are_marked(before, after, marked):
    assert [after[begin:end] for begin, end in html.changes(before, after)] == marked
    assert re.sub("<[^>]+>", "", html.highlight(after, html.changes(before, after))) == after


def rates(equivalent, low, high):
    """Rates of 20 steps as `evaluate` writes them."""
    half = {name: 0.5 for name in ("parse", "ground")} | {f"{n}_ci": [0.3, 0.7] for n in ("parse", "ground")}
    return {"n": 20, **half, "equivalent": equivalent, "equivalent_ci": [low, high]}


def run_folder(folder, scores):
    """A run with the checkpoints 2 and 4, and the scores of some of them."""
    folder.mkdir()
    write_log(
        folder,
        [dict.fromkeys(COLUMNS) | {"step": step, "loss": 1.0, "eval_loss": 2 - step / 10} for step in (2, 4)],
    )
    for step in (2, 4):
        (folder / f"{step:07d}_adapters.safetensors").touch()
    for step, steps in scores.items():
        write_score(folder, CheckpointScore(step, steps, settings="the same"))
    return folder


def test_the_recommended_checkpoint_comes_with_the_reason_and_overlapping_intervals(tmp_path):
    best = rates(0.5, 0.3, 0.7)
    near = run_folder(tmp_path / "near", {2: rates(0.4, 0.2, 0.6), 4: best})
    shown = html.checkpoints(near).to_html()
    assert "Step 4 is recommended" in shown and "overlaps with that of step 2" in shown
    assert "50.0 % (30–70)" in shown
    far = run_folder(tmp_path / "far", {2: rates(0.1, 0.0, 0.2), 4: best})
    assert "overlaps" not in html.checkpoints(far).to_html()
    equal = run_folder(tmp_path / "equal", {2: best, 4: best})
    assert "all have the same share" in html.checkpoints(equal).to_html()
    unscored = run_folder(tmp_path / "unscored", {})
    assert "lowest validation loss" in html.checkpoints(unscored).to_html()
