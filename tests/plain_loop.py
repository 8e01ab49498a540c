"""The recipe written with PyTorch and PEFT alone, which both engines are compared with."""

from __future__ import annotations

from typing import Any

import torch

from scripts.lm.chat import Encoded
from scripts.training.order import batches
from scripts.training.recipe import Recipe


def train_plainly(model: Any, rows: list[Encoded], recipe: Recipe) -> list[float]:
    """Train the adapters of `model`, one row after the other, nothing left out; the loss of each step."""
    from transformers import get_cosine_schedule_with_warmup

    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimizer, recipe.warmup_steps, recipe.max_steps)
    losses = []
    for step in batches(len(rows), recipe.rows_per_step, recipe.max_steps, recipe.seed):
        total = sum(sum(rows[index].supervised) for index in step)
        losses.append(0.0)
        for index in step:
            scores = model(torch.tensor([rows[index].input_ids])).logits[0, :-1]
            loss = (
                torch.nn.functional.cross_entropy(
                    scores, torch.tensor(rows[index].labels[1:]), reduction="sum"
                )
                / total
            )
            loss.backward()
            losses[-1] += loss.item()
        torch.nn.utils.clip_grad_norm_(weights, recipe.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return losses
