"""The recipe written with PyTorch and PEFT alone. Both engines are compared with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import get_cosine_schedule_with_warmup, set_seed

from scripts.lm.chat import Encoded
from scripts.training.order import batches
from scripts.training.pytorch_model import lora_config
from scripts.training.recipe import Recipe
from tests.training.recipes import load_model


def losses_from_scratch(base: Path, rows: list[Encoded], recipe: Recipe) -> list[float]:
    """Train fresh adapters over the smoke model, from the seed that the engine starts with; the losses."""
    set_seed(recipe.seed)
    model = load_model(base)
    model = get_peft_model(model, lora_config(model, recipe)).train()
    return train_plainly(model, rows, recipe)


def train_plainly(model: Any, rows: list[Encoded], recipe: Recipe) -> list[float]:
    """Train the adapters of `model`, one row after another, with all logits.

    Returns the loss of each step.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimizer, recipe.warmup_steps, recipe.max_steps)
    losses = []
    for step in batches(len(rows), recipe.rows_per_step, recipe.max_steps, recipe.seed):
        total = sum(sum(rows[index].supervised) for index in step)
        losses.append(0.0)
        for index in step:
            loss = _loss(model, rows[index]) / total
            loss.backward()
            losses[-1] += loss.item()
        torch.nn.utils.clip_grad_norm_(weights, recipe.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return losses


def _loss(model: Any, row: Encoded) -> torch.Tensor:
    """The sum of the cross-entropies of the supervised tokens of a row."""
    logits = model(torch.tensor([row.input_ids])).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(row.labels[1:]), reduction="sum")
