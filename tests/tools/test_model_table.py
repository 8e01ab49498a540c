"""Tiny random models of real architectures go through the whole pipeline, or are refused before training."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoConfig

from scripts.training.costs import model_sizes
from scripts.training.plan import plan
from scripts.training.recipe import PROFILES
from tools.model_table import MODELS, row, write_model, write_rows
from utils_ft import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = PROFILES["smoke"].recipe
EXPERTS = [name for name, (kind, _, _) in MODELS.items() if kind in ("qwen3_moe", "glm4_moe", "gpt_oss")]


def test_parts_for_images_get_no_adapter_and_stay_in_the_fused_model(tmp_path: Path) -> None:
    tokens, trained, fused, written, gguf, mlx = row("gemma-3-4b-it", tmp_path)
    assert tokens.startswith("pass") and trained == "pass, 7 matrices" and written == "4 of 4"
    assert fused.startswith("pass") and "'gemma3'" in gguf and ("images" in mlx or "MLX" in mlx)
    adapter = load_file(tmp_path / "run" / "checkpoint-4" / "adapter_model.safetensors")
    assert len(adapter) == 2 * 7 * 2
    assert all(".language_model.layers." in name and "vision" not in name for name in adapter)
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("base", "fused"))
    seeing = [name for name in before if "vision" in name or "multi_modal" in name]
    assert before.keys() == after.keys() and seeing
    assert all(before[name].equal(after[name]) for name in seeing)


def test_projections_that_share_a_matrix_are_adapted(tmp_path: Path) -> None:
    assert row("Phi-3-mini", tmp_path)[1] == "pass, 4 matrices"


@pytest.mark.parametrize("name", EXPERTS)
def test_a_mixture_of_experts_is_refused_by_the_plan(name: str, tmp_path: Path) -> None:
    write_model(name, tmp_path / "base")
    write_rows(tmp_path / "data")
    with pytest.raises(UserError, match="mixture of experts.*\n.*dense model"):
        plan(str(tmp_path / "base"), RECIPE, tmp_path / "data")


def test_a_model_that_transformers_cannot_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Mistral3Config.*\n.*AutoModelForCausalLM"):
        model_sizes(AutoConfig.for_model("mistral3"), RECIPE)


def test_matrices_of_hybrid_attention_are_named_as_left_out() -> None:
    settings = {"num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96, "vocab_size": 300}
    sizes = model_sizes(AutoConfig.for_model("qwen3_5_text", **settings), RECIPE)
    assert "in_proj_qkv" in sizes.left_out and "gate_proj" not in sizes.left_out
