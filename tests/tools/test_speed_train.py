"""The speed measurement of training, as on a GPU but with small sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from scripts.data.encoded_rows import encode_rows
from scripts.lm import chat
from scripts.training.recipe import PROFILES
from tests.examples import colouring_row
from tools.speed_train import LLAMA3_8B, measure, random_loads, variants
from tools.training_variants import random_llama

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = LLAMA3_8B | {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
RECIPE = replace(
    PROFILES["smoke"].recipe,
    max_tokens=512,
    max_steps=2,
    top_layers=1,
    dropout=0.0,
    neftune_alpha=0.0,
    qlora=True,
)


def test_the_shape_on_a_gpu_is_that_of_llama_3_8b():
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**LLAMA3_8B))
    assert sum(weight.numel() for weight in model.parameters()) == 8_030_261_248


def test_a_random_llama_has_nf4_layers_and_a_plain_head():
    model = random_llama(SIZES, True, torch.float32)
    assert type(model.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert type(model.lm_head) is torch.nn.Linear


def test_the_table_has_tokens_per_second_memory_and_loss_of_plain_trl_and_of_ours(smoke: Path):
    rows = encode_rows(
        chat.load_tokenizer(smoke), [colouring_row(number) for number in range(8)], RECIPE.max_tokens
    )
    short, full = random_loads("random", SIZES, smoke, rows, RECIPE)
    assert [len(row.input_ids) for row in short.rows] == [len(row.input_ids) for row in rows]
    assert {len(row.input_ids) for row in full.rows} == {RECIPE.max_tokens}
    heading, columns, *lines = measure(short, alone=False)
    assert heading.startswith("random, the data's rows: 8 rows")
    assert "tokens/s | times plain | peak GB | of plain" in columns
    cells = {
        line.split(" | ")[0].strip("| "): [float(cell.strip("| ")) for cell in line.split(" | ")[1:]]
        for line in lines
    }
    assert list(cells) == ["plain TRL", "ours"], lines
    speed, ratio, peak, share, loss = cells["ours"]
    assert speed > 0 and ratio > 0 and peak > 0.1 and share > 0
    assert 0 < loss == pytest.approx(cells["plain TRL"][-1], rel=0.02)
    assert len(variants(short, alone=True)) > len(variants(short, alone=False)) == 1
