"""LoRA adapters in PEFT's format and in mlx-lm's format, converted into each other without a change of the
weights.

PEFT stores A as (rank, in) and B as (out, rank), and multiplies an adapter's output by alpha / rank. mlx-lm
stores the transposes, and multiplies by `scale`. MLX need not be installed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils_ft import UserError, check_writable, new_folder, read_json, write_json

PEFT_FILE = "adapter_model.safetensors"
MLX_FILE = "adapters.safetensors"

_PEFT_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
_MLX_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<half>[ab])")
_LAYER = re.compile(r"(?:^|.*\.)layers\.(?P<layer>\d+)\.(?P<key>.+)")

_EXTENSIONS = (
    "use_dora",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "lora_bias",
    "trainable_token_indices",
)
"""Settings of PEFT that mlx-lm does not have."""


def to_mlx(source: Path, target: Path, base: Path | None = None) -> Path:
    """Convert the PEFT adapter in the folder `source` into an mlx-lm adapter in the new folder `target`.

    `base` is the folder of the base model, by default the one that the adapter names. mlx-lm counts adapted
    layers from the top, so the number of its layers is needed. Raises UserError for an adapter that mlx-lm
    cannot express.
    """
    config = _read_config(source)
    _check_plain_lora(config, source)
    arrays = {}
    for name, tensor in _read_arrays(source / PEFT_FILE).items():
        match = _PEFT_NAME.fullmatch(name)
        if not match:
            what = f"the adapter has the weight {name}, which mlx-lm cannot store"
            raise UserError(what, where=source / PEFT_FILE)
        arrays[f"{match['module']}.lora_{match['half'].lower()}"] = tensor.T
    projections = _projections(arrays, _MLX_NAME, source)
    base = base or Path(_text(config, "base_model_name_or_path", source))
    rank, alpha = _number(config, "r", source), _number(config, "lora_alpha", source)
    settings = {
        "fine_tune_type": "lora",
        "num_layers": _layers_of(base) - min(layer for layer, _ in projections),
        "lora_parameters": {
            "rank": rank,
            "scale": alpha / (math.sqrt(rank) if config.get("use_rslora") else rank),
            "dropout": config.get("lora_dropout", 0.0),
            "keys": sorted({key for _, key in projections}),
        },
        "model": str(base),
    }
    return _write(target, MLX_FILE, arrays, {"format": "mlx"}, settings)


def to_peft(source: Path, target: Path, base: Path | None = None) -> Path:
    """Convert an mlx-lm adapter into a PEFT adapter in the new folder `target`.

    `source` is the adapter's folder or one checkpoint file in it. `base` is the base model that the new
    adapter names, by default the one of the old. Raises UserError for an adapter that is no LoRA.
    """
    file = source / MLX_FILE if source.is_dir() else source
    config = _read_config(file.parent)
    if config.get("fine_tune_type", "lora") != "lora":
        what = f"an adapter of type {config['fine_tune_type']!r} is not converted"
        raise UserError(what, where=file.parent, remedy="only LoRA is")
    arrays = {}
    for name, tensor in _read_arrays(file).items():
        match = _MLX_NAME.fullmatch(name)
        if not match:
            raise UserError(f"the adapter has the weight {name}, which is no LoRA weight", where=file)
        arrays[f"base_model.model.{match['module']}.lora_{match['half'].upper()}.weight"] = tensor.T
    projections = _projections(arrays, _PEFT_NAME, file)
    lora = config.get("lora_parameters")
    if not isinstance(lora, dict):
        raise _damaged("lora_parameters", file.parent)
    rank = _number(lora, "rank", file.parent)
    alpha = _number(lora, "scale", file.parent) * rank
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "bias": "none",
        "base_model_name_or_path": str(base or _text(config, "model", file.parent)),
        "r": rank,
        "lora_alpha": round(alpha) if math.isclose(round(alpha), alpha, rel_tol=1e-12) else alpha,
        "lora_dropout": lora.get("dropout", 0.0),
        "target_modules": sorted({key.rsplit(".", 1)[-1] for _, key in projections}),
        "layers_to_transform": sorted({layer for layer, _ in projections}),
    }
    return _write(target, PEFT_FILE, arrays, {"format": "pt"}, settings)


def _check_plain_lora(config: dict, source: Path) -> None:
    """Raise UserError for PEFT's extensions of LoRA, which mlx-lm does not have."""
    if config.get("peft_type") != "LORA":
        what = f"an adapter of type {config.get('peft_type')!r} is not converted"
        raise UserError(what, where=source, remedy="only LoRA is")
    used = [name for name in _EXTENSIONS if config.get(name)]
    if config.get("bias", "none") != "none":
        used.append("bias")
    if used:
        what = f"the adapter uses {', '.join(used)}, which mlx-lm cannot express"
        raise UserError(what, where=source, remedy="train a plain LoRA adapter")


def _projections(names: Iterable[str], pattern: re.Pattern, source: Path) -> set[tuple[int, str]]:
    """(number of the layer, path inside the layer) of every adapted projection.

    Raises UserError for a projection outside the layers, and for an empty adapter.
    """
    projections = set()
    for name in names:
        module = pattern.fullmatch(name)["module"]
        match = _LAYER.fullmatch(module)
        if not match:
            raise UserError(f"{module} is outside the layers, and only layers are converted", where=source)
        projections.add((int(match["layer"]), match["key"]))
    if not projections:
        raise UserError("the adapter is empty", where=source)
    return projections


def _layers_of(base: Path) -> int:
    """The number of layers of a model folder."""
    file = base / "config.json"
    if not file.is_file():
        remedy = "name it: --base, with a model type or a folder"
        raise UserError("the base model's folder is needed, to count its layers", where=base, remedy=remedy)
    config = read_json(file, "restore the base model")
    layers = config.get("text_config", config).get("num_hidden_layers")
    if not isinstance(layers, int):
        raise UserError("the file has no num_hidden_layers", where=file, remedy="restore the base model")
    return layers


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise UserError("there is no adapter_config.json, so this is no adapter", where=folder)
    return read_json(file, "choose another adapter")


def _number(settings: Mapping[str, Any], name: str, folder: Path) -> float:
    """A number above 0 of an adapter's configuration. UserError if it is none."""
    value = settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _damaged(name, folder)
    return value


def _text(settings: Mapping[str, Any], name: str, folder: Path) -> str:
    """A text of an adapter's configuration, or "". UserError if it is something else."""
    value = settings.get(name) or ""
    if not isinstance(value, str):
        raise _damaged(name, folder)
    return value


def _damaged(name: str, folder: Path) -> UserError:
    file = folder / "adapter_config.json"
    return UserError(f"the value of `{name}` is damaged", where=file, remedy="choose another adapter")


def _read_arrays(file: Path) -> dict[str, Any]:
    """The tensors of a safetensors file. Raises UserError for a missing or incomplete file."""
    from safetensors import SafetensorError
    from safetensors.torch import (
        load_file,
    )  # imports torch, which commands that only list checkpoints do not need

    try:
        return load_file(file)
    except (OSError, SafetensorError):
        raise UserError(
            "no complete safetensors file", where=file, remedy="choose another checkpoint"
        ) from None


def _write(target: Path, name: str, arrays: Mapping[str, Any], metadata: dict, settings: dict) -> Path:
    """Write an adapter's folder: its weights to the file `name`, and its configuration."""
    from safetensors.torch import save_file

    if target.exists():
        raise UserError("the target exists already", where=target, remedy="name a new folder")
    check_writable(target, folder=True)
    with new_folder(target) as draft:
        save_file({key: value.contiguous() for key, value in arrays.items()}, draft / name, metadata)
        write_json(draft / "adapter_config.json", settings)
    return target
