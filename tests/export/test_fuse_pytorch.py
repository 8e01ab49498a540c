"""Fusing with PyTorch: the fused model is base + adapter, and keeps what the base model had."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import LogitsProcessorList

from scripts.export.fuse_pytorch import fuse
from scripts.export.fusing import Folders
from scripts.lm import chat
from scripts.lm.base_models import fingerprint
from scripts.training.checkpoints import mark_complete, run_identity
from tests.examples import colouring_row
from tests.training.recipes import copy_of, load_model, logits
from utils_ft import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPT = colouring_row(21)["messages"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the tests fuse."""
    return tmp_path_factory.mktemp("fused") / "ft_model"


@pytest.fixture(scope="module")
def fused(realistic_base: Path, colouring_data: Path, pytorch_run: Path, target: Path) -> Path:
    """The last checkpoint of a run, fused."""
    return fuse(str(realistic_base), "last", colouring_data, folders=Folders(pytorch_run, target))


@pytest.mark.parametrize("step", [4, 12])
def test_a_checkpoint_fuses_into_the_base_plus_that_adapter(
    realistic_base: Path, colouring_data: Path, pytorch_run: Path, tmp_path: Path, step: int
):
    folders = Folders(pytorch_run, tmp_path / "fused")
    target = fuse(str(realistic_base), step, colouring_data, folders=folders)
    ids = chat.encode(chat.load_tokenizer(realistic_base), PROMPT).input_ids
    expected = PeftModel.from_pretrained(load_model(realistic_base), pytorch_run / f"checkpoint-{step}")
    plain = logits(load_model(realistic_base), ids)
    found = logits(load_model(target), ids)
    assert (found - logits(expected, ids)).abs().max() < 0.1 * (found - plain).abs().max()
    record = json.loads((target / "fuse.json").read_text())
    exactness, training = record["exactness"], record["training"]
    assert record["checkpoint"] == step and exactness["positions"] > 0
    assert exactness["same_greedy_token"] > 0.95 and exactness["mean_kl_divergence"] < 1e-4
    assert exactness["same_greedy_output"] > 0.5
    assert training["recipe"]["rank"] == 4 and training["versions"]["torch"] == torch.__version__
    card = (target / "README.md").read_text()
    assert f"LoRA checkpoint {step}" in card and training["data_sha256"] in card
    assert f"torch {torch.__version__}" in card


def test_another_checkpoint_replaces_the_model_but_not_the_modelfile(
    realistic_base: Path, colouring_data: Path, pytorch_run: Path, tmp_path: Path, capsys
):
    folders = Folders(pytorch_run, tmp_path / "fused")
    target = fuse(str(realistic_base), 4, colouring_data, folders=folders)
    ids = chat.encode(chat.load_tokenizer(realistic_base), PROMPT).input_ids
    first = logits(load_model(target), ids)
    (target / "Modelfile").write_text("FROM a.gguf\nSYSTEM mine\n")
    fuse(str(realistic_base), "last", colouring_data, folders=folders)
    assert not torch.allclose(first, logits(load_model(target), ids), atol=1e-3)
    assert "SYSTEM mine" in (target / "Modelfile").read_text()
    capsys.readouterr()
    fuse(str(realistic_base), "last", colouring_data, folders=folders)
    assert "already fused" in capsys.readouterr().out


def test_an_adapter_is_not_merged_into_another_base(
    realistic_base: Path, colouring_data: Path, pytorch_run: Path, tmp_path: Path
):
    """Here another checkpoint was fused into the folder of the base: they differ in the upper layers only."""
    base = Path(copy_of(realistic_base, tmp_path / "base"))
    weights = load_file(base / "model.safetensors")
    upper = max(name for name in weights if "mlp.down_proj" in name)
    changed = weights | {upper: weights[upper] + 1}
    save_file(changed, base / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(base) != fingerprint(realistic_base)
    with pytest.raises(UserError, match="was trained over another base"):
        fuse(str(base), "last", colouring_data, folders=Folders(pytorch_run, tmp_path / "fused"))


def test_vocabulary_settings_and_lower_layers_stay_those_of_the_base(fused: Path, realistic_base: Path):
    before, after = chat.load_tokenizer(realistic_base), chat.load_tokenizer(fused)
    assert before.get_vocab() == after.get_vocab() and before.all_special_tokens == after.all_special_tokens
    assert after.chat_template == before.chat_template
    assert after.pad_token_id not in (None, chat.end_of_turn(after))
    generation = json.loads((fused / "generation_config.json").read_text())
    assert (generation["temperature"], generation["top_p"]) == (0.6, 0.9)
    assert generation["eos_token_id"] == [chat.end_of_turn(after), 0]
    original, weights = (
        load_file(realistic_base / "model.safetensors"),
        load_file(fused / "model.safetensors"),
    )
    assert original.keys() == weights.keys()
    lower = "model.layers.0.mlp.up_proj.weight"  # has no adapter
    assert torch.equal(original[lower], weights[lower])


def test_the_rotary_base_is_also_where_mlx_lm_looks_for_it(fused: Path):
    config = json.loads((fused / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500000.0
    assert config["use_cache"] and "quantization_config" not in config and config["dtype"] == "bfloat16"


def test_the_end_of_a_turn_stops_generation(fused: Path):
    model, tokenizer = load_model(fused), chat.load_tokenizer(fused)
    prompt = torch.tensor([chat.encode_prompt(tokenizer, PROMPT[:2])])
    end = chat.end_of_turn(tokenizer)

    def end_the_turn_at_the_third_token(ids, scores):
        scores = scores.clone()
        scores[:, end] = 1e4 if ids.shape[1] == prompt.shape[1] + 2 else -1e4
        return scores

    processors = LogitsProcessorList([end_the_turn_at_the_third_token])
    written = model.generate(prompt, max_new_tokens=9, do_sample=False, logits_processor=processors)
    assert written.shape[1] == prompt.shape[1] + 3 and written[0, -1] == end


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: {}, "no tensors"),
        (
            lambda weights: {name: value * ("lora_A" in name) for name, value in weights.items()},
            "changes nothing",
        ),
        (lambda weights: dict(list(weights.items())[2:]), "missing adapter keys"),
    ],
    ids=["empty", "zero", "incomplete"],
)
def test_an_adapter_that_is_not_one_is_never_called_exact(
    realistic_base: Path, colouring_data: Path, pytorch_run: Path, tmp_path: Path, change, message
):
    run = tmp_path / "run"
    shutil.copytree(pytorch_run, run)
    file = run / "checkpoint-12" / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)
    mark_complete(file.parent, run_identity(run))
    with pytest.raises(UserError, match=message):
        fuse(str(realistic_base), 12, colouring_data, folders=Folders(run, tmp_path / "fused"))
    assert not (tmp_path / "fused").exists()
