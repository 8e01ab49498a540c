"""What training and fusing share on MLX: the base with its right rotary settings, LoRA layers, files that appear whole.

Nothing here is imported from MLX before it is needed: on Windows, where there is none, `require_mlx` says what to use.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts.lm.base_models import rope_settings
from scripts.training.recipe import PROJECTIONS, Recipe
from utils_ft import UserError, read_text

DTYPES = ("bfloat16", "float32")


def require_mlx(platform: str = sys.platform) -> None:
    """UserError where MLX is not to be had: on Windows, and where it is not installed."""
    instead = "use the PyTorch engine, whose adapters convert to MLX: python -m scripts.train_pytorch"
    if platform == "win32":
        raise UserError("MLX does not exist for Windows (Apple silicon and Linux only)", remedy=instead)
    if not (find_spec("mlx") and find_spec("mlx_lm")):
        here = "on Apple silicon or Linux: pip install -r requirements_ft.txt"
        raise UserError("MLX is not installed", remedy=f"{here}; elsewhere {instead}")


def on_metal() -> bool:
    """Whether MLX computes on an Apple GPU."""
    import mlx.core as mx

    return mx.metal.is_available()


def load_base(folder: Path, dtype: str | None = None, quantize: bool = False) -> Any:
    """The frozen base model, its weights not read before they are used; in `dtype`, or as stored.

    With `quantize` the seven projections of every layer are packed into 4 bits, as NF4 does it in the other engine
    (embeddings and head stay as they are). UserError for a folder or an architecture that mlx-lm cannot load.
    """
    import mlx.core as mx
    from mlx_lm.utils import load_model

    if dtype not in (None, *DTYPES):
        raise UserError(f"unknown dtype {dtype!r}", remedy=f"one of: {', '.join(DTYPES)}")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        model, config = load_model(folder, lazy=True, model_config=rope_settings(config))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"mlx-lm cannot load the model: {error}", where=folder, remedy="use the PyTorch engine for it"
        ) from None
    if dtype:
        model.set_dtype(getattr(mx, dtype))
    if quantize and "quantization" not in config:
        _quantize_projections(model, folder)
    model.freeze()
    return model


def _is_projection(path: str) -> bool:
    return path.rsplit(".", 1)[-1] in PROJECTIONS


def _quantize_projections(model: Any, folder: Path) -> None:
    """Pack the projections into 4 bits, in groups of 64 weights where the model's sizes allow it, else of 32."""
    import mlx.nn as nn

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


# --- adapters ---------------------------------------------------------------------------------------------------


def adapter_config(model: Any, recipe: Recipe, base: str, dtype: str, quantized: bool) -> dict:
    """mlx-lm's `adapter_config.json` for `recipe`: its own keys, and what the adapter was trained over."""
    found = {
        path: module
        for layer in model.layers
        for path, module in layer.named_modules()
        if _is_projection(path)
    }
    if experts := sorted(path for path, module in found.items() if "Switch" in type(module).__name__):
        raise UserError(
            f"a mixture of experts ({experts[0]}) can be trained here but not fused",
            where=base,
            remedy="use the PyTorch engine",
        )
    keys = sorted(found)
    if not keys:
        remedy = f"they are {', '.join(PROJECTIONS)}"
        raise UserError("the model has none of the projections that LoRA adapts", where=base, remedy=remedy)
    return {
        "fine_tune_type": "lora",
        "num_layers": min(recipe.top_layers, len(model.layers)),
        "lora_parameters": {
            "rank": recipe.rank,
            "scale": recipe.scale,
            "dropout": recipe.dropout,
            "keys": keys,
        },
        "model": base,
        "dtype": dtype,
        "quantized": quantized,
    }


def add_adapter(model: Any, config: dict, weights: dict | None = None, seed: int = 0) -> None:
    """Put LoRA layers on `model`: with `weights`, or fresh ones (A at random from `seed`, B zero)."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.utils import linear_to_lora_layers

    mx.random.seed(seed)
    linear_to_lora_layers(model, config["num_layers"], config["lora_parameters"])
    if weights is None:
        return
    shapes = {name: value.shape for name, value in tree_flatten(model.trainable_parameters())}
    for name, value in weights.items():
        if shapes.get(name) != value.shape:
            raise UserError(
                f"the adapter does not fit the model: {name} {tuple(value.shape)}, the model has {shapes.get(name)}",
                remedy="name the base model that the adapter was trained on",
            )
    model.load_weights(list(weights.items()), strict=False)


def load_adapter(file: Path) -> tuple[dict, dict]:
    """An adapter's configuration and its weights, from its file and the `adapter_config.json` beside it."""
    settings = read_text(
        file.parent / "adapter_config.json", remedy="an adapter's folder holds its weights and this file"
    )
    config = json.loads(settings)
    if "lora_parameters" not in config:
        remedy = "convert it first: python -m scripts.convert_adapter"
        raise UserError("not an adapter of mlx-lm", where=file.parent, remedy=remedy)
    return config, load_arrays(file)


def save_arrays(path: Path, arrays: dict, **metadata: str) -> None:
    """Write a safetensors file that appears at `path` whole or not at all."""
    import mlx.core as mx

    draft = path.with_name(f".{path.stem}.{os.getpid()}.safetensors")
    try:
        mx.save_safetensors(str(draft), arrays, {"format": "mlx", **metadata})
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def load_arrays(path: Path) -> dict:
    """The arrays of a safetensors file, read. UserError where it is missing or was cut short."""
    import mlx.core as mx
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            pass  # compares the header with the size of the file; MLX would read past its end
    except (OSError, SafetensorError):
        remedy = "choose another checkpoint, or resume the training"
        raise UserError("no whole safetensors file", where=path, remedy=remedy) from None
    arrays = mx.load(str(path))
    mx.eval(list(arrays.values()))
    return arrays
