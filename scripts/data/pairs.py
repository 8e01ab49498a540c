"""Preference pairs: rows with one prompt, a right answer and a wrong one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.data.rows import check_report, to_jsonl, write_with_report
from utils_ft import UserError, content_hash, parse_json, read_text

PAIRS = "pairs.jsonl"
"""The file of a folder of pairs. `report.json` beside it has its SHA-256."""

Pair = dict[str, Any]
"""`prompt`, `chosen` and `rejected`: lists of {"role", "content"}, as TRL reads them.

`meta`: where the pair comes from (docs/data.md lists its keys).
"""

_ANSWER = ("assistant",)
_AGAIN = "make the pairs again: python -m scripts.train_preferences"


def write_pairs(folder: Path, pairs: Sequence[Pair], report: dict[str, Any]) -> dict[str, Any]:
    """Write `pairs.jsonl`, then `report.json`, as `write_with_report` does. Returns the report."""
    return write_with_report(folder, {Path(PAIRS).stem: to_jsonl(pairs)}, report)


def load_pairs(folder: Path) -> list[Pair]:
    """Read the pairs of a folder.

    Raises:
        UserError: There is no such file, or none in it is a pair (the error names the line), or the file is
            not the one of the report beside it. Pairs without a report are read as they are.
    """
    file = folder / PAIRS
    pairs = []
    for number, line in enumerate(read_text(file, remedy=_AGAIN).split("\n"), 1):
        if not line.strip():
            continue
        pair = parse_json(line, file, line=number, remedy=_AGAIN)
        if problem := _problem(pair):
            raise UserError(problem, where=file, line=number, remedy=_AGAIN)
        pairs.append(pair)
    check_report(file, _AGAIN)
    if not pairs:
        raise UserError("there is no pair in this file", where=file, remedy=_AGAIN)
    return pairs


def _problem(pair: Any) -> str | None:
    """What is wrong with a pair, or None."""
    if not isinstance(pair, dict) or not isinstance(pair.get("meta", {}), dict):
        return "the line is no pair"
    for key, roles in (
        ("prompt", ("system", "user", "assistant")),
        ("chosen", _ANSWER),
        ("rejected", _ANSWER),
    ):
        messages = pair.get(key)
        if not isinstance(messages, list) or not messages or not all(_is_message(m, roles) for m in messages):
            return f"the pair has no `{key}` of messages {{role, content}}"
    if pair["prompt"][-1]["role"] != "user":
        return "the prompt does not end with the user"
    if pair["chosen"] == pair["rejected"]:
        return "both answers of the pair are the same"
    return None


def _is_message(message: Any, roles: Sequence[str]) -> bool:
    return (
        isinstance(message, dict) and message.get("role") in roles and isinstance(message.get("content"), str)
    )


def pairs_digest(pairs: Sequence[Pair]) -> str:
    """The SHA-256 of the messages of `pairs`, in their order: a model learns from nothing else."""
    parts = [[pair["prompt"], pair["chosen"], pair["rejected"]] for pair in pairs]
    return content_hash(*(json.dumps(part, ensure_ascii=False, sort_keys=True) for part in parts))
