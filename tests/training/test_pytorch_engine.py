"""A PyTorch run: its files, exact resume after a kill, divergence, several processes."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.data.rows import data_digest, load_rows
from scripts.lm.base_models import fingerprint
from scripts.training.checkpoints import checkpoints
from scripts.training.log import COLUMNS, read_log
from scripts.training.order import batches
from scripts.training.pytorch_engine import train
from scripts.training.recipe import Recipe
from scripts.training.run import RunOptions
from tests.training.recipes import PLAIN, RECIPE, SHARED, copy_of, encoded_rows
from utils_ft import ADAPTERS, ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

TIMELESS = ("step", "loss", "eval_loss", "learning_rate")
"""The columns of the log that a second run has the same."""


@pytest.fixture(scope="module")
def base(realistic_base: Path) -> Path:
    return realistic_base


@pytest.fixture(scope="module")
def data(colouring_data: Path) -> Path:
    return colouring_data


def train_into(folder: Path, base: Path, recipe: Recipe, data: Path, resume: bool = True) -> dict:
    """Train with the run in `folder`."""
    return train(str(base), recipe, data, options=RunOptions(resume=resume, folder=folder))


def test_a_run_leaves_checkpoints_log_and_metrics(pytorch_run: Path, base: Path, data: Path):
    names = [checkpoint.path.name for checkpoint in checkpoints(pytorch_run)]
    assert names == ["checkpoint-4", "checkpoint-8", "checkpoint-12"]
    log = read_log(pytorch_run)
    assert (pytorch_run / "log.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [row["step"] for row in log] == list(range(1, 13))
    assert [row["step"] for row in log if row["eval_loss"] is not None] == [4, 8, 12]
    metrics = json.loads((pytorch_run / "metrics.json").read_text())
    seen = [encoded_rows(base, data)[index] for step in batches(9, 4, 12, 0) for index in step]
    assert metrics["tokens"] == sum(len(row.input_ids) for row in seen)
    assert metrics["supervised_tokens"] == sum(sum(row.supervised) for row in seen)
    assert metrics["data_sha256"] == data_digest(load_rows(data, "train"))
    assert metrics["base"] == fingerprint(base) and metrics["train_seconds"] > 0
    # Two layers, rank 4: rows and columns of q and o, of k and v, of gate, up and down.
    assert metrics["trainable_parameters"] == 2 * 4 * (4 * 32 + 2 * 32 + 2 * 16 + 3 * 96)


def test_a_finished_run_is_not_repeated(pytorch_run: Path, base: Path, data: Path, capsys):
    metrics = json.loads((pytorch_run / "metrics.json").read_text())
    assert train_into(pytorch_run, base, RECIPE, data) == metrics
    assert "already done" in capsys.readouterr().out


def test_a_killed_run_ends_like_an_uninterrupted_one(
    pytorch_run: Path, base: Path, data: Path, tmp_path: Path, capsys
):
    """kill -9 after the first checkpoint, and a half-written second one: weights, moments and losses are the
    same.

    With dropout, NEFTune and shuffled epochs.
    """
    run = tmp_path / "run"
    train_until_step_6_and_kill(run, base, data)
    assert [c.step for c in checkpoints(run)] == [4] and not (run / "metrics.json").exists()
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-8")  # as if it was killed while it saved
    file = run / "checkpoint-8" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])

    capsys.readouterr()
    train_into(run, base, RECIPE, data)
    printed = capsys.readouterr().out
    assert "checkpoint-8 is incomplete" in printed and "from step 4" in printed
    resumed, whole = (
        load_file(folder / "checkpoint-12" / "adapter_model.safetensors") for folder in (run, pytorch_run)
    )
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[key], whole[key]) for key in resumed)
    moments = [
        torch.load(folder / "checkpoint-12" / "optimizer.pt", weights_only=True)["state"]
        for folder in (run, pytorch_run)
    ]
    assert all(torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[1])
    logs = [[row[column] for row in read_log(folder) for column in TIMELESS] for folder in (run, pytorch_run)]
    assert logs[0] == logs[1]


def train_until_step_6_and_kill(run: Path, base: Path, data: Path) -> None:
    """Train in another process, which writes a file at step 6 and waits; then kill it."""
    signal_file = run.with_name("at-step-6")
    code = (
        "import sys, time, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from scripts.training.pytorch_engine import train; from scripts.training.run import RunOptions\n"
        "from tests.training.recipes import RECIPE\n"
        "base, data, run, file = map(Path, sys.argv[1:])\n"
        "def wait(log):\n"
        "    if log[-1]['step'] == 6: file.touch(); time.sleep(600)\n"
        "train(str(base), RECIPE, data, on_log=wait, options=RunOptions(folder=run))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, base, data, run, signal_file],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 400  # a busy machine starts slowly
    while not signal_file.exists():
        assert child.poll() is None and time.monotonic() < deadline, child.stderr.read()
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_a_run_killed_after_its_last_checkpoint_only_writes_its_metrics(
    pytorch_run: Path, base: Path, data: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(pytorch_run, run)
    (run / "metrics.json").unlink()
    metrics = train_into(run, base, RECIPE, data)
    whole = json.loads((pytorch_run / "metrics.json").read_text())
    for figure in ("losses", "eval_losses", "train_seconds", "tokens", "trainable_parameters"):
        assert metrics[figure] == whole[figure]
    assert [c.step for c in checkpoints(run)] == [4, 8, 12]


def test_another_recipe_and_a_fresh_start_move_the_old_run_aside(
    base: Path, data: Path, tmp_path: Path, capsys
):
    run, short = tmp_path / "run", replace(PLAIN, max_steps=1)
    first = train_into(run, base, short, data)
    assert "'tokens_per_second'" in capsys.readouterr().out  # printed with the loss, while it trains
    second = train_into(run, base, replace(short, learning_rate=5e-4), data)
    assert second["recipe"]["learning_rate"] == 5e-4
    assert "had another run: it is moved to" in capsys.readouterr().out
    third = train_into(run, base, replace(short, learning_rate=5e-4), data, resume=False)
    assert third["losses"] == second["losses"] == first["losses"]
    assert len(list(tmp_path.glob("run.*"))) == 2


def test_a_run_goes_into_the_folder_of_its_model(base: Path, data: Path, tmp_path: Path):
    model_type = copy_of(base, tmp_path / "named")
    train(model_type, replace(PLAIN, max_steps=1), data)
    assert (ADAPTERS / "named_pytorch" / "metrics.json").exists()


def test_a_diverging_run_stops_with_a_remedy(base: Path, data: Path, tmp_path: Path):
    wild = replace(PLAIN, learning_rate=1e30, warmup_ratio=0.0, max_grad_norm=0.0)
    with pytest.raises(UserError, match="the loss is (nan|inf).*diverges\n.*lower the learning rate"):
        train_into(tmp_path / "run", base, wild, data)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_two_processes_share_the_rows_and_have_the_losses_of_one(base: Path, data: Path, tmp_path: Path):
    """With the accelerate configuration that is shipped for the CPU (gloo)."""
    recipe = replace(PLAIN, max_steps=5, learning_rate=1e-2)
    (tmp_path / "pair.py").write_text(
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from scripts.training.pytorch_engine import train; from scripts.training.run import RunOptions\n"
        "from tests.training.recipes import PLAIN\n"
        "base, data, run = map(Path, sys.argv[1:])\n"
        "recipe = replace(PLAIN, max_steps=5, learning_rate=1e-2)\n"
        "train(str(base), recipe, data, options=RunOptions(folder=run))\n"
    )
    config = ROOT / "accelerate_configs" / "ddp_cpu.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    done = subprocess.run(
        [*launch, tmp_path / "pair.py", base, data, tmp_path / "pair"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pair = json.loads((tmp_path / "pair" / "metrics.json").read_text())
    one = train_into(tmp_path / "one", base, recipe, data)
    assert (pair["processes"], one["processes"]) == (2, 1)
    for curve in ("losses", "eval_losses"):
        assert [loss for _, loss in pair[curve]] == pytest.approx([loss for _, loss in one[curve]], abs=1e-5)
    assert [c.step for c in checkpoints(tmp_path / "pair")] == [4, 5]


def test_two_processes_that_share_the_model_train_resume_and_fuse(base: Path, data: Path, tmp_path: Path):
    """FSDP with the shipped configuration: checkpoints have their tensors, and the losses are the same.

    accelerate allows FSDP on GPUs only, so the two processes on the CPU (gloo) are declared as such.
    """
    (tmp_path / "pair.py").write_text(
        "import shutil, sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from accelerate import PartialState; from accelerate.utils import DistributedType\n"
        "from scripts.export.fuse_pytorch import fuse; from scripts.export.fusing import Folders\n"
        "from scripts.training.pytorch_engine import train; from scripts.training.run import RunOptions\n"
        "from tests.training.recipes import SHARED\n"
        "start = PartialState.__init__\n"
        "def start_as_on_gpus(self, *args, **settings):\n"
        "    start(self, *args, **settings)\n"
        "    if self.distributed_type == DistributedType.MULTI_CPU:\n"
        "        self.distributed_type = DistributedType.MULTI_GPU\n"
        "PartialState.__init__ = start_as_on_gpus\n"
        "base, data, run, fused = map(Path, sys.argv[1:])\n"
        "train(str(base), SHARED, data, options=RunOptions(folder=run))\n"
        "if PartialState().is_main_process:\n"
        "    (run / 'checkpoint-4').rename(run / 'whole')\n"
        "    (run / 'metrics.json').unlink()\n"
        "PartialState().wait_for_everyone()\n"
        "train(str(base), SHARED, data, options=RunOptions(folder=run))\n"
        "if PartialState().is_main_process:\n"
        "    fuse(str(base), 'last', data, folders=Folders(run, fused))\n"
    )
    config = ROOT / "accelerate_configs" / "fsdp_qlora.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [
            *launch,
            "--mixed_precision",
            "no",
            tmp_path / "pair.py",
            base,
            data,
            tmp_path / "pair",
            tmp_path / "fused",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | environment | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "from step 2" in done.stdout and "fusing on cpu" in done.stdout
    whole, resumed = (
        load_file(tmp_path / "pair" / name / "adapter_model.safetensors")
        for name in ("whole", "checkpoint-4")
    )
    assert len(whole) == 28 and all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert all(value.dtype == torch.float32 and value.any() for value in whole.values())
    assert (tmp_path / "pair" / "checkpoint-4" / "pytorch_model_fsdp.bin").exists()  # the model was shared
    one = train_into(tmp_path / "one", base, SHARED, data)
    log = read_log(tmp_path / "pair")
    # One process groups adapters, so in bfloat16 it rounds otherwise.
    assert [row["loss"] for row in log] == pytest.approx([loss for _, loss in one["losses"]], abs=2e-3)
    exactness = json.loads((tmp_path / "fused" / "fuse.json").read_text())["exactness"]
    assert exactness["mean_kl_divergence"] < 1e-4


def test_a_checkpoint_without_an_adapter_stops_the_training(
    base: Path, data: Path, tmp_path: Path, monkeypatch
):
    """As PEFT saved one under FSDP 1: a file with no tensors."""
    monkeypatch.setattr("peft.peft_model.get_peft_model_state_dict", lambda *args, **settings: {})
    with pytest.raises(UserError, match="the adapter has no tensors"):
        train_into(tmp_path / "run", base, replace(PLAIN, max_steps=2, save_every=1), data)
    assert not checkpoints(tmp_path / "run")


def test_the_trained_model_is_gone_when_the_training_returns(base: Path, data: Path, tmp_path: Path):
    train_into(tmp_path / "run", base, replace(PLAIN, max_steps=1), data)
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ == "LlamaForCausalLM"]
