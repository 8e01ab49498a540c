"""Figures: labelled axes, a white background, no change of a person's own style."""

import re

import pandas as pd
import pytest

from scripts.notebook import plots
from scripts.notebook.runner import NOTEBOOKS

RATE = {
    "n": 20,
    **{name: 0.5 for name in ("parse", "ground", "equivalent")},
    **{f"{name}_ci": [0.3, 0.7] for name in ("parse", "ground", "equivalent")},
}
RESULT = {
    "steps": RATE,
    "loop": {"k1": RATE, "k3": RATE},
    "per_family": {"games": RATE, "graphs": RATE},
    "per_verdict": {"steps": {"equal": 1, "unsafe": 1}},
}
REPORT = {
    "rows": [
        {"split": split, "kind": kind, "corruption": error, "rows": 3}
        for split in ("train", "test")
        for kind, error in (("conversation", ""), ("repair", "prose"))
    ]
}
TABLE = pd.DataFrame(
    {
        "step": [2, 4],
        "train loss": [1.0, 1.0],
        "validation loss": [1.8, 1.6],
        "step equivalence": [0.5, 0.5],
        "low": [0.3, 0.3],
        "high": [0.7, 0.7],
        "recommended": ["", "←"],
    }
)
LOG = [{"step": step, "loss": 1.0, "eval_loss": None} for step in range(30)]

FIGURES = {
    "families": lambda: plots.families({"games/a": "train", "games/b": "test", "graphs/a": "valid"}),
    "rows": lambda: plots.plot_row_counts(REPORT, "kind", "corruption"),
    "lengths": lambda: plots.token_lengths({"conversation": [100, 200], "repair": [50]}, 4096),
    "loss": lambda: plots.loss_curve(LOG),
    "checkpoints": lambda: plots.checkpoint_scores(TABLE),
    "before and after": lambda: plots.before_after({"base": RESULT, "fine-tuned": RESULT}),
    "by family": lambda: plots.by_family({"base": RESULT, "fine-tuned": RESULT}, ["graphs"]),
    "verdicts": lambda: plots.verdicts({"base": RESULT}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_has_a_label_with_its_unit_and_the_background_is_white(name):
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    figure = FIGURES[name]()
    assert dict(plt.rcParams) == before, "a person's own style does not change"
    assert figure.get_facecolor() == (1, 1, 1, 1) and plt.get_fignums() == []
    for axes in figure.axes:
        assert axes.get_xlabel() or name == "before and after"
        has_names = any(re.search("[a-z]", label.get_text()) for label in axes.get_yticklabels())
        assert axes.get_ylabel() or has_names, "the vertical axis has no label and no names"


def test_the_scores_have_a_panel_only_if_there_are_scores():
    assert len(plots.checkpoint_scores(TABLE).axes) == 2
    assert len(plots.checkpoint_scores(TABLE.assign(**{"step equivalence": None})).axes) == 1


def test_the_pipeline_names_every_notebook_and_fills_in_the_current_one():
    figure = plots.pipeline("data_converter")
    assert set(NOTEBOOKS) <= {text.get_text() for text in figure.axes[0].texts}
    assert [patch.get_facecolor()[0] < 0.5 for patch in figure.axes[0].patches].count(True) == 1


def test_a_name_with_dollar_signs_is_drawn_as_it_is():
    name = r"a$\\frac$ and $5"
    figure = plots.families({f"{name}/one": "train", f"{name}/two": "test"})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [name]
    figure.canvas.draw()
