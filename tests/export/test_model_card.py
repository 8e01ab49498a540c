"""The model card of a fused folder is valid on the hub and has no path of this machine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import validate_repo_id

from scripts.export.model_card import card
from scripts.lm import prompts
from scripts.lm.base_models import base_name, model_spec
from scripts.lm.smoke_model import smoke_model
from scripts.training.recipe import PROFILES
from tests.examples import colouring_row, write_rows
from utils_ft import LOCAL_MODELS

EXACTNESS = {
    "rows": 4,
    "positions": 40,
    "largest_logit_difference": 0.001,
    "mean_kl_divergence": 1e-6,
    "same_greedy_token": 1.0,
}
TRAINING = {
    "recipe": {"rank": 16, "alpha": 160},
    "data_sha256": "5e1f",
    "rows": 9,
    "versions": {"torch": "2.13.0"},
}
RECORDS = {
    "a run of the PyTorch engine": {
        "checkpoint": 80,
        "exactness": EXACTNESS | {"same_greedy_output": 1.0},
        "training": TRAINING,
    },
    "a run that goes on": {
        "checkpoint": 40,
        "exactness": EXACTNESS,
        "training": {"recipe": {"rank": 16}, "data_sha256": "5e1f"},
    },
    "an adapter trained elsewhere": {"checkpoint": None, "exactness": EXACTNESS, "dtype": "float32"},
}


def read(text: str) -> ModelCard:
    """The card as huggingface_hub reads it. The rules of the hub that need no network are checked."""
    assert REGEX_YAML_BLOCK.search(text)
    found = ModelCard(text)
    assert str(found) == text, "huggingface_hub would write another text"
    assert found.data.to_dict().keys() <= {"base_model", "library_name", "pipeline_tag", "tags"}
    assert all(isinstance(tag, str) for tag in found.data.tags)
    if found.data.base_model is not None:
        validate_repo_id(found.data.base_model)
        assert found.data.base_model.count("/") == 1
    return found


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize(
    ("model_type", "base_model"),
    [
        ("smollm", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("llama", "meta-llama/Meta-Llama-3-8B"),
        ("qwen", "Qwen/Qwen2.5-7B"),
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("smoke", None),
        ("a folder", None),
    ],
)
def test_the_base_model_is_an_id_of_the_hub_or_left_out(record, model_type, base_model, tmp_path):
    if model_type == "a folder":
        model_type = str(smoke_model(tmp_path / "My: model"))
    base = base_name(model_spec(model_type).source)
    text = card("ft_model", record | {"base": base}, tags=("mlx",))
    found = read(text)
    assert found.data.base_model == base_model and "mlx" in found.data.tags
    assert str(tmp_path) not in text and f"merged into {base_model or base} in" in found.text
    assert prompts.PERSONA in found.text


@pytest.mark.parametrize("engine", ["pytorch", "mlx"])
def test_both_engines_write_a_card_and_no_path_of_this_machine(engine, tmp_path):
    if engine == "mlx":
        pytest.importorskip("mlx.core", reason="MLX exists for Apple silicon and Linux only")
        from scripts.export.fuse_mlx import fuse
        from scripts.training.mlx_engine import train
    else:
        from scripts.export.fuse_pytorch import fuse
        from scripts.training.pytorch_engine import train
    base = smoke_model(tmp_path / "carded")
    rows = [colouring_row(number) for number in range(6)]
    write_rows(tmp_path, train=rows[:4], valid=rows[4:])
    train(str(base), replace(PROFILES["smoke"].recipe, max_steps=2), tmp_path)
    folder = fuse(str(base), "last", tmp_path)
    assert folder == LOCAL_MODELS / f"ft_carded_{engine}"
    model_card = read((folder / "README.md").read_text(encoding="utf-8"))
    assert model_card.data.base_model is None and ("mlx" in model_card.data.tags) == (engine == "mlx")
    assert f"# ft_carded_{engine}\n" in model_card.text
    assert "LoRA checkpoint 2 merged into carded in bfloat16" in model_card.text
    training = json.loads((folder / "fuse.json").read_text(encoding="utf-8"))["training"]
    for text in (training["data_sha256"], "supervised tokens", "transformers"):
        assert text in model_card.text
    for file in (file for file in folder.rglob("*") if file.suffix != ".safetensors"):
        text = file.read_text(encoding="utf-8")
        assert str(tmp_path) not in text and str(Path.home()) + "/" not in text, file.name
