"""Both engines on the same rows: real runs, found by what they train, not by their names alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="MLX exists for Apple silicon and Linux only")

from scripts.training import mlx_engine, pytorch_engine
from scripts.training.engine_comparison import compare_engines
from scripts.training.run import RunOptions
from tests.training.mlx_models import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = replace(PLAIN, qlora=False)


@pytest.fixture(scope="module")
def adapters(realistic_base: Path, colouring_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two real runs with one recipe, one for each engine. Do not write into it."""
    folder = tmp_path_factory.mktemp("adapters")
    for name, engine in (("tiny_mlx", mlx_engine), ("tiny_pytorch", pytorch_engine)):
        engine.train(str(realistic_base), RECIPE, colouring_data, options=RunOptions(folder=folder / name))
    return folder


@pytest.fixture
def copies(adapters: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapters, tmp_path / "adapters"))


def test_the_losses_of_two_real_runs_are_compared_step_by_step(adapters: Path):
    both = compare_engines(adapters / "tiny_mlx")
    assert both.pytorch == adapters / "tiny_pytorch"
    assert [step for step, _, _ in both.pairs] == [1, 2, 3, 4]
    _, mlx, pytorch = both.pairs[0]  # an adapter begins as zero: before the first update only numbers differ
    assert mlx == pytest.approx(pytorch, rel=0.01)
    shares = {step: abs(mlx - pytorch) / pytorch for step, mlx, pytorch in both.pairs}
    assert both.largest == max(shares.items(), key=lambda item: item[1])
    assert f"differ by {both.largest.share:.1%} at most (step {both.largest.step})" in str(both)
    assert both.largest.share < 0.05 and "4 bits" not in str(both)


@pytest.mark.parametrize("file", ["run.json", "log.csv", None])
def test_without_the_other_run_a_sentence_says_how_to_get_it(copies: Path, file: str | None):
    """A run that is damaged or missing counts as none."""
    if file:
        (copies / "tiny_pytorch" / file).write_text("x")
    else:
        shutil.rmtree(copies / "tiny_pytorch")
    both = compare_engines(copies / "tiny_mlx")
    assert both.pytorch is None and both.largest is None and both.log
    assert "run ft_pytorch_qlora.ipynb with the same parameters" in str(both)


def change_run(folder: Path, **changes: object) -> None:
    known = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(known | changes))


@pytest.mark.parametrize("entry", ["recipe", "base", "data_sha256", "valid_sha256", "chat_template_sha256"])
def test_a_run_that_trains_something_else_is_not_compared(copies: Path, entry: str):
    change_run(copies / "tiny_pytorch", **{entry: "other"})
    assert compare_engines(copies / "tiny_mlx").pytorch is None


def test_a_run_that_was_moved_aside_is_found_and_one_of_another_model_is_not(copies: Path):
    shutil.copytree(copies / "tiny_pytorch", copies / "tiny2_pytorch")
    moved = (copies / "tiny_pytorch").rename(copies / "tiny_pytorch.0123abcd-1790000000")
    assert compare_engines(copies / "tiny_mlx").pytorch == moved
    shutil.rmtree(moved)
    assert compare_engines(copies / "tiny_mlx").pytorch is None


def test_a_base_model_in_4_bits_in_one_engine_is_said(copies: Path):
    for name in ("tiny_mlx", "tiny_pytorch"):
        known = json.loads((copies / name / "run.json").read_text())
        change_run(copies / name, recipe=known["recipe"] | {"qlora": True})
    assert "Only PyTorch holds the base model in 4 bits" in str(compare_engines(copies / "tiny_mlx"))
