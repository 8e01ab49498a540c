"""One optimiser step on MLX, as the PyTorch engine takes it: tokens, loss, noise, dropout, clipping, AdamW, schedule.

mlx-lm's own loop supervises the last turn only, counts padding as targets, and draws other dropout masks in the
backward pass than in the forward pass when layers are checkpointed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.lm.chat import Encoded
from scripts.training.recipe import Recipe
from utils_ft import content_hash


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model together, as MLX arrays."""

    ids: Any  # (rows, tokens) int32, padded on the right, where causal attention never looks
    positions: Any  # (targets,) of the flattened (rows × tokens): those whose NEXT token is supervised
    targets: Any  # (targets,) the supervised tokens
    tokens: int  # without padding


def micro_batches(rows: Sequence[Encoded], size: int) -> list[MicroBatch]:
    """`rows` in groups of `size`."""
    import mlx.core as mx

    made = []
    for start in range(0, len(rows), size):
        group = rows[start : start + size]
        width = max(len(row.input_ids) for row in group)
        padded = [row.input_ids + [0] * (width - len(row.input_ids)) for row in group]
        asked = [
            (number, index)
            for number, row in enumerate(group)
            for index, on in enumerate(row.supervised)
            if on
        ]
        made.append(
            MicroBatch(
                mx.array(padded, mx.int32),
                mx.array([number * width + index - 1 for number, index in asked]),
                mx.array([group[number].input_ids[index] for number, index in asked]),
                sum(len(row.input_ids) for row in group),
            )
        )
    return made


def loss_sum(model: Any, batch: MicroBatch, noise: float = 0.0) -> Any:
    """The sum of the cross-entropies of the batch's targets, float32. `noise` is NEFTune's alpha; 0 is off."""
    import mlx.core as mx
    import mlx.nn as nn

    if noise:
        embedded = model.model.embed_tokens(batch.ids)
        reach = noise / math.sqrt(embedded.shape[1] * embedded.shape[2])
        embedded = embedded + mx.random.uniform(-reach, reach, embedded.shape).astype(embedded.dtype)
        logits = model(batch.ids, input_embeddings=embedded)
    else:
        logits = model(batch.ids)
    chosen = logits.reshape(-1, logits.shape[-1])[batch.positions].astype(mx.float32)
    return nn.losses.cross_entropy(chosen, batch.targets, reduction="sum")


def takes_noise(model: Any) -> bool:
    """Whether the architecture lets NEFTune add its noise: it takes embeddings in place of tokens."""
    from mlx_lm.utils import does_model_support_input_embeddings

    return does_model_support_input_embeddings(model) and hasattr(
        getattr(model, "model", None), "embed_tokens"
    )


def _number(*parts: int) -> int:
    """A seed made of `parts`: a step that is resumed draws what it would have drawn in one go."""
    return int(content_hash(*map(str, parts))[:16], 16)


@contextlib.contextmanager
def seeded_layers(model: Any, checkpointing: bool) -> Iterator[list[int]]:
    """While open, layer i draws its dropout from the number in the list that is yielded, and from i.

    With `checkpointing`, a layer keeps only its input and runs again in the backward pass, with the same seed and so
    the same dropout mask: `mx.checkpoint` by itself draws another, and gives the gradient of another function.
    """
    import mlx.core as mx

    seed = [0]
    number = {id(layer): index for index, layer in enumerate(model.layers)}
    originals = {kind: kind.__call__ for kind in {type(layer) for layer in model.layers}}

    def seeded(original: Callable) -> Callable:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            own = _number(seed[0], number[id(layer)])

            def forward(parameters: dict, *args: Any, **kwargs: Any) -> Any:
                layer.update(parameters)
                mx.random.seed(own)
                return original(layer, *args, **kwargs)

            run = mx.checkpoint(forward) if checkpointing and layer.training else forward
            return run(layer.trainable_parameters(), *args, **kwargs)

        return call

    for kind, original in originals.items():
        kind.__call__ = seeded(original)
    try:
        yield seed
    finally:
        for kind, original in originals.items():
            kind.__call__ = original


def learning_rate(recipe: Recipe, done: int) -> float:
    """The rate of the step after `done` steps: linear warm-up, then a cosine to zero, as transformers has it."""
    if done < recipe.warmup_steps:
        return recipe.learning_rate * done / recipe.warmup_steps
    progress = (done - recipe.warmup_steps) / max(1, recipe.max_steps - recipe.warmup_steps)
    return recipe.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def adamw(recipe: Recipe) -> Any:
    """AdamW as PyTorch has it: with the bias correction that MLX leaves out by default."""
    import mlx.optimizers as optim

    return optim.AdamW(
        0.0, betas=[0.9, 0.999], eps=1e-8, weight_decay=recipe.weight_decay, bias_correction=True
    )


def optimiser_step(
    model: Any,
    optimizer: Any,
    rows: Sequence[Encoded],
    recipe: Recipe,
    done: int,
    noise: float,
    seed: list[int],
) -> float:
    """Take the step after `done` steps on `rows`; its loss: the mean over all supervised tokens of the step, before it.

    `noise` is NEFTune's alpha, `seed` the list that `seeded_layers` yields. Each micro-batch is divided by the tokens of
    the whole step, so that accumulating changes nothing.
    """
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim
    from mlx.utils import tree_map

    parts = micro_batches(rows, recipe.batch_size)
    total = sum(part.targets.size for part in parts)
    gradient = nn.value_and_grad(model, lambda part: loss_sum(model, part, noise) / total)
    loss, gradients = 0.0, None
    for index, part in enumerate(parts):
        seed[0] = _number(recipe.seed, done, index)
        mx.random.seed(seed[0])
        value, new = gradient(part)
        gradients = new if gradients is None else tree_map(mx.add, gradients, new)
        mx.eval(value, gradients)
        loss += value.item()
    gradients, _ = optim.clip_grad_norm(gradients, recipe.max_grad_norm)
    optimizer.learning_rate = learning_rate(recipe, done)
    optimizer.update(model, gradients)
    mx.eval(model.trainable_parameters(), optimizer.state)
    mx.clear_cache()  # rows differ in length, and buffers of every length would stay
    return loss


def evaluate(model: Any, rows: Sequence[Encoded], size: int) -> float | None:
    """The mean loss over the supervised tokens of `rows`, without dropout and noise; None without rows."""
    import mlx.core as mx

    if not rows:
        return None
    model.eval()
    parts, total = micro_batches(rows, size), 0.0
    for part in parts:
        total += loss_sum(model, part).item()
        mx.clear_cache()
    model.train()
    return total / sum(part.targets.size for part in parts)
