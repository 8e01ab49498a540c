"""The peak memory of training, evaluating and fusing."""

from pathlib import Path

import pytest

from tools.peak_memory import TENTH, expected, main
from utils_ft import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_page_has_the_figures_that_the_tool_computes(capsys: pytest.CaptureFixture) -> None:
    main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = Path(ROOT / "docs" / "large_models.md").read_text(encoding="utf-8")
    assert len(rows) == 2 + 5 and all(row in page for row in rows)


def test_fusing_takes_at_most_1_2_times_the_model_and_the_libraries() -> None:
    from scripts.training.costs import TokenCount
    from scripts.training.recipe import Recipe

    parts = expected(TENTH, Recipe(), TokenCount(244, 100), "cpu", 2)["fuse"]
    assert 1.4e9 < parts["base"] < 1.7e9  # a tenth of 16 GB
    assert sum(parts.values()) <= 1.2 * parts["base"] + parts["libraries"]
