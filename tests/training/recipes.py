"""Recipes and helpers that several tests of training use."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import load_rows
from scripts.lm import chat
from scripts.lm.chat import Encoded
from scripts.training.order import TrainingRows
from scripts.training.pytorch_model import load_base
from scripts.training.recipe import PROFILES, Recipe
from scripts.training.sft_trainer import CHANGES, FastSFTTrainer, make_trainer, sft_config

RECIPE = replace(PROFILES["smoke"].recipe, max_tokens=512, max_steps=12, save_every=4, alpha=16)
"""Twelve training steps with dropout, NEFTune and a 4-bit base."""
PLAIN = replace(RECIPE, dropout=0.0, neftune_alpha=0.0, qlora=False)
"""The same without random numbers and without 4 bits."""
LONG = replace(PLAIN, max_steps=20, warmup_ratio=0.1, weight_decay=0.01, learning_rate=1e-2, alpha=40)
"""Twenty training steps in which the smoke model learns something."""

SHARED = replace(PLAIN, max_steps=4, save_every=2, learning_rate=1e-2, warmup_ratio=0.0, qlora=True)
"""Four training steps over a 4-bit base, for processes that share a model."""


def encoded_rows(base: Path, data: Path) -> list[Encoded]:
    """The training rows in the folder `data`, for the model in the folder `base`."""
    return encode_rows(chat.load_tokenizer(base), load_rows(data, "train"), RECIPE.max_tokens)


def make(
    base: Path,
    data: Path,
    recipe: Recipe,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    checkpointing: bool = False,
    report_to: str = "none",
    changes: Sequence[str] = tuple(CHANGES),
) -> FastSFTTrainer:
    """A trainer for the base model in a folder, on the rows of a data folder."""
    rows = TrainingRows.for_recipe(chat.load_tokenizer(base), encoded_rows(base, data), recipe)
    config = sft_config(
        recipe,
        folder,
        steps=recipe.max_steps,
        validate=False,
        checkpointing=checkpointing,
        report_to=report_to,
    )
    return make_trainer(load_base(base, recipe.qlora, dtype), rows, recipe, config, changes=changes)


def losses_of(trainer: Any) -> list[float]:
    """The loss of each training step that a trainer took."""
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def load_model(folder: Path) -> Any:
    """The model in a folder, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    """The logits of a PyTorch model, (tokens, vocabulary)."""
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids])).logits[0]


def copy_of(base: Path, folder: Path) -> str:
    """A copy of a model under another name, as a model type. Its run has a folder of its own."""
    if not folder.exists():
        shutil.copytree(base, folder)
    return str(folder)
