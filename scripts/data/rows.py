"""Training rows as JSONL: the splits, reading, writing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from utils_ft import UserError, content_hash, evenly_spaced, read_jsonl, read_text

SPLITS = ("train", "valid", "test")


Row = dict[str, Any]


def to_jsonl(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


EVAL_ROWS = 24  # of the validation split: enough to see overfitting, cheap enough to do often


def load_rows(data_dir: str | Path, split: str) -> list[Row]:
    """The rows of `<data_dir>/<split>.jsonl`. UserError names the line of a row that is no conversation."""
    path = Path(data_dir) / f"{split}.jsonl"
    rows = read_jsonl(path)
    for index, row in enumerate(rows):
        if problem := _problem(row["messages"]):
            lines = [number for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
            remedy = "convert the data again: python -m scripts.data_converter"
            raise UserError(problem, where=path, line=lines[index], remedy=remedy)
    return rows


def _problem(messages: list) -> str | None:
    """What is wrong with a row's messages, or None."""
    for message in messages:
        if not isinstance(message, dict) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            return "a message is no {role, content} of two texts"
    if not messages or messages[-1]["role"] != "assistant":
        return "the conversation does not end with the assistant"
    return None


def validation_rows(data_dir: str | Path) -> list[Row]:
    """The rows on which training measures its validation loss: `EVAL_ROWS` of the validation split, half of them repairs.

    They are spread over the split, so that many problems have a part. UserError where there is none: the choice of a
    checkpoint and the proof of a fused model need some.
    """
    rows = load_rows(data_dir, "valid")
    if not rows:
        raise UserError(
            "there is no validation row",
            where=Path(data_dir) / "valid.jsonl",
            remedy='name a validation problem in split.json beside the families, {"valid": ["family/problem"]}, '
            "and convert again",
        )
    repairs, others = (
        [row for row in rows if (row.get("meta", {}).get("kind") == "repair") is wanted]
        for wanted in (True, False)
    )
    half = max(EVAL_ROWS // 2, EVAL_ROWS - len(repairs))
    chosen = evenly_spaced(others, half)
    return chosen + evenly_spaced(repairs, EVAL_ROWS - len(chosen))


def data_digest(rows: Sequence[Row]) -> str:
    """SHA-256 of all that a model can learn from `rows`: their messages, in their order."""
    return content_hash(*(json.dumps(row["messages"], ensure_ascii=False, sort_keys=True) for row in rows))
