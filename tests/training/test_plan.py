"""The plan of a run: parameters, memory, time, from a `config.json` alone or with one measured step."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig, PreTrainedConfig

from scripts.train_pytorch import main
from scripts.training.costs import TokenCount, memory_use, model_sizes
from scripts.training.plan import describe, plan
from scripts.training.recipe import Recipe
from scripts.training.run import RunOptions, TrainingRun, within_context
from tests.training.recipes import RECIPE, copy_of
from utils_ft import ADAPTERS, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

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


def test_a_config_json_is_enough_for_a_plan(colouring_data: Path, tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA3_8B))
    planned = plan(str(file), Recipe(), colouring_data)
    assert planned.model.parameters == 8_030_261_248
    assert planned.model.trainable == 20_971_520  # rank 16 on seven projections of 16 layers
    assert planned.measured is None and not planned.tokens_counted
    assert planned.expected.hours > 0 and planned.tokens > planned.supervised_tokens > 0
    text = describe(planned)
    for part in ("layers 16 to 31", "20,971,520", "hours expected", "estimated: there is no tokenizer"):
        assert part in text


def test_qlora_of_an_8b_model_at_4096_tokens_is_expected_to_fit_into_16_gb():
    sizes, row = model_sizes(LlamaConfig(**LLAMA3_8B), Recipe()), TokenCount(4096, 1200)
    packed = memory_use(sizes, Recipe(), row, width=2, checkpointing=True, where="cuda")
    assert 5e9 < packed.base < 6.5e9 and packed.total < 16e9
    dense = replace(Recipe(), qlora=False)
    whole = memory_use(sizes, dense, row, width=2, checkpointing=False, where="cuda")
    assert whole.total > 2 * packed.total


def test_a_plan_counts_the_tokens_and_measures_one_step(
    realistic_base: Path, colouring_data: Path, pytorch_run: Path
):
    planned = plan(str(realistic_base), RECIPE, colouring_data)
    metrics = json.loads((pytorch_run / "metrics.json").read_text())
    assert planned.tokens == metrics["tokens"]
    assert planned.supervised_tokens == metrics["supervised_tokens"]
    assert planned.model.trainable == metrics["trainable_parameters"] and planned.rows == 9
    assert planned.measured.hours > 0 and planned.measured.total_bytes > 1e8
    text = describe(planned)
    assert "layers 2 to 3" in text and "measured" in text and "tokens/s" in text


def test_rows_are_no_longer_than_the_context_of_the_model(
    copy_of_smoke: Path, colouring_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    """The plan and the run use the same limit, and each says it once."""
    file = copy_of_smoke / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_position_embeddings": 250}))
    model = str(copy_of_smoke)
    planned = plan(model, RECIPE, colouring_data, measure=False)
    assert planned.recipe.max_tokens == 250 and 200 < planned.longest_row <= 250
    assert (
        capsys.readouterr().out.count("a row has at most 250 tokens, as the model's context is no longer")
        == 1
    )
    run = TrainingRun.load("pytorch", model, RECIPE, colouring_data, RunOptions(folder=tmp_path / "run"))
    assert run.identity["recipe"]["max_tokens"] == run.recipe.max_tokens == 250
    assert len(run.rows.longest.input_ids) == planned.longest_row
    assert capsys.readouterr().out.count("a row has at most 250 tokens") == 1
    small = replace(RECIPE, max_tokens=250)
    assert plan(model, small, colouring_data, measure=False).longest_row == planned.longest_row
    assert "a row has at most" not in capsys.readouterr().out


@pytest.mark.parametrize("settings", [{}, {"max_position_embeddings": 0}, {"max_position_embeddings": 8192}])
def test_a_model_that_names_no_shorter_context_changes_no_recipe(settings: dict, capsys):
    config = PreTrainedConfig(**settings)
    assert within_context(Recipe(), config) == Recipe() and not capsys.readouterr().out


def test_a_model_without_the_projections_is_refused(colouring_data: Path, tmp_path: Path):
    gpt2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 100}
    (tmp_path / "config.json").write_text(json.dumps(gpt2 | {"architectures": ["GPT2LMHeadModel"]}))
    with pytest.raises(UserError, match="none of the projections that LoRA adapts\n.*q_proj"):
        plan(str(tmp_path), Recipe(), colouring_data)


def test_a_dry_run_prints_its_table_and_nothing_else_and_trains_nothing(
    realistic_base: Path, colouring_data: Path, tmp_path: Path, capfd
):
    model_type = copy_of(realistic_base, tmp_path / "dry")
    main(profile="smoke", model_type=model_type, data=colouring_data, dry_run=True)
    printed, errors = capfd.readouterr()
    names = [line.split()[0] for line in printed.splitlines()]
    assert names == "model trained device data tokens memory time GGUF".split()
    assert "hours expected" in printed and "measured" in printed
    assert printed.endswith("tokens/s)\nGGUF     with python -m scripts.export_gguf\n") and not errors
    assert not (ADAPTERS / "dry_pytorch").exists()
