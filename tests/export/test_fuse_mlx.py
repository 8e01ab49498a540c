"""Fusing with MLX: mlx-lm and transformers both compute base + adapter from the fused folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="MLX exists for Apple silicon and Linux only")

import mlx.core as mx
import mlx_lm
import torch
from safetensors.torch import load_file

from scripts.export.fuse_mlx import fuse
from scripts.export.fusing import Folders
from scripts.lm import chat
from scripts.training.adapter_formats import to_mlx, to_peft
from scripts.training.mlx_engine import MlxSettings, train
from scripts.training.mlx_model import add_adapter, load_adapter, load_base
from scripts.training.run import RunOptions
from tests.examples import colouring_row
from tests.training.mlx_models import RECIPE, mlx_logits
from tests.training.recipes import load_model, logits
from utils_ft import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base(realistic_base: Path) -> Path:
    return realistic_base


@pytest.fixture(scope="module")
def data(colouring_data: Path) -> Path:
    return colouring_data


@pytest.mark.parametrize("step", [2, 4])
def test_a_checkpoint_fuses_into_base_plus_that_adapter_for_both_libraries(
    mlx_run: Path, base: Path, data: Path, tmp_path: Path, step: int
):
    folder = fuse(str(base), step, data, folders=Folders(mlx_run, tmp_path / "fused"))
    ids = chat.encode(chat.load_tokenizer(base), colouring_row(21)["messages"]).input_ids
    model = load_base(base, "float32")
    plain = mlx_logits(model, ids)
    add_adapter(model, *load_adapter(mlx_run / f"{step:07d}_adapters.safetensors"))
    expected = mlx_logits(model, ids)
    loaded, tokenizer = mlx_lm.load(str(folder))
    loaded.set_dtype(mx.float32)
    assert (mlx_logits(loaded, ids) - expected).abs().max() < 0.1 * (expected - plain).abs().max()
    assert torch.allclose(logits(load_model(folder), ids), mlx_logits(loaded, ids), atol=1e-4)
    assert tokenizer.chat_template and chat.end_of_turn(tokenizer._tokenizer) in tokenizer.eos_token_ids
    record = json.loads((folder / "fuse.json").read_text())
    assert record["checkpoint"] == step and record["exactness"]["same_greedy_token"] > 0.95
    limit = 0.01 * record["adapter_effect"]["mean_kl_divergence"] + 1e-6
    for name in ("exactness", "exactness_transformers"):
        assert record[name]["mean_kl_divergence"] < limit


def test_the_same_checkpoint_is_not_fused_twice(
    mlx_run: Path, base: Path, data: Path, tmp_path: Path, capsys
):
    middle = fuse(str(base), 2, data, folders=Folders(mlx_run, tmp_path / "middle"))
    last = fuse(str(base), "last", data, folders=Folders(mlx_run, tmp_path / "last"))
    assert (middle / "model.safetensors").read_bytes() != (last / "model.safetensors").read_bytes()
    capsys.readouterr()
    fuse(str(base), 2, data, folders=Folders(mlx_run, middle))
    assert "already fused" in capsys.readouterr().out
    with pytest.raises(UserError, match="best, last, or one of 2, 4"):
        fuse(str(base), 3, data, folders=Folders(mlx_run, tmp_path / "none"))


def test_an_adapter_over_a_4_bit_base_fuses_into_the_dequantised_base(base: Path, data: Path, tmp_path: Path):
    run, settings = tmp_path / "run", MlxSettings(quantize=True, dtype="bfloat16")
    options = RunOptions(folder=run)
    metrics = train(str(base), replace(RECIPE, max_steps=2), data, settings=settings, options=options)
    assert metrics["quantized"] and all(loss < 7 for _, loss in metrics["losses"])
    folder = fuse(str(base), "best", data, folders=Folders(run, tmp_path / "fused"))
    record = json.loads((folder / "fuse.json").read_text())
    assert record["dequantized"] and record["exactness_transformers"]["mean_kl_divergence"] < 1e-5
    assert "quantization" not in json.loads((folder / "config.json").read_text())
    original, fused = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    assert original.keys() == fused.keys() and {tensor.dtype for tensor in fused.values()} == {torch.bfloat16}
    lower = "model.layers.0.mlp.up_proj.weight"  # has no adapter, but was in 4 bits during training
    assert not torch.equal(original[lower], fused[lower])
    assert torch.equal(original["model.norm.weight"], fused["model.norm.weight"])


def test_an_adapter_trained_elsewhere_fuses_and_an_incomplete_one_does_not(
    mlx_run: Path, base: Path, data: Path, tmp_path: Path
):
    peft = to_peft(mlx_run / "0000002_adapters.safetensors", tmp_path / "gpu")
    from_gpu = to_mlx(peft, tmp_path / "from_gpu", base)
    folder = fuse(str(base), data=data, adapter=from_gpu, folders=Folders(mlx_run, tmp_path / "fused"))
    record = json.loads((folder / "fuse.json").read_text())
    assert record["exactness"]["same_greedy_token"] > 0.95
    assert record["checkpoint"] is None and "training" not in record
    file = from_gpu / "adapters.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="no complete safetensors file"):
        fuse(str(base), data=data, adapter=from_gpu, folders=Folders(mlx_run, tmp_path / "none"))
    assert not (tmp_path / "none").exists()
