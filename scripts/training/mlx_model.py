"""Models on MLX: the base model, LoRA layers, and safetensors files that are written atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model
from safetensors import SafetensorError, safe_open

from scripts.lm.base_models import rope_settings
from scripts.lm.loading import REMEDY, explain_broken
from scripts.training.projections import MULTIMODAL
from scripts.training.recipe import PROJECTIONS, Recipe
from utils_ft import UserError, read_json

DTYPES = ("bfloat16", "float32")


@dataclass(frozen=True)
class Precision:
    """How the base model is held and computed. Both belong to the identity of a run."""

    dtype: str
    """One of `DTYPES`."""
    quantized: bool
    """Whether the projections are packed into 4 bits."""

    @classmethod
    def of(cls, recipe: Recipe, dtype: str | None, quantize: bool | None) -> Precision:
        """The given settings. None stands for the default of this machine.

        An Apple GPU gets bfloat16, and 4 bits where the recipe says QLoRA. A CPU gets float32, which is twice
        as fast there, and no 4 bits.
        """
        default = "bfloat16" if on_metal() else "float32"
        return cls(dtype or default, recipe.qlora and on_metal() if quantize is None else quantize)


def on_metal() -> bool:
    """Whether MLX computes on an Apple GPU."""
    return mx.metal.is_available()


def load_base(folder: Path, dtype: str | None = None, quantize: bool = False) -> Any:
    """Load the frozen base model. Its weights are read when they are used.

    Arguments:
        folder: The model's folder.
        dtype: One of `DTYPES`, or None for the format in which the weights are stored.
        quantize: Whether the seven projections of every layer are packed into 4 bits. Embeddings and head
            stay as they are, as with NF4 in the PyTorch engine.

    Raises UserError for a folder or an architecture that mlx-lm cannot load.
    """
    if dtype not in (None, *DTYPES):
        raise UserError(f"unknown dtype {dtype!r}", remedy=f"one of: {', '.join(DTYPES)}")
    config = read_json(folder / "config.json", REMEDY)
    with explain_broken(folder, "the model of mlx-lm", "restore the model, or use the PyTorch engine for it"):
        model, config = load_model(folder, lazy=True, model_config=rope_settings(config))
    if dtype:
        model.set_dtype(getattr(mx, dtype))
    if quantize and "quantization" not in config:
        _quantize_projections(model, folder)
    model.freeze()
    return model


def _is_projection(path: str) -> bool:
    return path.rsplit(".", 1)[-1] in PROJECTIONS


def _quantize_projections(model: Any, folder: Path) -> None:
    """Pack the projections into 4 bits, in groups of 64 weights, or 32 if the sizes require it."""
    chosen = {
        path: module
        for path, module in model.named_modules()
        if _is_projection(path) and isinstance(module, nn.Linear)
    }
    widths = {module.weight.shape[-1] for module in chosen.values()}
    group = next((size for size in (64, 32) if all(width % size == 0 for width in widths)), None)
    if group is None:
        what = "the model's sizes are no multiples of 32, so it has no 4-bit form"
        raise UserError(what, where=folder, remedy="--no-quantize")
    nn.quantize(model, group_size=group, bits=4, class_predicate=lambda path, _: path in chosen)


def check_text_model(folder: Path) -> None:
    """Raise UserError for a model with parts for images or sound: mlx-lm drops them, and so would fusing."""
    settings = read_json(folder / "config.json", REMEDY)
    if any(settings.get(name) for name in MULTIMODAL):
        raise UserError(
            f"mlx-lm drops the parts of {settings.get('model_type')!r} for images and sound",
            where=folder,
            remedy="use the PyTorch engine: python -m scripts.train_pytorch",
        )


def adapter_config(model: Any, recipe: Recipe, base: str, precision: Precision) -> dict[str, Any]:
    """mlx-lm's `adapter_config.json` for `recipe`, with the folder and the precision of the base model added.

    Raises UserError for a model without the projections that LoRA adapts, and for a mixture of experts.
    """
    projections = {
        path: module
        for layer in model.layers
        for path, module in layer.named_modules()
        if _is_projection(path)
    }
    experts = sorted(path for path, module in projections.items() if "Switch" in type(module).__name__)
    if experts:
        raise UserError(
            f"the model is a mixture of experts ({experts[0]}), and experts cannot be trained",
            where=base,
            remedy="choose a dense model, such as Qwen/Qwen3-8B",
        )
    if not projections:
        remedy = f"they are {', '.join(PROJECTIONS)}"
        raise UserError("the model has none of the projections that LoRA adapts", where=base, remedy=remedy)
    return {
        "fine_tune_type": "lora",
        "num_layers": min(recipe.top_layers, len(model.layers)),
        "lora_parameters": {
            "rank": recipe.rank,
            "scale": recipe.scale,
            "dropout": recipe.dropout,
            "keys": sorted(projections),
        },
        "model": base,
        "dtype": precision.dtype,
        "quantized": precision.quantized,
    }


def add_adapter(model: Any, config: dict, weights: dict | None = None, seed: int = 0) -> None:
    """Put LoRA layers on `model`.

    Arguments:
        model: A base model.
        config: An `adapter_config`.
        weights: The weights of the adapter. None: A is drawn at random from `seed`, B is zero.
        seed: The seed for A.

    Raises UserError for weights that do not fit the model.
    """
    mx.random.seed(seed)
    linear_to_lora_layers(model, config["num_layers"], config["lora_parameters"])
    if weights is None:
        return
    shapes = {name: value.shape for name, value in tree_flatten(model.trainable_parameters())}
    for name, value in weights.items():
        if shapes.get(name) != value.shape:
            own, other = shapes.get(name), tuple(value.shape)
            raise UserError(
                f"the adapter does not fit the model: {name} {other}, the model has {own}",
                remedy="name the base model that the adapter was trained on",
            )
    model.load_weights(list(weights.items()), strict=False)


def load_adapter(file: Path) -> tuple[dict, dict]:
    """An adapter's configuration, from the `adapter_config.json` beside `file`, and its weights."""
    remedy = "an adapter's folder holds its weights and this file"
    config = read_json(file.parent / "adapter_config.json", remedy)
    if "lora_parameters" not in config:
        remedy = "convert it first: python -m scripts.convert_adapter"
        raise UserError("not an adapter of mlx-lm", where=file.parent, remedy=remedy)
    return config, load_arrays(file)


def save_arrays(path: Path, arrays: Mapping[str, Any], **metadata: str) -> None:
    """Write a safetensors file atomically."""
    draft = path.with_name(f".{path.stem}.{os.getpid()}.safetensors")
    try:
        mx.save_safetensors(str(draft), dict(arrays), {"format": "mlx", **metadata})
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def load_arrays(path: Path) -> dict[str, Any]:
    """The arrays of a safetensors file, read into memory.

    Raises UserError for a missing or incomplete file.
    """
    try:
        with safe_open(path, "np"):
            pass  # compares the header with the size of the file; MLX would read past its end
    except (OSError, SafetensorError):
        remedy = "choose another checkpoint, or resume the training"
        raise UserError("no complete safetensors file", where=path, remedy=remedy) from None
    arrays = mx.load(str(path))
    mx.eval(list(arrays.values()))
    return arrays
