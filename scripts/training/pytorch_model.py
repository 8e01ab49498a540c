"""The base model for the PyTorch engine, in 16 or 4 bits, and the configuration of its adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from scripts.lm.device import compute_dtype, device, free_memory
from scripts.lm.loading import load_model
from scripts.lm.quantization import nf4, sharded
from scripts.training.projections import outside_language_model
from scripts.training.recipe import PROJECTIONS, Recipe


def load_base(folder: Path, qlora: bool, dtype: torch.dtype | None = None) -> Any:
    """Load the base model on this machine's device.

    Arguments:
        folder: The model's folder.
        qlora: Whether the linear layers are packed into NF4. Apple's GPU has no kernels for it and ignores
            this.
        dtype: The number format of the rest, by default `compute_dtype()`.
    """
    dtype = dtype or compute_dtype()
    quantization = {"quantization_config": nf4(dtype)} if qlora and device() != "mps" else {}
    where = {"": torch.cuda.current_device()} if device() == "cuda" and not sharded() else None
    model = load_model(folder, dtype=dtype, device_map=where, **quantization)
    model.config.use_cache = False
    return model


def unpack(model: Any) -> Any:
    """On a CPU, replace the NF4 matrices of `model` by the numbers that they stand for, if memory allows it.

    The results stay the same. bitsandbytes de-quantises each matrix in each forward and backward pass, which
    takes a third of a training step on a CPU.
    """
    if device() != "cpu" or not getattr(model, "is_loaded_in_4bit", False):
        return model
    dtype = model.config.dtype
    packed_bytes = sum(weight.numel() for weight in model.parameters() if hasattr(weight, "quant_state"))
    if 2 * packed_bytes * dtype.itemsize > 0.5 * free_memory():  # two weights in a byte
        return model
    model = model.dequantize(dtype=dtype)
    model.is_loaded_in_4bit = False
    return model


def load_for_training(folder: Path, qlora: bool) -> Any:
    """The base model as the engine trains it: `load_base`, then `unpack`."""
    return unpack(load_base(folder, qlora))


def lora_config(model: Any, recipe: Recipe) -> LoraConfig:
    """PEFT's configuration: adapters on the projections in the top layers of the language model."""
    layers = model.config.get_text_config().num_hidden_layers
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        task_type="CAUSAL_LM",
        target_modules=list(PROJECTIONS),  # PEFT does not combine "all-linear" with a choice of layers
        layers_to_transform=list(range(max(0, layers - recipe.top_layers), layers)),
        exclude_modules=outside_language_model(model),
    )
