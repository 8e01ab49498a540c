"""The MLX engine keeps the PyTorch engine's promises: same tokens, same order, same losses, exact resume, exact fuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mlx.core", reason="MLX exists for Apple silicon and Linux only")
pytest.importorskip("mlx_lm")

import mlx.core as mx  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from mlx.utils import tree_flatten  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from scripts.data.encoded_rows import counts, encode_rows
from scripts.data.rows import data_digest, load_rows  # noqa: E402
from scripts.export.fuse_mlx import fuse  # noqa: E402
from scripts.lm import chat, prompts  # noqa: E402
from scripts.lm.smoke_model import smoke_model  # noqa: E402
from scripts.training.adapter_formats import to_mlx, to_peft  # noqa: E402
from scripts.training.checkpoints import COLUMNS, checkpoints, read_log  # noqa: E402
from scripts.training.mlx_engine import train  # noqa: E402
from scripts.training.mlx_model import (  # noqa: E402
    adapter_config,
    add_adapter,
    load_adapter,
    load_arrays,
    load_base,
    require_mlx,
    save_arrays,
)
from scripts.training.mlx_step import (  # noqa: E402
    adamw,
    evaluate,
    learning_rate,
    micro_batches,
    optimiser_step,
    seeded_layers,
)
from scripts.training.order import batches
from scripts.training.recipe import PROFILES, Recipe  # noqa: E402
from tests.plain_loop import train_plainly
from utils_ft import ROOT, UserError  # noqa: E402

RECIPE = replace(PROFILES["smoke"].recipe, max_tokens=512, alpha=16)
PLAIN = replace(RECIPE, dropout=0.0, neftune_alpha=0.0)  # nothing drawn at random


def a_row(number: int) -> dict:
    """A conversation of two or three steps; rows differ in length."""
    steps = [
        (f"Give node {number} exactly one colour.", f"{{ colour({number}, C) : hue(C) }} = 1."),
        ("Two adjacent nodes never share a colour.", ":- edge(X, Y), colour(X, C), colour(Y, C)."),
        ("Show the colours.", "#show colour/2."),
    ]
    messages = prompts.conversation(f"Colour a map, case {number}.", steps[: 2 + number % 2])
    return {"messages": messages, "meta": {"kind": "conversation"}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A model this small is slower on two threads, by far so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke model, but with another rotary base than mlx-lm's default, as real models have."""
    folder = smoke_model(tmp_path_factory.mktemp("models") / "smoke")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500000.0
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, numbers in (("train", range(9)), ("valid", range(20, 23))):
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(a_row(number)) + "\n" for number in numbers)
        )
    return folder


@pytest.fixture(scope="module")
def finished(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of four steps, with dropout and noise."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train(str(base), RECIPE, data, run=run, dtype="bfloat16")
    return run


def adapted(base: Path, recipe: Recipe, dtype: str = "float32"):
    """The base with a fresh adapter, ready to train, and its configuration."""
    model = load_base(base, dtype)
    config = adapter_config(model, recipe, str(base), dtype, quantized=False)
    add_adapter(model, config, seed=recipe.seed)
    model.train()
    return model, config


def mlx_logits(model, ids: list[int]) -> torch.Tensor:
    model.eval()
    return torch.from_numpy(numpy.array(model(mx.array([ids]))[0].astype(mx.float32)))


def torch_model(folder: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def torch_logits(model, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids])).logits[0]


# --- rows, tokens and order -------------------------------------------------------------------------------------


def test_order_depends_on_the_seed_only_and_sees_each_row_equally_often():
    order = batches(n_rows=10, rows_per_step=4, max_steps=25, seed=3)
    assert set(Counter(index for step in order for index in step).values()) == {10}
    assert batches(10, 4, 7, seed=3) == order[:7]
    assert batches(10, 4, 25, seed=4) != order
    with pytest.raises(UserError, match="no rows"):
        batches(0, 4, 1, 0)


def test_rows_are_encoded_once_and_those_without_a_target_are_counted(base: Path, data: Path, tmp_path: Path):
    tokenizer, rows = chat.load_tokenizer(base), load_rows(data, "train")
    longest = max(len(chat.encode(tokenizer, row["messages"]).input_ids) for row in rows)
    first = encode_rows(tokenizer, rows, longest - 1, tmp_path)
    assert encode_rows(tokenizer, rows, longest - 1, tmp_path) == first and len(list(tmp_path.iterdir())) == 1
    assert first == [
        e for e in (chat.encode(tokenizer, row["messages"], longest - 1) for row in rows) if any(e.supervised)
    ]
    encode_rows(tokenizer, rows, longest, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    rows = [*rows, {"messages": prompts.conversation("word " * 500, [("a", "b.")])}]
    assert counts(rows, encode_rows(tokenizer, rows, 300)).dropped_rows == 1
    assert data_digest(rows) != data_digest(rows[:-1])


def test_a_broken_row_is_named_by_its_line(tmp_path: Path):
    (tmp_path / "train.jsonl").write_text(
        json.dumps(a_row(0)) + "\n\n" + '{"messages": [{"role": "user", "content": "a"}]}\n'
    )
    with pytest.raises(UserError, match=r"train\.jsonl:3: .*assistant"):
        load_rows(tmp_path, "train")


@pytest.mark.parametrize("family", chat.TEMPLATES)
def test_supervised_tokens_are_the_pytorch_engines_for_each_family_of_models(base: Path, family: str):
    """PyTorch trains on the labels that are not -100; MLX on `targets`, each at the position before it."""
    tokenizer = chat.load_tokenizer(base)
    marks = [
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "[INST]",
        "[/INST]",
    ]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = chat.TEMPLATES[family]
    rows = encode_rows(tokenizer, [a_row(number) for number in range(5)], 4096)
    for size in (1, 2, 5):
        parts = micro_batches(rows, size)
        asked = [token for part in parts for token in part.targets.tolist()]
        assert asked == [label for row in rows for label in row.labels if label != -100]
        for part in parts:
            following = mx.concatenate([part.ids[:, 1:], mx.zeros_like(part.ids[:, :1])], axis=1).reshape(-1)
            assert following[part.positions].tolist() == part.targets.tolist()
    assert sum(part.tokens for part in micro_batches(rows, 2)) == sum(len(row.input_ids) for row in rows)


# --- the step ---------------------------------------------------------------------------------------------------


def test_the_schedule_is_transformers_cosine_with_warmup():
    from transformers import get_cosine_schedule_with_warmup

    for recipe in (
        replace(RECIPE, max_steps=40, warmup_ratio=0.1),
        replace(RECIPE, max_steps=7, warmup_ratio=0.0),
    ):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
        schedule = get_cosine_schedule_with_warmup(optimizer, recipe.warmup_steps, recipe.max_steps)
        for done in range(recipe.max_steps):
            assert learning_rate(recipe, done) == pytest.approx(
                optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-18
            )
            optimizer.step()
            schedule.step()


def test_how_rows_are_split_into_micro_batches_changes_nothing(base: Path):
    rows = encode_rows(chat.load_tokenizer(base), [a_row(number) for number in range(4)], 512)
    ends = []
    for size in (1, 2, 4):
        model, _ = adapted(base, PLAIN)
        optimizer, recipe = adamw(PLAIN), replace(PLAIN, batch_size=size)
        losses = [optimiser_step(model, optimizer, rows, recipe, done, 0.0, [0]) for done in range(3)]
        ends.append((losses, evaluate(model, rows, size)))
    for losses, end in ends[1:]:
        assert losses == pytest.approx(ends[0][0], rel=1e-5) and end == pytest.approx(ends[0][1], rel=1e-5)


def test_gradient_checkpointing_changes_no_gradient_even_with_dropout(base: Path):
    """The layers that run again in the backward pass must draw the dropout masks of the forward pass."""
    recipe = replace(RECIPE, dropout=0.5)
    rows = encode_rows(chat.load_tokenizer(base), [a_row(number) for number in range(4)], 512)
    ends = []
    for checkpointing in (False, True):
        model, _ = adapted(base, recipe)
        optimizer = adamw(recipe)
        with seeded_layers(model, checkpointing) as seed:
            losses = [optimiser_step(model, optimizer, rows, recipe, done, 5.0, seed) for done in range(3)]
        ends.append((losses, dict(tree_flatten(model.trainable_parameters()))))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-6)
    assert all(
        mx.allclose(value, ends[1][1][name], rtol=1e-4, atol=1e-6) for name, value in ends[0][1].items()
    )


# --- both engines -----------------------------------------------------------------------------------------------


def test_twenty_steps_of_both_engines_agree(base: Path, data: Path, tmp_path: Path):
    """Same start, rows, order and settings in float32: the losses, and then what the two adapters do to the logits."""
    from peft import PeftModel, get_peft_model_state_dict

    recipe = replace(
        PLAIN, max_steps=20, save_every=10, warmup_ratio=0.1, weight_decay=0.01, learning_rate=1e-2, alpha=40
    )
    model, config = adapted(base, recipe)
    (tmp_path / "start").mkdir()
    save_arrays(tmp_path / "start" / "adapters.safetensors", dict(tree_flatten(model.trainable_parameters())))
    (tmp_path / "start" / "adapter_config.json").write_text(json.dumps(config))
    metrics = train(str(base), recipe, data, dtype="float32", run=tmp_path / "run")

    rows = encode_rows(chat.load_tokenizer(base), load_rows(data, "train"), recipe.max_tokens)
    start = to_peft(tmp_path / "start", tmp_path / "start_peft")
    peft = PeftModel.from_pretrained(torch_model(base), start, is_trainable=True).train()
    losses = train_plainly(peft, rows, recipe)

    assert [loss for _, loss in metrics["losses"]] == pytest.approx(losses, rel=1e-3)  # seen: 2e-5
    assert losses[-1] < losses[0] - 0.2  # they learn something
    ids = chat.encode(chat.load_tokenizer(base), a_row(21)["messages"]).input_ids
    before, theirs = torch_logits(torch_model(base), ids), torch_logits(peft, ids)
    final = load_base(base, "float32")
    add_adapter(final, *load_adapter(tmp_path / "run" / "0000020_adapters.safetensors"))
    ours = mlx_logits(final, ids)
    effect = (theirs - before).abs().max()
    assert effect > 0.5 and (ours - theirs).abs().max() < 0.02 * effect

    # and each library computes the same from the other's adapter
    converted = to_peft(tmp_path / "run" / "0000020_adapters.safetensors", tmp_path / "as_peft")
    assert torch.allclose(
        torch_logits(PeftModel.from_pretrained(torch_model(base), converted), ids), ours, atol=1e-4
    )
    peft.save_pretrained(tmp_path / "theirs")
    back = load_base(base, "float32")
    add_adapter(
        back,
        *load_adapter(to_mlx(tmp_path / "theirs", tmp_path / "theirs_mlx", base) / "adapters.safetensors"),
    )
    assert torch.allclose(mlx_logits(back, ids), theirs, atol=1e-4)
    assert (
        len(get_peft_model_state_dict(peft)) == 2 * len(config["lora_parameters"]["keys"]) * recipe.top_layers
    )


def test_adapters_convert_to_peft_and_back_bit_for_bit(finished: Path, base: Path, tmp_path: Path):
    checkpoint = finished / "0000002_adapters.safetensors"
    peft = to_peft(checkpoint, tmp_path / "peft")
    again = to_mlx(peft, tmp_path / "mlx")
    before, after = load_file(checkpoint), load_file(again / "adapters.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    config, config_again = (
        json.loads((folder / "adapter_config.json").read_text()) for folder in (finished, again)
    )
    assert config_again == {name: config[name] for name in config_again}
    command = [
        sys.executable,
        "-m",
        "scripts.convert_adapter",
        "--source",
        str(again),
        "--target",
        str(tmp_path / "peft2"),
    ]
    subprocess.run(command, check=True, cwd=ROOT)
    twice = tmp_path / "peft2"
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (twice / name).read_bytes() == (peft / name).read_bytes()
    settings = json.loads((peft / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["layers_to_transform"]) == (4, 16, [2, 3])
    half = {
        name: tensor.to(torch.bfloat16)
        for name, tensor in load_file(peft / "adapter_model.safetensors").items()
    }
    save_file(half, peft / "adapter_model.safetensors", {"format": "pt"})
    halved = load_file(to_mlx(peft, tmp_path / "mlx16", base) / "adapters.safetensors")
    assert all(torch.equal(tensor, before[name].to(torch.bfloat16)) for name, tensor in halved.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"base_model_name_or_path": "nobody/nothing"}, "--base"),
    ],
)
def test_what_mlx_cannot_express_is_refused_not_dropped(
    finished: Path, tmp_path: Path, change: dict, said: str
):
    peft = to_peft(finished, tmp_path / "peft")
    config = json.loads((peft / "adapter_config.json").read_text())
    (peft / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=said):
        to_mlx(peft, tmp_path / "mlx")
    assert not (tmp_path / "mlx").exists()


# --- a run ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_checkpoints_log_and_metrics_and_is_not_done_twice(
    finished: Path, base: Path, data: Path, capsys
):
    assert [c.path.name for c in checkpoints(finished)] == [
        "0000002_adapters.safetensors",
        "0000004_adapters.safetensors",
    ]
    log = read_log(finished)
    assert (finished / "log.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [row["step"] for row in log] == [1, 2, 3, 4] and [row["eval_loss"] is not None for row in log] == [
        False,
        True,
    ] * 2
    metrics = json.loads((finished / "metrics.json").read_text())
    rows = encode_rows(chat.load_tokenizer(base), load_rows(data, "train"), RECIPE.max_tokens)
    seen = [rows[index] for step in batches(9, 4, 4, 0) for index in step]
    assert metrics["tokens"] == sum(len(row.input_ids) for row in seen)
    assert metrics["supervised_tokens"] == sum(sum(row.supervised) for row in seen)
    assert (
        metrics["data_sha256"] == data_digest(load_rows(data, "train"))
        and metrics["neftune"]
        and metrics["train_seconds"] > 0
    )
    assert train(str(base), RECIPE, data, run=finished, dtype="bfloat16") == metrics
    assert "already done" in capsys.readouterr().out


def test_mlx_lm_itself_loads_what_a_run_leaves(finished: Path, base: Path):
    from mlx_lm.tuner.utils import load_adapters

    ids = [1, 40, 41, 42, 2, 50]
    theirs, ours = load_base(base), load_base(base)
    load_adapters(theirs, str(finished))
    add_adapter(ours, *load_adapter(finished / "0000004_adapters.safetensors"))
    assert torch.equal(mlx_logits(theirs, ids), mlx_logits(ours, ids))
    assert not torch.equal(mlx_logits(load_base(base), ids), mlx_logits(ours, ids))


def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(
    finished: Path, base: Path, data: Path, tmp_path: Path, capsys
):
    """Interrupted in step 3 with a torn checkpoint lying about: adapter, optimiser and log end bit for bit the same."""

    def interrupt(log: list[dict]) -> None:
        if log[-1]["step"] == 3:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(str(base), RECIPE, data, on_log=interrupt, run=run, dtype="bfloat16")
    whole = (run / "0000002_adapters.safetensors").read_bytes()
    (run / "0000003_adapters.safetensors").write_bytes(whole[: len(whole) // 2])
    shutil.copy(run / "0000002_optimizer.safetensors", run / "0000003_optimizer.safetensors")
    train(str(base), RECIPE, data, run=run, dtype="bfloat16")
    assert "from step 2" in capsys.readouterr().out
    for name in ("0000004_adapters.safetensors", "0000004_optimizer.safetensors"):
        ours, theirs = load_arrays(run / name), load_arrays(finished / name)
        assert ours.keys() == theirs.keys() and all(mx.array_equal(ours[key], theirs[key]) for key in ours)
    timeless = ("step", "loss", "eval_loss", "learning_rate")
    logs = [[[row[name] for name in timeless] for row in read_log(folder)] for folder in (run, finished)]
    assert logs[0] == logs[1]


def test_a_run_without_its_optimiser_is_not_begun_again_in_silence(
    finished: Path, base: Path, data: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "metrics.json").unlink()
    (run / "0000004_optimizer.safetensors").unlink()
    with pytest.raises(
        UserError, match="0000004_optimizer.safetensors: the state of the optimiser is missing\n.*--no-resume"
    ):
        train(str(base), RECIPE, data, run=run, dtype="bfloat16")
    assert (run / "0000004_adapters.safetensors").exists()


def test_an_adapter_that_is_not_there_is_one_message(tmp_path: Path):
    with pytest.raises(UserError, match="adapter_config.json: no such file"):
        load_adapter(tmp_path / "nowhere" / "adapters.safetensors")


def test_another_recipe_moves_the_old_run_aside_and_old_checkpoints_go(
    base: Path, data: Path, tmp_path: Path
):
    run = tmp_path / "run"
    short = replace(PLAIN, max_steps=1)
    train(str(base), short, data, run=run)
    train(str(base), replace(short, max_steps=4, save_every=1, keep_checkpoints=2), data, run=run)
    assert len([folder for folder in tmp_path.iterdir() if folder.name.startswith("run.")]) == 1
    left = [c.step for c in checkpoints(run)]
    assert {3, 4} <= set(left) and len(left) <= 3  # the newest two, and the best where it is older
    assert len(list(run.glob("*_optimizer.safetensors"))) == len(left)


def test_windows_is_told_what_to_use_instead():
    with pytest.raises(UserError, match="Windows.*\n.*train_pytorch"):
        require_mlx("win32")


# --- fuse -------------------------------------------------------------------------------------------------------


def test_a_middle_checkpoint_fuses_into_base_plus_that_adapter_for_both_libraries(
    finished: Path, base: Path, data: Path, tmp_path: Path, capsys
):
    import mlx_lm

    middle = fuse(str(base), 2, data, run=finished, target=tmp_path / "middle")
    last = fuse(str(base), "last", data, run=finished, target=tmp_path / "last")
    assert (middle / "model.safetensors").read_bytes() != (last / "model.safetensors").read_bytes()
    ids = chat.encode(chat.load_tokenizer(base), a_row(21)["messages"]).input_ids
    for folder, step in ((middle, 2), (last, 4)):
        expected = load_base(base, "float32")
        plain = mlx_logits(expected, ids)
        add_adapter(expected, *load_adapter(finished / f"{step:07d}_adapters.safetensors"))
        expected = mlx_logits(expected, ids)
        loaded, tokenizer = mlx_lm.load(str(folder))
        loaded.set_dtype(mx.float32)
        assert (mlx_logits(loaded, ids) - expected).abs().max() < 0.1 * (expected - plain).abs().max()
        assert torch.allclose(torch_logits(torch_model(folder), ids), mlx_logits(loaded, ids), atol=1e-4)
        assert tokenizer.chat_template and chat.end_of_turn(tokenizer._tokenizer) in tokenizer.eos_token_ids
        record = json.loads((folder / "fuse.json").read_text())
        assert record["checkpoint"] == step and record["proof"]["same_greedy_token"] > 0.95
        for proof in ("proof", "proof_transformers"):
            assert (
                record[proof]["mean_kl_divergence"]
                < 0.01 * record["adapter_effect"]["mean_kl_divergence"] + 1e-6
            )
    capsys.readouterr()
    fuse(str(base), 2, data, run=finished, target=middle)
    assert "already fused" in capsys.readouterr().out
    with pytest.raises(UserError, match="best, last, or one of 2, 4"):
        fuse(str(base), 3, data, run=finished, target=tmp_path / "none")


def test_an_adapter_over_a_4_bit_base_fuses_into_the_dequantised_base(base: Path, data: Path, tmp_path: Path):
    recipe = replace(RECIPE, max_steps=2)
    metrics = train(str(base), recipe, data, quantize=True, dtype="bfloat16", run=tmp_path / "run")
    assert metrics["quantized"] and all(loss < 7 for _, loss in metrics["losses"])
    folder = fuse(str(base), "best", data, run=tmp_path / "run", target=tmp_path / "fused")
    record = json.loads((folder / "fuse.json").read_text())
    assert record["dequantized"] and record["proof_transformers"]["mean_kl_divergence"] < 1e-5
    assert "quantization" not in json.loads((folder / "config.json").read_text())
    original, fused = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    assert original.keys() == fused.keys() and {tensor.dtype for tensor in fused.values()} == {torch.bfloat16}
    low = "model.layers.0.mlp.up_proj.weight"  # has no adapter, but was trained over in 4 bits
    assert not torch.equal(original[low], fused[low]) and torch.equal(
        original["model.norm.weight"], fused["model.norm.weight"]
    )


def test_an_adapter_trained_elsewhere_fuses_and_a_cut_one_does_not(
    finished: Path, base: Path, data: Path, tmp_path: Path
):
    from_gpu = to_mlx(
        to_peft(finished / "0000002_adapters.safetensors", tmp_path / "gpu"), tmp_path / "from_gpu", base
    )
    folder = fuse(str(base), data=data, adapter=from_gpu, target=tmp_path / "fused")
    assert json.loads((folder / "fuse.json").read_text())["proof"]["same_greedy_token"] > 0.95
    file = from_gpu / "adapters.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="whole"):
        fuse(str(base), data=data, adapter=from_gpu, target=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_trains_and_fuses_the_step_it_is_told(data: Path, tmp_path: Path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "scripts.train_mlx",
            "--profile",
            "smoke",
            "--model-type",
            "smoke",
            "--max-steps",
            "3",
            "--fuse-step",
            "2",
            "--data",
            str(data),
        ],
        cwd=ROOT,
        env=os.environ | {"FT_WORKDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapters" / "smoke_mlx" / "0000003_adapters.safetensors").exists()
    assert (
        json.loads((tmp_path / "local_models" / "ft_smoke_mlx" / "fuse.json").read_text())["checkpoint"] == 2
    )
