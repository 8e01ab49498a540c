"""Recipes and helpers for the tests that use MLX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy
import torch

from scripts.training.mlx_model import Precision, adapter_config, add_adapter, load_base
from scripts.training.recipe import PROFILES, Recipe

RECIPE = replace(PROFILES["smoke"].recipe, max_tokens=512, alpha=16)
"""Four training steps with dropout and NEFTune."""
PLAIN = replace(RECIPE, dropout=0.0, neftune_alpha=0.0)
"""The same without random numbers."""


def with_adapter(base: Path, recipe: Recipe) -> tuple[Any, dict]:
    """A float32 base model with a fresh adapter, ready to train, and the adapter's configuration."""
    model = load_base(base, "float32")
    config = adapter_config(model, recipe, str(base), Precision("float32", quantized=False))
    add_adapter(model, config, seed=recipe.seed)
    model.train()
    return model, config


def mlx_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """The logits of an MLX model, (tokens, vocabulary)."""
    model.eval()
    return torch.from_numpy(numpy.array(model(mx.array([ids]))[0].astype(mx.float32)))
