"""An MLX run: its files, exact resume after an interruption, and the command."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="MLX exists for Apple silicon and Linux only")

import mlx.core as mx
import torch
from mlx_lm.tuner.utils import load_adapters

from scripts.data.rows import data_digest, load_rows
from scripts.training.checkpoints import checkpoints
from scripts.training.log import COLUMNS, read_log
from scripts.training.mlx_engine import MlxSettings, train
from scripts.training.mlx_model import add_adapter, load_adapter, load_arrays, load_base
from scripts.training.mlx_support import require_mlx
from scripts.training.order import batches
from scripts.training.recipe import Recipe
from scripts.training.run import RunOptions
from tests.training.mlx_models import PLAIN, RECIPE, mlx_logits
from tests.training.recipes import encoded_rows
from utils_ft import ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

TIMELESS = ("step", "loss", "eval_loss", "learning_rate")
"""The columns of the log that a second run has the same."""


@pytest.fixture(scope="module")
def base(realistic_base: Path) -> Path:
    return realistic_base


@pytest.fixture(scope="module")
def data(colouring_data: Path) -> Path:
    return colouring_data


def train_into(folder: Path, base: Path, recipe: Recipe, data: Path, **options) -> dict:
    """Train in bfloat16 with the run in `folder`."""
    settings = MlxSettings(dtype="bfloat16")
    return train(str(base), recipe, data, settings=settings, options=RunOptions(folder=folder), **options)


def test_a_run_leaves_checkpoints_log_and_metrics(mlx_run: Path, base: Path, data: Path):
    names = [checkpoint.path.name for checkpoint in checkpoints(mlx_run)]
    assert names == ["0000002_adapters.safetensors", "0000004_adapters.safetensors"]
    log = read_log(mlx_run)
    assert (mlx_run / "log.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert [row["eval_loss"] is not None for row in log] == [False, True] * 2
    metrics = json.loads((mlx_run / "metrics.json").read_text())
    seen = [encoded_rows(base, data)[index] for step in batches(9, 4, 4, 0) for index in step]
    assert metrics["tokens"] == sum(len(row.input_ids) for row in seen)
    assert metrics["supervised_tokens"] == sum(sum(row.supervised) for row in seen)
    assert metrics["data_sha256"] == data_digest(load_rows(data, "train"))
    assert metrics["neftune"] and metrics["train_seconds"] > 0


def test_a_finished_run_is_not_repeated(mlx_run: Path, base: Path, data: Path, capsys):
    metrics = json.loads((mlx_run / "metrics.json").read_text())
    assert train_into(mlx_run, base, RECIPE, data) == metrics
    assert "already done" in capsys.readouterr().out


def test_mlx_lm_itself_loads_the_adapter_of_a_run(mlx_run: Path, base: Path):
    ids = [1, 40, 41, 42, 2, 50]
    by_mlx_lm, by_us = load_base(base), load_base(base)
    load_adapters(by_mlx_lm, str(mlx_run))
    add_adapter(by_us, *load_adapter(mlx_run / "0000004_adapters.safetensors"))
    assert torch.equal(mlx_logits(by_mlx_lm, ids), mlx_logits(by_us, ids))
    assert not torch.equal(mlx_logits(load_base(base), ids), mlx_logits(by_us, ids))


def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    mlx_run: Path, base: Path, data: Path, tmp_path: Path, capsys
):
    """Interrupted in step 3, with an incomplete checkpoint: adapter, optimiser and log are the same."""

    def interrupt(log: list[dict]) -> None:
        if log[-1]["step"] == 3:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_into(run, base, RECIPE, data, on_log=interrupt)
    whole = (run / "0000002_adapters.safetensors").read_bytes()
    (run / "0000003_adapters.safetensors").write_bytes(whole[: len(whole) // 2])
    shutil.copy(run / "0000002_optimizer.safetensors", run / "0000003_optimizer.safetensors")
    train_into(run, base, RECIPE, data)
    assert "from step 2" in capsys.readouterr().out
    for name in ("0000004_adapters.safetensors", "0000004_optimizer.safetensors"):
        resumed, uninterrupted = load_arrays(run / name), load_arrays(mlx_run / name)
        assert resumed.keys() == uninterrupted.keys()
        assert all(mx.array_equal(resumed[key], uninterrupted[key]) for key in resumed)
    logs = [[[row[name] for name in TIMELESS] for row in read_log(folder)] for folder in (run, mlx_run)]
    assert logs[0] == logs[1]


def test_a_run_without_its_optimiser_does_not_start_again_unasked(
    mlx_run: Path, base: Path, data: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(mlx_run, run)
    (run / "metrics.json").unlink()
    (run / "0000004_optimizer.safetensors").unlink()
    message = "0000004_optimizer.safetensors: the state of the optimiser is missing\n.*--no-resume"
    with pytest.raises(UserError, match=message):
        train_into(run, base, RECIPE, data)
    assert (run / "0000004_adapters.safetensors").exists()


def test_a_missing_adapter_is_one_message(tmp_path: Path):
    with pytest.raises(UserError, match="adapter_config.json: no such file"):
        load_adapter(tmp_path / "nowhere" / "adapters.safetensors")


def test_another_recipe_moves_the_old_run_aside_and_old_checkpoints_are_deleted(
    base: Path, data: Path, tmp_path: Path
):
    run, short = tmp_path / "run", replace(PLAIN, max_steps=1)
    train_into(run, base, short, data)
    train_into(run, base, replace(short, max_steps=4, save_every=1, keep_checkpoints=2), data)
    assert len(list(tmp_path.glob("run.*"))) == 1
    left = [c.step for c in checkpoints(run)]
    assert {3, 4} <= set(left) and len(left) <= 3  # the newest two, and the best if it is older
    assert len(list(run.glob("*_optimizer.safetensors"))) == len(left)


def test_windows_users_are_sent_to_the_pytorch_engine():
    with pytest.raises(UserError, match="Windows.*\n.*train_pytorch"):
        require_mlx("win32")


def test_the_command_trains_and_fuses_the_step_that_is_given(data: Path, tmp_path: Path):
    options = "--profile smoke --model-type smoke --max-steps 3 --fuse-step 2 --data".split()
    done = subprocess.run(
        [sys.executable, "-m", "scripts.train_mlx", *options, str(data)],
        cwd=ROOT,
        env=os.environ | {"FT_WORKDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapters" / "smoke_mlx" / "0000003_adapters.safetensors").exists()
    record = json.loads((tmp_path / "local_models" / "ft_smoke_mlx" / "fuse.json").read_text())
    assert record["checkpoint"] == 2
