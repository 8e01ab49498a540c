"""How exact a merge is: the logits and the greedy text of two models, compared on validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import validation_rows
from scripts.lm.chat import Encoded
from utils_ft import UserError

COMPARED_ROWS = 4
"""Validation rows on which the fused model is compared with base + adapter."""
WRITTEN_TOKENS = 12
"""Tokens that `greedy` writes after a prompt."""


def comparison_rows(tokenizer: Any, data: Path) -> list[Encoded]:
    """The shortest validation rows. Raises UserError when no row fits into 4,096 tokens."""
    rows = encode_rows(tokenizer, validation_rows(data), max_tokens=4096)
    if not rows:
        raise UserError(
            "no validation row fits into 4,096 tokens, and the comparison needs one",
            where=data,
            remedy="convert more problems",
        )
    return sorted(rows, key=lambda row: len(row.input_ids))[:COMPARED_ROWS]


def logits(model: Any, row: Encoded) -> torch.Tensor:
    """A PyTorch model's logits at the supervised positions: float32, (targets, vocabulary), on the CPU."""
    with torch.inference_mode():
        every = model(input_ids=torch.tensor([row.input_ids], device=model.device)).logits[0, :-1]
    return every[torch.tensor(row.supervised[1:], device=every.device)].float().cpu()


def greedy(model: Any, row: Encoded) -> list[int]:
    """The `WRITTEN_TOKENS` tokens that a PyTorch model writes greedily after the first prompt of a row."""
    read, cache, written = torch.tensor([row.input_ids[: row.supervised.index(True)]]), None, []
    for _ in range(WRITTEN_TOKENS):
        with torch.inference_mode():
            output = model(input_ids=read.to(model.device), past_key_values=cache, use_cache=True)
        cache, read = output.past_key_values, output.logits[:, -1].argmax(-1, keepdim=True)
        written.append(int(read))
    return written


def exactness(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> dict[str, float]:
    """How far two models are apart.

    Arguments:
        before: The logits of one model, (targets, vocabulary), one tensor for each row.
        after: Those of the other model.

    Returns:
        rows: The number of rows.
        positions: The number of targets.
        largest_logit_difference: The largest difference between two logits.
        mean_kl_divergence: The mean Kullback-Leibler divergence of a target, in nats.
        same_greedy_token: The share of targets at which both models find the same token most likely.
    """
    left, right = torch.cat(list(before)), torch.cat(list(after))
    divergence = torch.nn.functional.kl_div(
        right.log_softmax(-1), left.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    return {
        "rows": len(before),
        "positions": len(left),
        "largest_logit_difference": round((left - right).abs().max().item(), 5),
        "mean_kl_divergence": round(max(divergence.item(), 0.0), 8),
        "same_greedy_token": round((left.argmax(-1) == right.argmax(-1)).float().mean().item(), 5),
    }
