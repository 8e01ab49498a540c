"""Fusing with MLX: an adapter in mlx-lm's format is merged into the base model.

A 4-bit base is de-quantised first. The fused folder works with mlx-lm and with transformers, and both are
compared with base + adapter. MLX is imported inside functions, as it may be missing.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from scripts.export import fusing
from scripts.export.comparison import exactness, logits
from scripts.export.fusing import Adapter, Folders
from scripts.lm.chat import Encoded
from scripts.lm.loading import REMEDY, load_model
from scripts.training.mlx_support import require_mlx
from utils_ft import UserError, read_json, write_json

FLOAT32_BELOW = 1e9
"""Parameters. A smaller model is compared in float32, where the merge is the only source of differences."""
LARGEST_DIVERGENCE = 0.02
"""Nats a token between base + adapter and the fused model. Rounding to bfloat16 stays far below."""


def fuse(
    model_type: str,
    step: int | str = "best",
    data: Path | None = None,
    *,
    adapter: Path | None = None,
    folders: Folders | None = None,
) -> Path:
    """Fuse a checkpoint of `adapters/<type>_mlx`, or the folder `adapter`; return the fused folder.

    `fusing.fuse` describes the arguments. `fuse.json` has `exactness` (mlx-lm on the fused folder against
    base + adapter), `exactness_transformers` (the same with transformers), `mlx_against_transformers`, and
    `adapter_effect` (base + adapter against the base alone).

    Raises UserError when the fused model does not compute what base + adapter compute.
    """
    require_mlx()
    return fusing.fuse(MlxFusing(), model_type, step, data, adapter, folders)


@dataclass(frozen=True)
class Expected:
    """What the base computes without and with the adapter, and how the fused weights are stored."""

    plain: list[torch.Tensor]
    adapted: list[torch.Tensor]
    dtype: str
    dequantized: bool
    adapter: Path


class MlxFusing:
    """MLX's part of fusing."""

    name = "mlx"
    tags = ("mlx",)

    def adapter_of(self, checkpoint: Path) -> Path:
        return checkpoint / "adapters.safetensors" if checkpoint.is_dir() else checkpoint

    def guard(self, target: Path) -> AbstractContextManager:
        return nullcontext()

    def merge(self, adapter: Adapter, base: Path, rows: Sequence[Encoded], draft: Path) -> Expected:
        import mlx.core as mx
        from mlx_lm.utils import get_total_parameters

        from scripts.training.mlx_model import add_adapter, load_adapter, load_base

        config, weights = load_adapter(adapter.file)
        quantized = bool(config.get("quantized"))
        model = load_base(base, config.get("dtype") if quantized else None, quantized)
        dtype = _dtype(model)
        if get_total_parameters(model) < FLOAT32_BELOW:
            model.set_dtype(mx.float32)
        model.eval()
        plain = [_logits(model, row) for row in rows]
        add_adapter(model, config, weights)
        model.eval()
        adapted = [_logits(model, row) for row in rows]
        _save_merged(model, dtype, draft)
        _write_config(base, draft)
        return Expected(plain, adapted, str(dtype).removeprefix("mlx.core."), quantized, adapter.file)

    def compare(self, expected: Expected, rows: Sequence[Encoded], draft: Path) -> dict[str, Any]:
        dtype = "float32" if _is_small(draft) else expected.dtype
        _give_back()  # the merged model goes before its copies are loaded, one after the other
        with_mlx = _mlx_logits(draft, rows, dtype)
        _give_back()
        with_transformers = _torch_logits(draft, rows, dtype)
        record = {
            "dtype": expected.dtype,
            "dequantized": expected.dequantized,
            "compared_in": dtype,
            "exactness": exactness(expected.adapted, with_mlx),
            "exactness_transformers": exactness(expected.adapted, with_transformers),
            "mlx_against_transformers": exactness(with_mlx, with_transformers),
            "adapter_effect": exactness(expected.plain, expected.adapted),
        }
        worst = max(record[name]["mean_kl_divergence"] for name in ("exactness", "exactness_transformers"))
        if not worst <= LARGEST_DIVERGENCE:  # also refuses a divergence that is not a number
            raise UserError(
                "the fused model does not compute what base + adapter compute "
                f"({worst:.3g} nats a token apart)",
                where=expected.adapter,
                remedy="fuse with the base that the adapter was trained on, or use the PyTorch engine",
            )
        return record


def _give_back() -> None:
    """Give back the memory that MLX keeps of arrays which nothing uses."""
    import mlx.core as mx

    gc.collect()
    mx.clear_cache()


def _dtype(model: Any) -> Any:
    """The MLX dtype of a model's weights."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    dtypes = (value.dtype for _, value in tree_flatten(model.parameters()))
    return next(dtype for dtype in dtypes if mx.issubdtype(dtype, mx.floating))


def _save_merged(model: Any, dtype: Any, draft: Path) -> None:
    """Merge the adapter of `model` and write the weights in `dtype`.

    The sum is computed in float32 and rounded once. MLX computes it while it writes, so one shard at a time
    is in memory.
    """
    import mlx.core as mx
    from mlx.utils import tree_unflatten
    from mlx_lm.tuner.lora import LoRALinear
    from mlx_lm.utils import dequantize_model, save_model

    model.set_dtype(mx.float32)
    merged = [
        (name, layer.fuse(dequantize=True))
        for name, layer in model.named_modules()
        if isinstance(layer, LoRALinear)
    ]
    model.update_modules(tree_unflatten(merged))
    dequantize_model(model)
    model.set_dtype(dtype)
    save_model(draft, model, donate_model=True)


def _write_config(base: Path, draft: Path) -> None:
    """Write the base model's `config.json` without its quantisation."""
    config = read_json(base / "config.json", REMEDY)
    left_out = ("quantization", "quantization_config")
    write_json(draft / "config.json", {key: value for key, value in config.items() if key not in left_out})


def _is_small(folder: Path) -> bool:
    """Whether the model in a folder has fewer than `FLOAT32_BELOW` parameters."""
    index = read_json(folder / "model.safetensors.index.json", REMEDY)
    return index["metadata"]["total_parameters"] < FLOAT32_BELOW


def _logits(model: Any, row: Encoded) -> torch.Tensor:
    """Logits of an MLX model at the supervised positions of a row: float32, (targets, vocabulary)."""
    import mlx.core as mx

    positions = mx.array([index - 1 for index, supervised in enumerate(row.supervised) if supervised])
    every = model(mx.array([row.input_ids]))[0]
    return torch.from_numpy(numpy.array(every[positions].astype(mx.float32)))


def _mlx_logits(folder: Path, rows: Sequence[Encoded], dtype: str) -> list[torch.Tensor]:
    """Logits of the model in a folder, loaded with mlx-lm alone."""
    import mlx.core as mx
    from mlx_lm import load

    model, _ = load(str(folder), tokenizer_config={"trust_remote_code": False})
    model.set_dtype(getattr(mx, dtype))
    return [_logits(model, row) for row in rows]


def _torch_logits(folder: Path, rows: Sequence[Encoded], dtype: str) -> list[torch.Tensor]:
    """Logits of the model in a folder, loaded with transformers."""
    model = load_model(folder, dtype=getattr(torch, dtype)).eval()
    return [logits(model, row) for row in rows]
