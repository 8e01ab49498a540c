"""Rows of JSONL files: the splits, reading, writing, and the rows of the validation loss."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from utils_ft import UserError, content_hash, evenly_spaced, read_jsonl, read_text

SPLITS = ("train", "valid", "test")

Row = dict[str, Any]
"""`messages`: a list of {"role", "content"}.

`meta`: where the row comes from (docs/data.md lists its keys).
"""

EVAL_ROWS = 24  # validation rows for the loss during training: enough to see overfitting, and fast


def to_jsonl(rows: Iterable[Row]) -> str:
    """Return `rows` as the text of a JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def load_rows(data_dir: str | Path, split: str) -> list[Row]:
    """Read `<data_dir>/<split>.jsonl`.

    Raises:
        UserError: There is no such file, or a row is not a conversation; the error names its line.
    """
    path = Path(data_dir) / f"{split}.jsonl"
    rows = read_jsonl(path)
    for index, row in enumerate(rows):
        if problem := _problem(row["messages"]):
            lines = [number for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
            remedy = "convert the data again: python -m scripts.data_converter"
            raise UserError(problem, where=path, line=lines[index], remedy=remedy)
    return rows


def _problem(messages: list) -> str | None:
    """What is wrong with the messages of a row, or None."""
    for message in messages:
        if not isinstance(message, dict) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            return "a message is no {role, content} of two texts"
    if not messages or messages[-1]["role"] != "assistant":
        return "the conversation does not end with the assistant"
    return None


def validation_rows(data_dir: str | Path) -> list[Row]:
    """Return the rows for the validation loss: `EVAL_ROWS` of the validation split, half of them repairs.

    They are evenly spaced, so that they come from many problems.

    Raises:
        UserError: The validation split is empty. The choice of a checkpoint and the check of a fused model
            need it.
    """
    rows = load_rows(data_dir, "valid")
    if not rows:
        raise UserError(
            "there is no validation row",
            where=Path(data_dir) / "valid.jsonl",
            remedy="name a validation problem in split.json beside the families, "
            '{"valid": ["family/problem"]}, and convert again',
        )
    repairs = [row for row in rows if row.get("meta", {}).get("kind") == "repair"]
    others = [row for row in rows if row.get("meta", {}).get("kind") != "repair"]
    chosen = evenly_spaced(others, max(EVAL_ROWS // 2, EVAL_ROWS - len(repairs)))
    return chosen + evenly_spaced(repairs, EVAL_ROWS - len(chosen))


def data_digest(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of the messages of `rows`, in their order: a model learns from nothing else."""
    return content_hash(*(json.dumps(row["messages"], ensure_ascii=False, sort_keys=True) for row in rows))
