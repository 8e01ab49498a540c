"""A training step on MLX: the targets, the schedule, micro-batches and gradient checkpointing."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="MLX exists for Apple silicon and Linux only")

import mlx.core as mx
import torch
from mlx.utils import tree_flatten
from mlx_lm.models import gemma3_text
from transformers import get_cosine_schedule_with_warmup

from scripts.data.encoded_rows import encode_rows
from scripts.lm import chat
from scripts.training.mlx_step import (
    MicroBatch,
    embedding_scale,
    evaluate,
    has_plain_head,
    learning_rate,
    loss_sum,
    micro_batches,
    stepper,
)
from tests.examples import colouring_row
from tests.training.mlx_models import PLAIN, RECIPE, with_adapter

pytestmark = pytest.mark.usefixtures("one_thread")

MARKS = [
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
]


def rows_of(base: Path, number: int = 4) -> list[chat.Encoded]:
    """Rows of two or three steps, for the model in the folder `base`."""
    rows = [colouring_row(index, steps=2 + index % 2) for index in range(number)]
    return encode_rows(chat.load_tokenizer(base), rows, 512)


@pytest.mark.parametrize("family", chat.TEMPLATES)
def test_the_targets_are_the_pytorch_engines_for_each_family_of_models(smoke: Path, family: str):
    """PyTorch trains on the labels that are not -100; MLX on `targets`, each with the logits before it."""
    tokenizer = chat.load_tokenizer(smoke)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    tokenizer.chat_template = chat.TEMPLATES[family]
    rows = encode_rows(tokenizer, [colouring_row(number, steps=2 + number % 2) for number in range(5)], 4096)
    labels = [label for row in rows for label in row.labels if label != -100]
    for size in (1, 2, 5):
        parts = micro_batches(rows, size)
        assert [token for part in parts for token in part.targets.tolist()] == labels
        for part in parts:
            following = mx.concatenate([part.ids[:, 1:], mx.zeros_like(part.ids[:, :1])], axis=1).reshape(-1)
            assert following[part.positions].tolist() == part.targets.tolist()
    assert sum(part.tokens for part in micro_batches(rows, 2)) == sum(len(row.input_ids) for row in rows)


@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.1), (7, 0.0)])
def test_the_schedule_is_transformers_cosine_with_warmup(steps: int, warmup: float):
    recipe = replace(RECIPE, max_steps=steps, warmup_ratio=warmup)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, recipe.warmup_steps, recipe.max_steps)
    for done in range(recipe.max_steps):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(recipe, done) == pytest.approx(expected, rel=1e-12, abs=1e-18)
        optimizer.step()
        schedule.step()


def test_the_size_of_micro_batches_does_not_change_the_losses(smoke: Path):
    rows, ends = rows_of(smoke), []
    for size in (1, 2, 4):
        model, _ = with_adapter(smoke, PLAIN)
        with stepper(model, replace(PLAIN, batch_size=size), checkpointing=False) as trainer:
            losses = [trainer.step(rows, done) for done in range(3)]
        ends.append((losses, evaluate(model, rows, size)))
    for losses, end in ends[1:]:
        assert losses == pytest.approx(ends[0][0], rel=1e-5) and end == pytest.approx(ends[0][1], rel=1e-5)


def test_gradient_checkpointing_keeps_the_gradients_even_with_dropout(smoke: Path):
    """Layers that run a second time draw the same dropout masks."""
    recipe, rows, ends = replace(RECIPE, dropout=0.5), rows_of(smoke), []
    for checkpointing in (False, True):
        model, _ = with_adapter(smoke, recipe)
        with stepper(model, recipe, checkpointing) as trainer:
            losses = [trainer.step(rows, done) for done in range(3)]
        ends.append((losses, dict(tree_flatten(model.trainable_parameters()))))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-6)
    assert all(
        mx.allclose(value, ends[1][1][name], rtol=1e-4, atol=1e-6) for name, value in ends[0][1].items()
    )


def test_the_head_at_supervised_positions_gives_the_loss_of_all_positions(smoke: Path):
    model, _ = with_adapter(smoke, PLAIN)
    part = micro_batches(rows_of(smoke), 4)[0]
    assert has_plain_head(model)
    short = loss_sum(model, part).item()
    model._has_plain_head = False
    assert loss_sum(model, part).item() == pytest.approx(short, rel=1e-5)


def test_noise_on_a_gemma_is_that_of_transformers():
    """mlx-lm multiplies embeddings by √hidden behind the noise, transformers before it."""
    args = gemma3_text.ModelArgs(
        model_type="gemma3_text", hidden_size=64, num_hidden_layers=6, intermediate_size=64,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, vocab_size=300,
    )  # fmt: skip
    model = gemma3_text.Model(args)
    assert embedding_scale(model) == 8.0 and has_plain_head(model)
    part = MicroBatch(mx.array([[5, 6, 7, 8]], mx.int32), mx.array([1, 2]), mx.array([7, 8]), 4)
    seen = []
    layer = type(model.model.layers[0])
    original = layer.__call__
    try:
        layer.__call__ = lambda self, x, *rest: (seen.append(x), original(self, x, *rest))[1]
        for noise in (0.0, 5.0):
            mx.random.seed(0)
            loss_sum(model, part, noise)
    finally:
        layer.__call__ = original
    reach = mx.abs(seen[-6] - seen[0]).max().item()  # what the first layer reads
    assert reach == pytest.approx(5 / (4 * 64) ** 0.5, rel=0.1)
