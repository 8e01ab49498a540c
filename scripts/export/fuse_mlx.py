"""Merge an MLX checkpoint into its base, de-quantised where that was 4-bit, as a folder for mlx-lm and transformers.

    python -m scripts.fuse_mlx --model-type llama --step best
    python -m scripts.fuse_mlx --model-type llama --adapter FOLDER      # one that scripts.adapter_formats converted

The proof that both libraries compute base + adapter from the fused weights stands in `fuse.json` beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.export.fusing import (
    is_fused,
    keep_modelfiles,
    logits,
    origin,
    proof,
    proof_rows,
    training_figures,
    write_generation_settings,
)
from scripts.export.model_card import card
from scripts.lm import chat
from scripts.lm.base_models import base_model, model_spec, rope_settings
from scripts.lm.chat import Encoded
from scripts.training.checkpoints import choose
from scripts.training.mlx_model import add_adapter, load_adapter, load_base, require_mlx
from scripts.training.recipe import load_profile
from utils_ft import ADAPTERS, LOCAL_MODELS, UserError, new_folder, show_path, write_json, write_text

FLOAT32_BELOW = (
    1e9  # parameters: a smaller model is proved in float32, where nothing but the merge itself can differ
)
LARGEST_DIVERGENCE = (
    0.02  # nats a token, between base + adapter and the fused model; rounding to bfloat16 stays far below
)


def fuse(
    model_type: str,
    step: int | str = "best",
    data: Path | None = None,
    adapter: Path | None = None,
    run: Path | None = None,
    target: Path | None = None,
) -> Path:
    """Fuse the checkpoint at `step` (a number, `best` or `last`), or the folder `adapter`; the fused model's folder.

    Says "already done" where the same adapter was fused before. The folder appears whole or not at all: UserError where
    the fused model does not compute what base + adapter compute. `run` and `target` are the folders of the model's
    type by default.
    """
    require_mlx()
    name = model_spec(model_type).type
    run, target = run or ADAPTERS / f"{name}_mlx", target or LOCAL_MODELS / f"ft_{name}_mlx"
    checkpoint = None if adapter else choose(run, step)
    file = checkpoint.path if checkpoint else adapter / "adapters.safetensors"
    config, weights = load_adapter(file)
    base = base_model(model_type)
    made_from = origin(model_type, base, file, run if checkpoint else None)
    if is_fused(target, made_from):
        print(f"already fused: {show_path(file)} is {show_path(target)}", flush=True)
        return target

    tokenizer = chat.load_tokenizer(
        file.parent / "tokenizer" if (file.parent / "tokenizer").is_dir() else base
    )
    rows = proof_rows(tokenizer, data or load_profile().data)
    quantized = bool(config.get("quantized"))
    model = load_base(base, config.get("dtype") if quantized else None, quantized)
    with new_folder(target) as draft:
        stored, plain, adapted = _merge(model, config, weights, rows, draft)
        del model
        _write_settings(base, draft, tokenizer)
        keep_modelfiles(target, draft)
        proved_in = "float32" if _is_small(draft) else stored
        with_mlx, with_transformers = (
            _logits_of_mlx(draft, rows, proved_in),
            _logits_of_transformers(draft, rows, proved_in),
        )
        record = made_from | {
            "checkpoint": checkpoint.step if checkpoint else None,
            "dtype": stored,
            "dequantized": quantized,
            "proved_in": proved_in,
            "proof": proof(adapted, with_mlx),
            "proof_transformers": proof(adapted, with_transformers),
            "mlx_against_transformers": proof(with_mlx, with_transformers),
            "adapter_effect": proof(plain, adapted),
        }
        if checkpoint:
            record["training"] = training_figures(run)
        worst = max(record[proof]["mean_kl_divergence"] for proof in ("proof", "proof_transformers"))
        if not worst <= LARGEST_DIVERGENCE:
            raise UserError(
                f"the fused model does not compute what base + adapter compute ({worst:.3g} nats a token apart)",
                where=file,
                remedy="fuse with the base that the adapter was trained on, or use the PyTorch engine",
            )
        write_json(draft / "fuse.json", record)
        write_text(draft / "README.md", card(target.name, record, tags=("mlx",)))
    return target


def _merge(
    model: Any, config: dict, weights: dict, rows: list[Encoded], draft: Path
) -> tuple[str, list, list]:
    """Write base + adapter into `draft`; the dtype of the weights, and the logits of the base without and with it.

    The sum is made in float32 and rounded once. MLX computes it as it writes: one shard at a time is in memory.
    """
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_lm.tuner.lora import LoRALinear
    from mlx_lm.utils import dequantize_model, get_total_parameters, save_model

    dtype = next(
        value.dtype
        for _, value in tree_flatten(model.parameters())
        if mx.issubdtype(value.dtype, mx.floating)
    )
    if get_total_parameters(model) < FLOAT32_BELOW:
        model.set_dtype(mx.float32)
    model.eval()
    plain = [_logits_of(model, row) for row in rows]
    add_adapter(model, config, weights)
    model.eval()
    adapted = [_logits_of(model, row) for row in rows]
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
    return str(dtype).removeprefix("mlx.core."), plain, adapted


def _write_settings(base: Path, draft: Path, tokenizer: Any) -> None:
    """Configuration and tokenizer beside the weights: rotary settings where each library looks for them, and an end of
    generation at the end of the assistant's turn as well as where the base model stopped."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config = {
        key: value for key, value in config.items() if key not in ("quantization", "quantization_config")
    }
    write_json(draft / "config.json", config | rope_settings(config))
    write_generation_settings(base, draft, tokenizer)
    tokenizer.save_pretrained(draft)


# --- logits, for the proof --------------------------------------------------------------------------------------


def _is_small(folder: Path) -> bool:
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    return index["metadata"]["total_parameters"] < FLOAT32_BELOW


def _logits_of(model: Any, row: Encoded) -> Any:
    """Logits of an MLX model at the supervised positions of a row: a float32 PyTorch tensor, (targets, vocabulary)."""
    import mlx.core as mx
    import numpy
    import torch

    positions = mx.array([index - 1 for index, on in enumerate(row.supervised) if on])
    return torch.from_numpy(numpy.array(model(mx.array([row.input_ids]))[0][positions].astype(mx.float32)))


def _logits_of_mlx(folder: Path, rows: list[Encoded], dtype: str) -> list:
    """Logits of the folder as mlx-lm loads it, without any help of ours."""
    import mlx.core as mx
    from mlx_lm import load

    model, _ = load(str(folder))
    model.set_dtype(getattr(mx, dtype))
    return [_logits_of(model, row) for row in rows]


def _logits_of_transformers(folder: Path, rows: list[Encoded], dtype: str) -> list:
    """Logits of the folder as transformers loads it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    return [logits(model, row) for row in rows]
