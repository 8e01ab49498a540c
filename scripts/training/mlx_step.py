"""One training step on MLX, with the same tokens, loss, clipping, AdamW and schedule as the PyTorch engine.

mlx-lm's own loop is not used, for three reasons: it supervises the last turn only, it counts padding as
targets, and with gradient checkpointing it draws other dropout masks in the backward pass than in the forward
pass.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map
from mlx_lm.utils import does_model_support_input_embeddings

from scripts.lm.chat import Encoded
from scripts.training.recipe import Recipe
from utils_ft import content_hash


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model together, as MLX arrays."""

    ids: Any
    """Token ids, int32 (rows, tokens), padded on the right, where causal attention does not look."""
    positions: Any
    """The positions before the targets, (targets,): indices into the flattened `ids`."""
    targets: Any
    """The supervised tokens, (targets,)."""
    tokens: int
    """Tokens without padding."""


def micro_batches(rows: Sequence[Encoded], size: int) -> list[MicroBatch]:
    """`rows` in groups of `size`."""
    return [_micro_batch(rows[start : start + size]) for start in range(0, len(rows), size)]


def _micro_batch(rows: Sequence[Encoded]) -> MicroBatch:
    width = max(len(row.input_ids) for row in rows)
    padded = [row.input_ids + [0] * (width - len(row.input_ids)) for row in rows]
    positions, targets = [], []
    for number, row in enumerate(rows):
        for index, supervised in enumerate(row.supervised):
            if supervised:
                positions.append(number * width + index - 1)
                targets.append(row.input_ids[index])
    tokens = sum(len(row.input_ids) for row in rows)
    return MicroBatch(mx.array(padded, mx.int32), mx.array(positions), mx.array(targets), tokens)


def loss_sum(model: Any, batch: MicroBatch, noise: float = 0.0) -> Any:
    """The sum of the cross-entropies of the batch's targets, float32.

    `noise` is NEFTune's alpha, 0 turns it off.
    """
    embeddings = {}
    if noise:
        embedded = model.model.embed_tokens(batch.ids)
        limit = noise / math.sqrt(embedded.shape[1] * embedded.shape[2]) / embedding_scale(model)
        noised = embedded + mx.random.uniform(-limit, limit, embedded.shape).astype(embedded.dtype)
        embeddings = {"input_embeddings": noised}
    if has_plain_head(model):
        hidden = model.model(batch.ids, **embeddings)
        logits = _head(model, hidden.reshape(-1, hidden.shape[-1])[batch.positions])
    else:
        logits = model(batch.ids, **embeddings)
        logits = logits.reshape(-1, logits.shape[-1])[batch.positions]
    return nn.losses.cross_entropy(logits.astype(mx.float32), batch.targets, reduction="sum")


def embedding_scale(model: Any) -> float:
    """The factor by which the model multiplies its embeddings, so that noise on them has to be smaller.

    Gemma multiplies by the root of the hidden size. transformers adds NEFTune's noise behind it.
    """
    is_gemma = str(getattr(model, "model_type", "")).startswith("gemma")
    return math.sqrt(model.args.hidden_size) if is_gemma else 1.0


def has_plain_head(model: Any) -> bool:
    """Whether the logits are a product of the last hidden states and one matrix, without caps or factors.

    Then they are computed at supervised positions only, a quarter of all. It is tried on three tokens.
    """
    known = getattr(model, "_has_plain_head", None)
    if known is None:
        known = model._has_plain_head = _try_plain_head(model)
    return known


def _try_plain_head(model: Any) -> bool:
    ids = mx.array([[1, 2, 3]], mx.int32)
    was_training = model.training
    model.eval()
    try:
        return bool(mx.allclose(_head(model, model.model(ids)), model(ids), rtol=1e-3, atol=1e-3))
    except (AttributeError, TypeError):  # the model has other parts
        return False
    finally:
        model.train(was_training)


def _head(model: Any, hidden: Any) -> Any:
    """Logits of hidden states."""
    head = model.lm_head if "lm_head" in model else model.model.embed_tokens.as_linear
    return head(hidden)


def takes_noise(model: Any) -> bool:
    """Whether NEFTune can be used: whether the model accepts embeddings in place of tokens."""
    has_embeddings = hasattr(getattr(model, "model", None), "embed_tokens")
    return does_model_support_input_embeddings(model) and has_embeddings


def _seed_from(*parts: int) -> int:
    """A seed made of `parts`. A resumed run gets the same seeds as an uninterrupted one."""
    return int(content_hash(*map(str, parts))[:16], 16)


class LayerSeeds:
    """The seed from which the layers draw their dropout masks."""

    def __init__(self) -> None:
        self.seed = 0

    def set(self, recipe_seed: int, done: int, micro_batch: int) -> None:
        """Seed a micro-batch of the training step after `done` steps: its layers, and its noise."""
        self.seed = _seed_from(recipe_seed, done, micro_batch)
        mx.random.seed(self.seed)

    def of_layer(self, index: int) -> int:
        """The seed of one layer."""
        return _seed_from(self.seed, index)


@contextlib.contextmanager
def seeded_layers(model: Any, checkpointing: bool) -> Iterator[LayerSeeds]:
    """Inside this context, every layer draws its dropout from the seeds that the context returns.

    With `checkpointing`, a layer keeps only its input and runs a second time in the backward pass. It draws
    the same dropout mask then, as it has the same seed. `mx.checkpoint` alone draws another mask, and its
    gradient is wrong.
    """
    seeds = LayerSeeds()
    index_of = {id(layer): index for index, layer in enumerate(model.layers)}
    originals = {kind: kind.__call__ for kind in {type(layer) for layer in model.layers}}

    def seeded(original: Callable) -> Callable:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            seed = seeds.of_layer(index_of[id(layer)])

            def forward(parameters: dict, *args: Any, **kwargs: Any) -> Any:
                layer.update(parameters)
                mx.random.seed(seed)
                return original(layer, *args, **kwargs)

            run = mx.checkpoint(forward) if checkpointing and layer.training else forward
            return run(layer.trainable_parameters(), *args, **kwargs)

        return call

    for kind, original in originals.items():
        kind.__call__ = seeded(original)
    try:
        yield seeds
    finally:
        for kind, original in originals.items():
            kind.__call__ = original


def learning_rate(recipe: Recipe, done: int) -> float:
    """The learning rate of the training step after `done` steps: linear warm-up, then a cosine to zero."""
    if done < recipe.warmup_steps:
        return recipe.learning_rate * done / recipe.warmup_steps
    progress = (done - recipe.warmup_steps) / max(1, recipe.max_steps - recipe.warmup_steps)
    return recipe.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def adamw(recipe: Recipe) -> Any:
    """AdamW with PyTorch's defaults. MLX leaves the bias correction out by default."""
    return optim.AdamW(
        0.0, betas=[0.9, 0.999], eps=1e-8, weight_decay=recipe.weight_decay, bias_correction=True
    )


@dataclass
class Stepper:
    """Takes training steps on a model with adapters."""

    model: Any
    optimizer: Any
    recipe: Recipe
    noise: float
    """NEFTune's alpha. 0 turns it off."""
    seeds: LayerSeeds
    """The seeds that `seeded_layers` returned."""

    def step(self, rows: Sequence[Encoded], done: int) -> float:
        """Take the training step after `done` steps, on `rows`.

        Returns the loss before the update: the mean over all supervised tokens of the step, in nats. The loss
        of each micro-batch is divided by the tokens of the whole step, so the size of the micro-batches does
        not matter.
        """
        parts = micro_batches(rows, self.recipe.batch_size)
        total = sum(part.targets.size for part in parts)
        value_and_gradient = nn.value_and_grad(
            self.model, lambda part: loss_sum(self.model, part, self.noise) / total
        )
        loss, gradients = 0.0, None
        for index, part in enumerate(parts):
            self.seeds.set(self.recipe.seed, done, index)
            value, gradient = value_and_gradient(part)
            gradients = gradient if gradients is None else tree_map(mx.add, gradients, gradient)
            mx.eval(value, gradients)
            loss += value.item()
        self._update(gradients, done)
        return loss

    def _update(self, gradients: Any, done: int) -> None:
        """Clip the gradients and let the optimiser take its step."""
        gradients, _ = optim.clip_grad_norm(gradients, self.recipe.max_grad_norm)
        self.optimizer.learning_rate = learning_rate(self.recipe, done)
        self.optimizer.update(self.model, gradients)
        mx.eval(self.model.trainable_parameters(), self.optimizer.state)
        mx.clear_cache()  # rows differ in length, and buffers of every length would stay


@contextlib.contextmanager
def stepper(model: Any, recipe: Recipe, checkpointing: bool) -> Iterator[Stepper]:
    """A `Stepper` with a fresh optimiser for `model`, inside `seeded_layers`."""
    optimizer = adamw(recipe)
    optimizer.init(model.trainable_parameters())
    has_plain_head(model)  # tried here, outside of a gradient
    noise = recipe.neftune_alpha if takes_noise(model) else 0.0
    with seeded_layers(model, checkpointing) as seeds:
        yield Stepper(model, optimizer, recipe, noise, seeds)


def evaluate(model: Any, rows: Sequence[Encoded], size: int) -> float | None:
    """The mean loss over the supervised tokens of `rows`, without dropout and noise. None without rows."""
    if not rows:
        return None
    model.eval()
    parts, total = micro_batches(rows, size), 0.0
    for part in parts:
        total += loss_sum(model, part).item()
        mx.clear_cache()
    model.train()
    return total / sum(part.targets.size for part in parts)
