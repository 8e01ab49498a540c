"""The PyTorch engine's promises: the plain recipe's losses, exact resume after a kill, checkpoints that stay, exact fuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import data_digest, load_rows
from scripts.export.fuse_pytorch import fuse
from scripts.lm import chat, prompts
from scripts.lm.base_models import fingerprint
from scripts.lm.chat import Encoded
from scripts.lm.device import explain_out_of_memory
from scripts.lm.smoke_model import smoke_model
from scripts.train_pytorch import main
from scripts.training.checkpoints import (
    COLUMNS,
    best,
    checkpoints,
    choose,
    mark_complete,
    read_log,
    rotate,
    stop_if_diverging,
    write_log,
)
from scripts.training.order import batches
from scripts.training.plan import describe, memory, plan, shape
from scripts.training.pytorch_engine import train
from scripts.training.recipe import PROFILES, Recipe
from tests.plain_loop import train_plainly
from utils_ft import ADAPTERS, LOCAL_MODELS, ROOT, UserError

RECIPE = replace(
    PROFILES["smoke"].recipe, max_tokens=512, max_steps=12, save_every=4, alpha=16
)  # with dropout and NEFTune
PLAIN = replace(RECIPE, dropout=0.0, neftune_alpha=0.0, qlora=False)  # nothing drawn at random


def a_row(number: int) -> dict:
    """A conversation of one to three steps; rows differ in length."""
    steps = [
        (f"Give node {number} exactly one colour.", f"{{ colour({number}, C) : hue(C) }} = 1."),
        ("Two adjacent nodes never share a colour.", ":- edge(X, Y), colour(X, C), colour(Y, C)."),
        ("Show the colours.", "#show colour/2."),
    ]
    return {
        "messages": prompts.conversation(f"Colour a map, case {number}.", steps[: 1 + number % 3]),
        "meta": {"kind": "conversation"},
    }


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A model this small is slower on two threads, by far so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def base(models: Path) -> Path:
    """The smoke model with a rotary base of its own and with generation settings, as real models have."""
    folder = smoke_model(models / "first")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500000.0
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": 0, "bos_token_id": 0, "temperature": 0.6, "top_p": 0.9})
    )
    return folder


def named(base: Path, name: str) -> str:
    """The same model under another name, so that its run has a folder of its own."""
    folder = base.with_name(name)
    if not folder.exists():
        shutil.copytree(base, folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, numbers in (("train", range(9)), ("valid", range(20, 23))):
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(a_row(number)) + "\n" for number in numbers)
        )
    return folder


@pytest.fixture(scope="module")
def finished(base: Path, data: Path) -> Path:
    """A whole run of twelve steps, with dropout, noise and a 4-bit base."""
    train(str(base), RECIPE, data)
    return ADAPTERS / "first_pytorch"


def encoded_rows(base: Path, data: Path) -> list[Encoded]:
    return encode_rows(chat.load_tokenizer(base), load_rows(data, "train"), RECIPE.max_tokens)


def a_trainer(
    base: Path, data: Path, recipe: Recipe, run: Path, dtype: torch.dtype = torch.float32, **options
):
    from scripts.training import sft_trainer

    rows = encoded_rows(base, data)
    order = batches(len(rows), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    model = sft_trainer.load_base(base, recipe.qlora, dtype)
    return sft_trainer.make_trainer(model, chat.load_tokenizer(base), recipe, rows, order, run, **options)


def losses_of(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def logits(model, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids])).logits[0]


def load_model(folder: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


# --- the step ---------------------------------------------------------------------------------------------------


def plain_loop(base: Path, rows: list[Encoded], recipe: Recipe) -> list[float]:
    """The losses of the recipe written with PyTorch and PEFT alone, from the seed that the engine starts with."""
    from peft import get_peft_model
    from transformers import set_seed

    from scripts.training.sft_trainer import lora_config

    set_seed(recipe.seed)
    model = get_peft_model(load_model(base), lora_config(4, recipe)).train()
    return train_plainly(model, rows, recipe)


LONG = replace(PLAIN, max_steps=20, warmup_ratio=0.1, weight_decay=0.01, learning_rate=1e-2, alpha=40)


@pytest.fixture(scope="module")
def plain_losses(base: Path, data: Path) -> list[float]:
    losses = plain_loop(base, encoded_rows(base, data), LONG)
    assert losses[-1] < losses[0] - 0.2  # they learn something
    return losses


@pytest.mark.parametrize("batch_size", [1, 2])
def test_losses_are_those_of_a_plain_loop(
    base: Path, data: Path, tmp_path: Path, plain_losses: list[float], batch_size: int
):
    """However the rows of a step are batched, and whatever is left out, the loss curve is the plain recipe's."""
    recipe = replace(LONG, batch_size=batch_size, gradient_accumulation_steps=4 // batch_size)
    trainer = a_trainer(base, data, recipe, tmp_path)
    trainer.train()
    assert losses_of(trainer) == pytest.approx(plain_losses, abs=1e-4)


def test_each_change_alone_leaves_the_losses_as_they_are(base: Path, data: Path, tmp_path: Path):
    from scripts.training.sft_trainer import CHANGES

    short = replace(LONG, max_steps=2)
    expected = plain_loop(base, encoded_rows(base, data), short)
    for change in (None, *CHANGES):
        trainer = a_trainer(base, data, short, tmp_path / str(change), changes=[change] if change else [])
        trainer.train()
        assert losses_of(trainer) == pytest.approx(expected, abs=1e-4), change


def test_mlx_takes_the_same_steps(base: Path, data: Path, tmp_path: Path, plain_losses: list[float]):
    mx = pytest.importorskip("mlx.core", reason="MLX exists for Apple silicon and Linux only")
    pytest.importorskip("mlx_lm")
    from scripts.training.adapter_formats import to_mlx
    from scripts.training.mlx_model import add_adapter, load_adapter, load_base
    from scripts.training.mlx_step import adamw, optimiser_step

    trainer = a_trainer(base, data, LONG, tmp_path)
    trainer.model.save_pretrained(tmp_path / "start")
    model = load_base(base, "float32")
    add_adapter(
        model, *load_adapter(to_mlx(tmp_path / "start", tmp_path / "mlx", base) / "adapters.safetensors")
    )
    model.train()
    rows, optimizer = encoded_rows(base, data), adamw(LONG)
    order = batches(len(rows), 4, LONG.max_steps, LONG.seed)
    losses = [
        optimiser_step(model, optimizer, [rows[i] for i in step], LONG, done, 0.0, [0])
        for done, step in enumerate(order)
    ]
    assert losses == pytest.approx(plain_losses, rel=1e-3) and mx.array(losses).size == 20


def test_losses_are_those_of_plain_trl(base: Path, data: Path, tmp_path: Path):
    """The variant that the benchmark calls plain: SFTTrainer with the recipe's numbers and its own defaults."""
    from scripts.training.sft_trainer import CHANGES, load_base
    from tools.training_variants import Load, fast_trainer, plain_trainer

    recipe, rows = replace(LONG, max_steps=8), encoded_rows(base, data)
    order = batches(len(rows), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    load = Load("smoke", base, base, tuple(rows[index] for step in order for index in step), recipe)
    losses = []
    for make, options in ((plain_trainer, ()), (fast_trainer, (tuple(CHANGES),))):
        folder = tmp_path / make.__name__
        trainer = make(
            load_base(base, False, torch.float32), chat.load_tokenizer(base), load, str(folder), [], *options
        )
        trainer.args.save_strategy = "no"
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3) and losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_there_is_no_gradient_below_the_lowest_adapted_layer(
    base: Path, data: Path, tmp_path: Path, checkpointing: bool
):
    with warnings.catch_warnings(record=True) as said:
        trainer = a_trainer(base, data, replace(RECIPE, max_steps=1), tmp_path, checkpointing=checkpointing)
        seen = []
        for layer in trainer.model.get_base_model().model.layers:
            layer.register_forward_hook(lambda _, __, output: seen.append(output.requires_grad))
        trainer.train()
    assert seen[:4] == [False, False, True, True]  # the top two of four are adapted
    assert trainer.model.is_activation_checkpointing == checkpointing
    assert not [warning.message for warning in said if "checkpointing" in str(warning.message)], "old names"


def test_gradient_checkpointing_changes_no_loss_even_with_dropout(base: Path, data: Path, tmp_path: Path):
    """The layers that run again in the backward pass draw the dropout masks of the forward pass."""
    ends = []
    for checkpointing in (False, True):
        recipe = replace(RECIPE, max_steps=4, dropout=0.5, learning_rate=1e-2)
        trainer = a_trainer(base, data, recipe, tmp_path / str(checkpointing), checkpointing=checkpointing)
        trainer.train()
        ends.append(losses_of(trainer))
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)


@pytest.mark.parametrize("packed", [False, True], ids=["dense", "4-bit"])
def test_grouped_adapters_compute_what_peft_computes(base: Path, packed: bool):
    from peft import get_peft_model

    from scripts.training.lora_groups import group_adapters
    from scripts.training.sft_trainer import load_base, lora_config

    model = get_peft_model(
        load_base(base, packed, torch.float32), lora_config(4, replace(PLAIN, rank=4))
    ).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    ids, ends = torch.tensor([[1, 40, 41, 42, 2, 50]]), []
    for grouped in (False, True):
        if grouped:
            assert group_adapters(model) == 2 * 4  # layers × kinds of input
        scores = model(ids).logits
        model.zero_grad()
        scores.square().mean().backward()
        ends.append(
            (scores.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        )
    assert torch.allclose(ends[0][0], ends[1][0], atol=1e-5) and len(ends[0][1]) == 2 * 2 * 7
    for name, gradient in ends[0][1].items():
        assert torch.allclose(gradient, ends[1][1][name], atol=1e-6, rtol=1e-4), name


def test_dropout_in_a_group_drops_its_share_and_keeps_the_mean():
    from scripts.training.lora_groups import keep_mask

    torch.manual_seed(0)
    mask = keep_mask((1000, 999), 0.05, torch.device("cpu")).float()
    assert mask.mean().item() == pytest.approx(0.95, abs=1e-3) and set(mask.unique().tolist()) == {0.0, 1.0}
    columns, rows = mask.mean(0), mask.mean(1)
    assert columns.std().item() == pytest.approx(
        (0.05 * 0.95 / 1000) ** 0.5, rel=0.1
    )  # independent, element by element
    assert rows.std().item() == pytest.approx((0.05 * 0.95 / 999) ** 0.5, rel=0.1)
    torch.manual_seed(0)
    assert torch.equal(mask, keep_mask((1000, 999), 0.05, torch.device("cpu")).float())


def test_a_4_bit_base_that_is_unpacked_computes_the_same(base: Path):
    from scripts.training.sft_trainer import load_base, unpack

    packed, unpacked, plain = (
        load_base(base, True, torch.float32),
        unpack(load_base(base, True, torch.float32)),
        load_model(base),
    )
    ids = torch.tensor([[1, 40, 41, 42, 2, 50]])
    with (
        torch.no_grad()
    ):  # in training mode: else bitsandbytes repacks on some CPUs, and cannot where a row is below 64 wide
        by_bits, by_numbers, original = (model.train()(ids).logits for model in (packed, unpacked, plain))
    assert torch.allclose(by_bits, by_numbers, atol=1e-5)
    assert (by_bits - original).abs().max() > 1e-3  # it is the 4-bit model, not the original
    assert type(unpacked.model.layers[0].mlp.up_proj) is torch.nn.Linear


def test_adapters_stay_in_float32_over_a_16_bit_base(base: Path, data: Path, tmp_path: Path):
    """Updates below the precision of bfloat16 are not lost, and the losses are those of float32 but for rounding."""
    recipe = replace(LONG, max_steps=6)
    trainer = a_trainer(base, data, recipe, tmp_path, torch.bfloat16)
    trainer.train()
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    exact = a_trainer(base, data, recipe, tmp_path / "exact")
    exact.train()
    assert losses_of(trainer) == pytest.approx(losses_of(exact), rel=0.02)


# --- a run ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_checkpoints_log_and_metrics_and_is_not_done_twice(
    finished: Path, base: Path, data: Path, capsys
):
    assert [c.path.name for c in checkpoints(finished)] == ["checkpoint-4", "checkpoint-8", "checkpoint-12"]
    log = read_log(finished)
    assert (finished / "log.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [row["step"] for row in log] == list(range(1, 13))
    assert [row["step"] for row in log if row["eval_loss"] is not None] == [4, 8, 12]
    metrics = json.loads((finished / "metrics.json").read_text())
    seen = [encoded_rows(base, data)[index] for step in batches(9, 4, 12, 0) for index in step]
    assert metrics["tokens"] == sum(len(row.input_ids) for row in seen)
    assert metrics["supervised_tokens"] == sum(sum(row.supervised) for row in seen)
    assert metrics["data_sha256"] == data_digest(load_rows(data, "train")) and metrics["base"] == fingerprint(
        base
    )
    assert metrics["train_seconds"] > 0 and metrics["trainable_parameters"] == 2 * 4 * (
        4 * 32 + 2 * 32 + 2 * 16 + 3 * 96
    )
    capsys.readouterr()
    assert train(str(base), RECIPE, data) == metrics
    assert "already done" in capsys.readouterr().out


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(finished: Path, base: Path, data: Path, capsys):
    """kill -9 behind the first checkpoint, and a torn second one: weights, moments and losses end the same.

    With dropout, NEFTune and every epoch shuffled anew.
    """
    name = named(base, "killed")
    run = ADAPTERS / "killed_pytorch"
    code = (
        "import sys, time, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from scripts.training.pytorch_engine import train; from tests.test_train_pytorch import RECIPE\n"
        "slow = lambda log: time.sleep(0.5 if log[-1]['step'] > 5 else 0)\n"
        f"train({name!r}, RECIPE, Path({str(data)!r}), on_log=slow)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 400  # a busy machine starts slowly
    while not (run / "checkpoint-4" / "complete.json").exists():
        assert child.poll() is None and time.monotonic() < deadline, child.stderr.read()
        time.sleep(0.02)
    time.sleep(0.3)  # it is in step 5, 6 or 7
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and not (run / "metrics.json").exists()
    assert [c.step for c in checkpoints(run)] == [4]
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-8")  # as a kill in the middle of saving leaves it
    file = run / "checkpoint-8" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])

    capsys.readouterr()
    train(name, RECIPE, data)
    said = capsys.readouterr().out
    assert "checkpoint-8 was not written to its end" in said and "from step 4" in said
    ours, theirs = (
        load_file(folder / "checkpoint-12" / "adapter_model.safetensors") for folder in (run, finished)
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    moments = [
        torch.load(folder / "checkpoint-12" / "optimizer.pt", weights_only=True)["state"]
        for folder in (run, finished)
    ]
    assert all(torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[1])
    timeless = ("step", "loss", "eval_loss", "learning_rate")
    logs = [[row[column] for row in read_log(folder) for column in timeless] for folder in (run, finished)]
    assert logs[0] == logs[1]


def test_a_run_that_was_killed_behind_its_last_checkpoint_only_writes_its_figures(
    finished: Path, base: Path, data: Path
):
    name, run = named(base, "late"), ADAPTERS / "late_pytorch"
    shutil.copytree(finished, run)
    (run / "metrics.json").unlink()
    metrics, whole = train(name, RECIPE, data), json.loads((finished / "metrics.json").read_text())
    for figure in ("losses", "eval_losses", "train_seconds", "tokens", "trainable_parameters"):
        assert metrics[figure] == whole[figure]
    assert [c.step for c in checkpoints(run)] == [4, 8, 12]


def test_another_recipe_moves_the_old_run_aside_and_a_fresh_start_does_too(base: Path, data: Path, capsys):
    name, short = named(base, "moved"), replace(PLAIN, max_steps=1)
    first = train(name, short, data)
    assert "'tokens_per_second'" in capsys.readouterr().out  # beside the loss, while it trains
    second = train(name, replace(short, learning_rate=5e-4), data)
    assert second["recipe"]["learning_rate"] == 5e-4 and "another run lay in" in capsys.readouterr().out
    third = train(name, replace(short, learning_rate=5e-4), data, resume=False)
    assert third["losses"] == second["losses"] == first["losses"]
    assert len([folder for folder in ADAPTERS.iterdir() if folder.name.startswith("moved_pytorch.")]) == 2


def test_a_run_that_diverges_stops_with_advice(base: Path, data: Path):
    with pytest.raises(UserError, match="the loss is (nan|inf).*diverges\n.*lower the learning rate"):
        train(
            named(base, "wild"), replace(PLAIN, learning_rate=1e30, warmup_ratio=0.0, max_grad_norm=0.0), data
        )
    assert not (ADAPTERS / "wild_pytorch" / "metrics.json").exists()


def test_a_loss_that_explodes_stops_too():
    for fine in ([], [2.0] * 11, [2.0, 30.0]):
        stop_if_diverging(fine, Path("run"), PLAIN)
    for wild in ([2.0] * 10 + [12.1], [float("nan")]):
        with pytest.raises(UserError, match=f"at step {len(wild)}: training diverges"):
            stop_if_diverging(wild, Path("run"), PLAIN)


def test_out_of_memory_says_which_knob_to_turn(base: Path):
    from scripts.training.plan import advice

    with (
        pytest.raises(UserError, match="out of memory\n.*--max-tokens.*4096.*--qlora"),
        explain_out_of_memory(advice(Recipe(qlora=False)), base),
    ):
        torch.empty(2**45)
    with pytest.raises(UserError, match="out of memory"), explain_out_of_memory("", base):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    with pytest.raises(RuntimeError, match="size"), explain_out_of_memory("", base):
        torch.ones(2) @ torch.ones(3)


def test_a_logger_that_is_not_there_is_named_with_the_remedy(base: Path, data: Path, tmp_path: Path):
    from importlib.util import find_spec

    with pytest.raises(UserError, match="nonsense.*\n.*tensorboard, wandb, mlflow"):
        a_trainer(base, data, PLAIN, tmp_path, report_to="nonsense")
    absent = next((name for name in ("wandb", "mlflow", "comet_ml", "clearml") if not find_spec(name)), None)
    if absent:
        with pytest.raises(UserError, match=f"pip install {absent}"):
            a_trainer(base, data, PLAIN, tmp_path, report_to=absent)


def test_two_processes_share_the_rows_and_find_the_losses_of_one(base: Path, data: Path, tmp_path: Path):
    """With the accelerate configuration that is shipped for the CPU (gloo)."""
    recipe = replace(PLAIN, max_steps=5, learning_rate=1e-2)
    code = (
        "from dataclasses import replace; from pathlib import Path; from scripts.training.pytorch_engine import train\n"
        "from tests.test_train_pytorch import PLAIN\n"
        f"train({named(base, 'pair')!r}, replace(PLAIN, max_steps=5, learning_rate=1e-2), Path({str(data)!r}))\n"
    )
    (tmp_path / "pair.py").write_text(code)
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(ROOT / "accelerate_configs" / "ddp_cpu.yaml"),
    ]
    done = subprocess.run(
        [*launch, str(tmp_path / "pair.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pair = json.loads((ADAPTERS / "pair_pytorch" / "metrics.json").read_text())
    one = train(named(base, "one"), recipe, data)
    assert (pair["processes"], one["processes"]) == (2, 1)
    for curve in ("losses", "eval_losses"):
        assert [loss for _, loss in pair[curve]] == pytest.approx([loss for _, loss in one[curve]], abs=1e-5)
    assert [c.step for c in checkpoints(ADAPTERS / "pair_pytorch")] == [4, 5]


def launch_environment(name: str) -> dict[str, str]:
    """What `accelerate launch --config_file <name>` gives its processes, by accelerate's own reading of the file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    file = ROOT / "accelerate_configs" / name
    asked = launch_command_parser().parse_args(["--config_file", str(file), "-m", "scripts.train_pytorch"])
    return prepare_multi_gpu_env(_validate_launch_command(asked)[0])


@pytest.mark.parametrize("name", ["ddp_cpu.yaml", "ddp_gpu.yaml", "fsdp_qlora.yaml"])
def test_the_shipped_accelerate_configurations_are_valid(name: str):
    from accelerate.commands.config.config_args import load_config_from_file

    assert {file.name for file in (ROOT / "accelerate_configs").iterdir()} == {
        "ddp_cpu.yaml",
        "ddp_gpu.yaml",
        "fsdp_qlora.yaml",
    }
    config = load_config_from_file(str(ROOT / "accelerate_configs" / name))
    assert config.num_processes == 2 and Recipe().rows_per_step % config.num_processes == 0
    found = launch_environment(name)
    assert found["ACCELERATE_MIXED_PRECISION"] == ("no" if name == "ddp_cpu.yaml" else "bf16")
    assert (found.get("ACCELERATE_USE_FSDP") == "true") == (name == "fsdp_qlora.yaml")


def test_fsdp_wraps_whole_layers_and_keeps_the_4_bits_in_a_format_that_it_can_shard(
    monkeypatch: pytest.MonkeyPatch,
):
    from accelerate import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    from scripts.training.sft_trainer import nf4

    for variable, value in launch_environment("fsdp_qlora.yaml").items():
        monkeypatch.setenv(variable, value)
    assert nf4(torch.bfloat16).bnb_4bit_quant_storage == torch.bfloat16
    for needs_a_gpu in ("FSDP_SYNC_MODULE_STATES", "FSDP_CPU_RAM_EFFICIENT_LOADING"):
        assert os.environ[needs_a_gpu] == "true"
        monkeypatch.setenv(needs_a_gpu, "false")
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.auto_wrap_policy == transformer_auto_wrap_policy and plugin.use_orig_params is False
    assert (plugin.sharding_strategy.name, plugin.state_dict_type.name) == ("FULL_SHARD", "FULL_STATE_DICT")
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    assert nf4(torch.bfloat16).bnb_4bit_quant_storage == torch.uint8


@pytest.mark.parametrize("case", ["sharded", "experts"])
def test_rows_go_through_by_themselves_where_passes_are_counted(
    base: Path, data: Path, tmp_path: Path, monkeypatch, case: str
):
    """Processes that share a model take the same passes; TRL adds the loss of the routers once in each."""
    from scripts.training import sft_trainer

    rows = encoded_rows(base, data)
    model = sft_trainer.load_base(base, False, torch.float32)
    if case == "sharded":
        monkeypatch.setattr(sft_trainer, "sharded", lambda: True)
    else:
        model.config.output_router_logits, model.config.router_aux_loss_coef = True, 0.01
    trainer = sft_trainer.make_trainer(
        model, chat.load_tokenizer(base), PLAIN, rows, [[0, 1, 2, 3]], tmp_path
    )
    assert (trainer.args.per_device_train_batch_size, trainer.args.gradient_accumulation_steps) == (1, 4)


def test_rows_that_cannot_be_shared_evenly_are_refused(base: Path, data: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="4 rows.*3 processes\n.*batch_size × accumulation"):
        a_trainer(base, data, PLAIN, tmp_path)


# --- checkpoints ------------------------------------------------------------------------------------------------


def checkpoint_folders(
    run: Path, eval_losses: dict[int, float], scores: dict[int, float | dict] | None = None
) -> Path:
    """A run folder with a sealed checkpoint for each step, as training and scoring leave it."""
    for step in eval_losses:
        (run / f"checkpoint-{step}").mkdir(parents=True)
        (run / f"checkpoint-{step}" / "adapter_model.safetensors").write_bytes(bytes(10))
        mark_complete(run / f"checkpoint-{step}")
    write_log(
        run,
        [dict.fromkeys(COLUMNS) | {"step": step, "eval_loss": loss} for step, loss in eval_losses.items()],
    )
    for step, score in (scores or {}).items():
        steps = score if isinstance(score, dict) else {"equivalent": score}
        (run / f"scores-{step}.json").write_text(json.dumps({"steps": steps}))
    return run


def test_the_best_checkpoints_are_never_deleted(tmp_path: Path):
    by_loss = checkpoint_folders(tmp_path / "loss", {1: 0.9, 2: 0.3, 3: 0.5, 4: 0.6, 5: 0.7})
    rotate(by_loss, keep=2)
    assert [c.step for c in checkpoints(by_loss)] == [2, 4, 5]
    by_score = checkpoint_folders(
        tmp_path / "score", {1: 0.9, 2: 0.3, 3: 0.5, 4: 0.6, 5: 0.7}, {1: 0.8, 3: 0.2}
    )
    rotate(by_score, keep=1)
    assert [c.step for c in checkpoints(by_score)] == [1, 2, 5]  # by score, by loss, the last
    assert best(checkpoints(by_score)).step == 1


def test_the_table_recommends_a_checkpoint_and_shows_how_sure_its_score_is(tmp_path: Path):
    from scripts.training.checkpoints import table

    run = checkpoint_folders(
        tmp_path / "run",
        {50: 0.9, 100: 0.3, 150: 0.5},
        {
            100: {"equivalent": 0.25, "equivalent_ci": [0.125, 0.5]},
            150: {"equivalent": 0.5, "equivalent_ci": [0.25, 0.75]},
        },
    )
    found = table(run)
    assert list(found["recommended"]) == ["", "", "←"] and list(found["step equivalence"].dropna()) == [
        0.25,
        0.5,
    ]
    assert list(found["low"].dropna()) == [0.125, 0.25] and list(found["high"].dropna()) == [0.5, 0.75]
    other = run / "scores-100.json"
    other.write_text(
        json.dumps(json.loads(other.read_text()) | {"asked": "another model, problems, settings or code"})
    )
    os.utime(other, (1, 1))
    assert list(table(run)["step equivalence"].dropna()) == [0.5], (
        "what was asked otherwise earlier is no comparison"
    )
    unscored = table(checkpoint_folders(tmp_path / "unscored", {50: 0.9, 100: 0.3}))
    assert list(unscored["recommended"]) == ["", "←"] and unscored[["low", "high"]].isna().all(axis=None)


def test_a_checkpoint_is_whole_only_with_all_its_files(tmp_path: Path):
    """As FSDP may write it, with folders inside."""
    run = checkpoint_folders(tmp_path / "run", {50: 0.9})
    part = run / "checkpoint-50" / "shards" / "0.distcp"
    part.parent.mkdir()
    part.write_bytes(bytes(10))
    mark_complete(run / "checkpoint-50")
    assert [c.step for c in checkpoints(run)] == [50]
    part.unlink()
    assert not checkpoints(run)
    (run / "checkpoint-60").mkdir()  # killed before it was sealed
    assert not checkpoints(run)


def test_choosing_a_checkpoint_that_is_not_there_names_those_that_are(tmp_path: Path):
    run = checkpoint_folders(tmp_path / "run", {50: 0.9, 100: 0.3, 150: 0.5})
    assert [choose(run, which).step for which in ("best", "last", 50, "150")] == [100, 150, 50, 150]
    with pytest.raises(UserError, match="no checkpoint at step 75\n.*best, last, or one of 50, 100, 150"):
        choose(run, 75)
    with pytest.raises(UserError, match="no whole checkpoint\n.*train first"):
        choose(tmp_path / "nowhere")
    (run / "checkpoint-100" / "adapter_model.safetensors").write_bytes(bytes(9))
    with pytest.raises(UserError, match="one of 50, 150"):
        choose(run, 100)


# --- fuse -------------------------------------------------------------------------------------------------------


def test_a_middle_checkpoint_fuses_into_base_plus_that_adapter_and_proves_it(
    finished: Path, base: Path, data: Path, capsys
):
    from peft import PeftModel

    target = LOCAL_MODELS / "ft_first_pytorch"
    ids = chat.encode(chat.load_tokenizer(base), a_row(21)["messages"]).input_ids
    found = {}
    for step in (4, "last"):
        assert fuse(str(base), step, data) == target
        if step == 4:
            (target / "Modelfile").write_text(
                "FROM a.gguf\nSYSTEM mine\n"
            )  # outlives that the folder is replaced
        found[step] = logits(load_model(target), ids)
        number = 12 if step == "last" else step
        expected = PeftModel.from_pretrained(load_model(base), finished / f"checkpoint-{number}")
        plain = logits(load_model(base), ids)
        assert (found[step] - logits(expected, ids)).abs().max() < 0.1 * (found[step] - plain).abs().max()
        record = json.loads((target / "fuse.json").read_text())
        assert record["checkpoint"] == number and record["proof"]["positions"] > 0
        assert record["proof"]["same_greedy_token"] > 0.95 and record["proof"]["mean_kl_divergence"] < 1e-4
        assert record["proof"]["same_greedy_output"] > 0.5
        training = record["training"]
        assert (
            training["recipe"]["rank"] == 4
            and training["data_sha256"]
            and training["versions"]["torch"] == torch.__version__
        )
    assert not torch.allclose(found[4], found["last"], atol=1e-3)
    assert "SYSTEM mine" in (target / "Modelfile").read_text()
    card = (target / "README.md").read_text()
    assert (
        "LoRA checkpoint 12" in card
        and record["training"]["data_sha256"] in card
        and f"torch {torch.__version__}" in card
    )
    capsys.readouterr()
    fuse(str(base), "last", data)
    assert "already fused" in capsys.readouterr().out


def test_an_adapter_is_not_merged_into_a_base_that_it_was_not_trained_over(
    finished: Path, base: Path, data: Path, tmp_path: Path
):
    """Such as another checkpoint, fused into the same folder: it differs in the upper layers only."""
    weights = base / "model.safetensors"
    before, fingerprint_before, whole = load_file(weights), fingerprint(base), weights.read_bytes()
    try:
        upper = max(name for name in before if "mlp.down_proj" in name)
        save_file(before | {upper: before[upper] + 1}, weights, metadata={"format": "pt"})
        assert fingerprint(base) != fingerprint_before
        with pytest.raises(UserError, match="were trained over another base"):
            fuse(str(base), "last", data)
    finally:
        weights.write_bytes(whole)


def test_what_the_base_model_knew_survives_the_fuse(finished: Path, base: Path, data: Path):
    """Vocabulary, special tokens, generation settings; and the rotary base stands where mlx-lm looks for it."""
    target = fuse(str(base), "last", data)
    before, after = chat.load_tokenizer(base), chat.load_tokenizer(target)
    assert before.get_vocab() == after.get_vocab() and before.all_special_tokens == after.all_special_tokens
    assert after.chat_template == before.chat_template and after.pad_token_id not in (
        None,
        chat.end_of_turn(after),
    )
    generation = json.loads((target / "generation_config.json").read_text())
    assert (generation["temperature"], generation["top_p"]) == (0.6, 0.9)
    assert generation["eos_token_id"] == [chat.end_of_turn(after), 0]
    config = json.loads((target / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500000.0
    assert config["use_cache"] and "quantization_config" not in config and config["dtype"] == "bfloat16"
    original, fused = load_file(base / "model.safetensors"), load_file(target / "model.safetensors")
    assert original.keys() == fused.keys()
    lower = "model.layers.0.mlp.up_proj.weight"  # has no adapter
    assert torch.equal(original[lower], fused[lower])


def test_the_end_of_a_turn_stops_generation(finished: Path, base: Path, data: Path):
    """Whatever the settings say: a model that writes the end of its turn is not asked for more."""
    from transformers import LogitsProcessorList

    target = fuse(str(base), "last", data)
    model, tokenizer = load_model(target), chat.load_tokenizer(target)
    prompt = torch.tensor([chat.encode_prompt(tokenizer, a_row(21)["messages"][:2])])
    end = chat.end_of_turn(tokenizer)

    def turn_ends_at_the_third_token(ids, scores):
        scores = scores.clone()
        scores[:, end] = 1e4 if ids.shape[1] == prompt.shape[1] + 2 else -1e4
        return scores

    processors = LogitsProcessorList([turn_ends_at_the_third_token])
    written = model.generate(prompt, max_new_tokens=9, do_sample=False, logits_processor=processors)
    assert written.shape[1] == prompt.shape[1] + 3 and written[0, -1] == end


# --- the plan ---------------------------------------------------------------------------------------------------

LLAMA3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}


def test_a_config_json_is_enough_for_a_plan(data: Path, tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA3_8B))
    found = plan(str(file), Recipe(), data)
    assert found["model"]["parameters"] == 8_030_261_248
    assert found["model"]["trainable"] == 20_971_520  # rank 16 on seven projections of 16 layers
    assert found["measured"] is None and not found["tokens_counted"]
    assert found["expected"]["hours"] > 0 and found["tokens"] > found["supervised_tokens"] > 0
    said = describe(found)
    assert (
        "layers 16 to 31" in said and "20,971,520" in said and "hours expected" in said and "guessed" in said
    )


def test_qlora_of_an_8b_model_at_4096_tokens_is_expected_to_fit_16_gb():
    from transformers import LlamaConfig

    sizes = shape(LlamaConfig(**LLAMA3_8B), Recipe())
    needed = memory(sizes, Recipe(), 4096, 1200, 2, checkpointing=True, where="cuda")
    assert 5e9 < needed["base"] < 6.5e9 and sum(needed.values()) < 16e9
    whole = memory(sizes, replace(Recipe(), qlora=False), 4096, 1200, 2, checkpointing=False, where="cuda")
    assert sum(whole.values()) > 2 * sum(needed.values())


def test_a_plan_counts_the_tokens_and_measures_one_step(base: Path, data: Path, finished: Path):
    found = plan(str(base), RECIPE, data)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert found["tokens"] == metrics["tokens"] and found["supervised_tokens"] == metrics["supervised_tokens"]
    assert found["model"]["trainable"] == metrics["trainable_parameters"] and found["rows"] == 9
    assert found["measured"]["hours"] > 0 and found["measured"]["total_bytes"] > 1e8
    said = describe(found)
    assert "layers 2 to 3" in said and "measured" in said and "tokens/s" in said


def test_a_plan_names_what_is_wrong(data: Path, tmp_path: Path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "gpt2",
                "n_layer": 2,
                "n_embd": 32,
                "n_head": 2,
                "vocab_size": 100,
                "architectures": ["GPT2LMHeadModel"],
            }
        )
    )
    with pytest.raises(UserError, match="none of the projections that LoRA adapts\n.*q_proj"):
        plan(str(tmp_path), Recipe(), data)


def test_a_recipe_of_no_hyperparameter_or_no_training_is_refused():
    assert Recipe().override(top_layers=30, seed=None) == replace(Recipe(), top_layers=30)
    with pytest.raises(UserError, match="'layers' is no hyperparameter\n.*top_layers"):
        Recipe().override(layers=3)
    for nothing in ({"top_layers": 0}, {"max_steps": 0}):
        with pytest.raises(UserError, match="at least one iteration and one layer"):
            Recipe().override(**nothing)


def test_a_dry_run_prints_its_table_and_nothing_else_and_trains_nothing(base: Path, data: Path, capfd):
    main(profile="smoke", model_type=named(base, "dry"), data=data, dry_run=True)
    said, noise = capfd.readouterr()
    assert [
        line.split()[0] for line in said.splitlines()
    ] == "model trained device data tokens memory time".split()
    assert "hours expected" in said and "measured" in said and said.endswith("tokens/s)\n") and not noise
    assert not (ADAPTERS / "dry_pytorch").exists()
