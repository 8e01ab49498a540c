"""Whether a model can learn to end a turn: the row of a token in the model's head, against all other rows.

The marks of a chat template are often untrained in a base model: their rows in the head are (nearly) equal.
LoRA leaves the head as it is, so equal rows get equal logits, and such a model never ends an answer.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

NEAR = 0.05
"""Two rows are taken for equal if their distance is at most this part of the norm.

Measured on Qwen2.5-Coder-0.5B-Instruct: untrained marks have another row within 0.001, the marks of its chat
template have the nearest row at 0.33, and of 60 random tokens none has one within 0.16.
"""

_ZERO = 1e-6
"""The norm of a row that was never trained, if the rows began at zero."""

_ROWS = 8192
"""Rows that are compared at once."""


def equal_row(folder: str | Path, token: int) -> int | None:
    """A token whose row in the head of the model in `folder` is nearly that of `token`.

    `token` itself if its row is zero. None if its row is unlike all others, and if the folder has no weights
    or they are packed.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    return _equal_row(tuple((str(file), file.stat().st_mtime_ns) for file in files), token)


@lru_cache(maxsize=8)
def _equal_row(files: tuple[tuple[str, int], ...], token: int) -> int | None:
    from safetensors import safe_open

    found = _head(tuple(file for file, _ in files))
    if found is None:
        return None
    file, name = found
    with safe_open(file, "pt") as weights:
        rows = weights.get_slice(name)
        return _nearest(rows, rows.get_shape()[0], token)


def _nearest(rows: Any, count: int, token: int) -> int | None:
    """The first row within `NEAR` of that of `token`."""
    if token >= count or not rows[token : token + 1].is_floating_point():
        return None
    own = rows[token : token + 1].float()
    norm = float(own.norm())
    if norm < _ZERO:
        return token
    for start in range(0, count, _ROWS):
        distances = (rows[start : start + _ROWS].float() - own).norm(dim=1)
        if start <= token < start + _ROWS:
            distances[token - start] = float("inf")
        if float(distances.min()) <= NEAR * norm:
            return start + int(distances.argmin())
    return None


def _head(files: tuple[str, ...]) -> tuple[str, str] | None:
    """The file and the name of the head's weights. A model without a head of its own uses its embeddings."""
    from safetensors import safe_open

    embeddings = None
    for file in files:
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118, it is no dictionary
                if name.endswith("lm_head.weight"):
                    return file, name
                if name.endswith(("embed_tokens.weight", "wte.weight")):
                    embeddings = file, name
    return embeddings
