"""Figures: labelled axes, a white background, an alternative text, no change of a person's own style."""

import re
from pathlib import Path

import pandas as pd
import pytest

from scripts.notebook import plots
from scripts.notebook.runner import NOTEBOOKS
from scripts.training.engine_comparison import EngineComparison

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
OTHER_LOG = [row | {"loss": 1.1} for row in LOG]

FIGURES = {
    "families": lambda: plots.families({"games/a": "train", "games/b": "test", "graphs/a": "valid"}),
    "rows": lambda: plots.plot_row_counts(REPORT, "kind", "corruption"),
    "lengths": lambda: plots.token_lengths({"conversation": [100, 200], "repair": [50]}, 4096),
    "loss": lambda: plots.loss_curve(LOG),
    "no loss yet": lambda: plots.loss_curve([]),
    "one engine": lambda: plots.engine_losses(EngineComparison(LOG, None)),
    "both engines": lambda: plots.engine_losses(EngineComparison(LOG, Path("run"), OTHER_LOG)),
    "checkpoints": lambda: plots.checkpoint_scores(TABLE),
    "before and after": lambda: plots.before_after({"base": RESULT, "fine-tuned": RESULT}),
    "pipeline": lambda: plots.pipeline("data_converter"),
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
    for axes in figure.axes if name != "pipeline" else ():
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


ALT_TEXTS = {
    "pipeline": "This notebook is data_converter.",
    "families": "2 families by split. In total: train 1, test 1, valid 1.",
    "rows": "rows by kind: conversation 6, repair 6; by corruption: prose 6.",
    "lengths": "conversation at most 200, repair at most 50. A line marks the context of 4096.",
    "loss": "train loss 1.00 at step 0 and 1.00 at step 29.",
    "no loss yet": "no loss yet.",
    "one engine": "train loss 1.00 at step 0 and 1.00 at step 29.",
    "both engines": "A dashed curve: PyTorch's train loss 1.10 at step 0 and 1.10 at step 29.",
    "checkpoints": "step 2: validation loss 1.80, step equivalence 0.50; step 4",
    "before and after": "base: parses 50 %, grounds 50 %, same answer sets 50 %; fine-tuned:",
    "by family": "games: base 50 %, fine-tuned 50 %; graphs (held out): base",
    "verdicts": "base: equal 50 %, unsafe 50 %.",
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_gets_an_image_with_an_alternative_text_that_has_the_figures(name):
    from IPython.core.formatters import DisplayFormatter

    data, metadata = DisplayFormatter().format(FIGURES[name]())
    assert data["image/png"].startswith("iVBOR"), "no PNG"
    assert ALT_TEXTS[name] in data["text/plain"] == metadata["image/png"]["alt"]


def contrast(colour):
    """The contrast of a colour with white (WCAG 2)."""
    from matplotlib.colors import to_rgb

    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_lines_and_texts_can_be_told_from_the_white_background():
    assert not {name: colour for name, colour in plots.COLOURS.items() if contrast(colour) < 3}
    assert contrast(plots.INK) > 7
