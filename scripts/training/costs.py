"""The memory and the time that training needs, computed from the sizes of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from scripts.lm.chat import Encoded
from scripts.lm.device import compute_dtype, device, free_memory
from scripts.lm.loading import explain_broken
from scripts.training.projections import check_adapted, check_dense, linear_layers
from scripts.training.recipe import PROJECTIONS, Recipe

NF4 = 4.127 / 8
"""Bytes of one weight in NF4: 4 bits, and its share of the scales, which are quantised as well."""
LIBRARIES = 600e6
"""Bytes of a process that has loaded PyTorch, transformers and TRL."""
USABLE_SPEED = 0.7
"""The speed of a whole training step, as a share of the speed of a matrix product."""
USABLE_MEMORY = 0.8
"""The share of the free memory that training may fill without gradient checkpointing."""
NOT_A_TEXT_MODEL = "choose a model that transformers loads as AutoModelForCausalLM"
SCORED_AT_ONCE = 1024
"""Supervised tokens whose logits are in the memory of a GPU at the same time."""


@dataclass(frozen=True)
class ModelSizes:
    """The sizes of a model that decide its memory and its time. Parameters are counted one by one."""

    architecture: str
    parameters: int
    packed: int
    """Parameters in linear layers. NF4 packs these; embeddings and head keep their format."""
    matrices: int
    """Those of them that a token is multiplied with: not the ones in parts for images and sound."""
    adapted_matrices: int
    """Those of them that are in layers with adapters."""
    trainable: int
    """Parameters of the adapters."""
    layers: int
    adapted_layers: int
    """Layers with adapters, counted from the top."""
    hidden: int
    queries: int
    """The width of all attention heads together."""
    keys: int
    """The width of all key heads together, and of all value heads."""
    intermediate: int
    vocabulary: int
    left_out: tuple[str, ...] = ()
    """The linear layers that get no adapter, though their layer gets some: their names."""


@dataclass(frozen=True)
class TokenCount:
    """The size of some rows: all their tokens, and the supervised ones."""

    tokens: int
    supervised: int


@dataclass(frozen=True)
class MemoryUse:
    """The largest use of memory during training, in bytes, part by part."""

    base: float
    adapters: float
    """Adapter weights, their gradients and the optimiser's two moments, in float32."""
    activations: float
    logits: float
    """Logits of the supervised tokens, their softmax and its gradient, in float32."""
    libraries: float

    @property
    def total(self) -> float:
        return self.base + self.adapters + self.activations + self.logits + self.libraries

    @property
    def beside_base(self) -> float:
        """What training adds once the base model and the libraries are loaded."""
        return self.adapters + self.activations + self.logits


def model_sizes(config: Any, recipe: Recipe) -> ModelSizes:
    """The sizes of the model with this Hugging Face configuration, with the adapters of `recipe`. Needs no
    weights.

    Raises UserError for a model without the matrices that get adapters, and for a mixture of experts.
    """
    where = config.name_or_path or None
    with torch.device("meta"), explain_broken(where, "the model", NOT_A_TEXT_MODEL):
        model = AutoModelForCausalLM.from_config(config)
    config = config.get_text_config()
    lowest = max(0, config.num_hidden_layers - recipe.top_layers)
    inside = list(linear_layers(model))
    top = [(name, module) for name, layer, module in inside if layer >= lowest]
    names = {name for name, _ in top}
    check_dense(model, where)
    check_adapted(names, where)
    queries, keys, intermediate = _widths(config, inside)
    return ModelSizes(
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        packed=sum(module.weight.numel() for module in _linear(model)),
        matrices=sum(module.weight.numel() for _, _, module in inside),
        adapted_matrices=sum(module.weight.numel() for _, module in top),
        trainable=sum(
            recipe.rank * (module.in_features + module.out_features)
            for name, module in top
            if name in PROJECTIONS
        ),
        layers=config.num_hidden_layers,
        adapted_layers=config.num_hidden_layers - lowest,
        hidden=config.hidden_size,
        queries=queries,
        keys=keys,
        intermediate=intermediate,
        vocabulary=config.vocab_size,
        left_out=tuple(sorted(names.difference(PROJECTIONS))),
    )


def _widths(config: Any, inside: list[tuple[str, int, Any]]) -> tuple[int, int, int]:
    """The widths of queries, keys and the feed-forward part, as the matrices of the layers have them.

    The settings say it for models with one matrix for all of them. Layers may differ: the widest counts.
    """
    found = {name: module for name, _, module in sorted(inside, key=lambda each: each[2].weight.numel())}

    def width(name: str, side: str, otherwise: Callable[[], int]) -> int:
        return getattr(found[name], side) if name in found else otherwise()

    def head() -> int:
        return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    return (
        width("o_proj", "in_features", lambda: head() * config.num_attention_heads),
        width("k_proj", "out_features", lambda: head() * config.num_key_value_heads),
        width("down_proj", "in_features", lambda: config.intermediate_size),
    )


def _linear(model: Any) -> list[Any]:
    """The linear modules of a model, without its head."""
    head = model.get_output_embeddings()
    return [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]


def memory_use(
    sizes: ModelSizes, recipe: Recipe, batch: TokenCount, *, width: int, checkpointing: bool, where: str
) -> MemoryUse:
    """The memory that training needs while `batch` goes through the model.

    Arguments:
        sizes: The sizes of the model.
        recipe: The recipe.
        batch: The tokens in one forward pass.
        width: Bytes of one number of the computation.
        checkpointing: Whether activations are computed a second time in the backward pass.
        where: The device: `cuda`, `mps` or `cpu`.
    """
    packed = recipe.qlora and where == "cuda"  # a CPU unpacks the base model, and Apple's GPU cannot pack it
    outside = sizes.parameters - sizes.packed
    one_layer = batch.tokens * _layer_bytes_per_token(sizes, recipe, width)
    activations = sizes.adapted_layers * one_layer
    if checkpointing:  # the input of each layer, and all activations of one layer at a time
        activations = width * batch.tokens * sizes.hidden * sizes.layers + one_layer
    scored = min(batch.supervised, SCORED_AT_ONCE) if where == "cuda" else batch.supervised
    return MemoryUse(
        base=sizes.packed * (NF4 if packed else width) + outside * width,
        adapters=sizes.trainable * 16,
        activations=activations,
        logits=12 * scored * sizes.vocabulary,
        libraries=0.0 if where == "cuda" else LIBRARIES,
    )


def _layer_bytes_per_token(sizes: ModelSizes, recipe: Recipe, width: int) -> int:
    """Bytes of the activations that one layer keeps for the backward pass of one token."""
    inputs = 6 * sizes.hidden + 2 * sizes.queries + 2 * sizes.keys + 4 * sizes.intermediate
    norms = 8 * sizes.hidden  # two, computed in float32
    masks = 2 * sizes.hidden + sizes.queries + sizes.intermediate if recipe.dropout else 0
    return width * inputs + norms + masks


def fills_memory(use: MemoryUse, *, base_is_loaded: bool) -> bool:
    """Whether training would fill more than `USABLE_MEMORY` of the memory that is free now."""
    return (use.beside_base if base_is_loaded else use.total) > USABLE_MEMORY * free_memory()


def needs_checkpointing(sizes: ModelSizes, recipe: Recipe, longest: Encoded) -> bool:
    """Whether training of a loaded base model needs gradient checkpointing for its longest row."""
    use = memory_use(
        sizes,
        recipe,
        largest_batch(longest, recipe),
        width=compute_dtype().itemsize,
        checkpointing=False,
        where=device(),
    )
    return fills_memory(use, base_is_loaded=True)


def largest_batch(longest: Encoded, recipe: Recipe) -> TokenCount:
    """The size of a forward pass whose rows are all as long as the longest."""
    return TokenCount(len(longest.input_ids) * recipe.batch_size, sum(longest.supervised) * recipe.batch_size)


def flops(sizes: ModelSizes, rows: TokenCount, length: float, checkpointing: bool) -> float:
    """Floating-point operations of training on `rows`, which have `length` tokens each on average.

    A product with a matrix takes two operations for each of its parameters. Attention looks at half of a row
    on average. The backward pass ends at the lowest layer with adapters.
    """
    forward = 2 * sizes.matrices + 2 * sizes.layers * sizes.queries * length
    adapted = 2 * sizes.adapted_matrices + 2 * sizes.adapted_layers * sizes.queries * length
    backward = adapted + 3 * sizes.adapted_layers * sizes.queries * length + 6 * sizes.trainable
    a_token = forward + backward + checkpointing * adapted
    return rows.tokens * a_token + rows.supervised * 4 * sizes.hidden * sizes.vocabulary


def memory_advice(recipe: Recipe) -> str:
    """What a person can change in this recipe when memory runs out."""
    changes = [f"lower --max-tokens (it is {recipe.max_tokens})"]
    if recipe.batch_size > 1:
        changes.append("use batch_size 1 and more gradient_accumulation_steps")
    if not recipe.qlora:
        changes.append("turn on --qlora")
    return ", ".join([*changes, "or use a smaller model; --dry-run says what each needs"])
