"""Rows as tokens.

`lm.chat.encode` decides which tokens of a row are supervised. Both training engines, the conversion report
and the comparison of a fused model use the same encoded rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.data.rows import Row, data_digest, is_repair
from scripts.lm import chat
from scripts.lm.chat import Encoded
from utils_ft import content_hash, write_text


def encode_rows(
    tokenizer: Any, rows: Sequence[Row], max_tokens: int, cache_dir: str | Path | None = None
) -> list[Encoded]:
    """Encode `rows`, in their order, at most `max_tokens` tokens each.

    A row that has no supervised token within `max_tokens` is left out; `counts` says how many. With
    `cache_dir` the result is kept there, under a hash of everything that it depends on.
    """
    file = _cache_file(Path(cache_dir), tokenizer, rows, max_tokens) if cache_dir is not None else None
    if file is not None and (kept := _read_encoded(file)) is not None:
        return kept
    bar = tqdm(rows, desc="tokens", unit="row", leave=False, disable=None)
    every = (_encode(tokenizer, row, max_tokens) for row in bar)
    encoded = [row for row in every if any(row.supervised)]
    if file is not None:
        _write_encoded(file, encoded)
    return encoded


def _encode(tokenizer: Any, row: Row, max_tokens: int) -> Encoded:
    """Encode a row. Of a repair only the last answer is supervised."""
    return chat.encode(tokenizer, row["messages"], max_tokens, last_only=is_repair(row))


def _cache_file(folder: Path, tokenizer: Any, rows: Sequence[Row], max_tokens: int) -> Path:
    """The cache file. Its name is a hash of the rows, the tokenizer, its template and the limit."""
    longer = [str(place) for place, row in enumerate(rows) if is_repair(row) and len(row["messages"]) > 3]
    name = content_hash(
        data_digest(rows),
        tokenizer.backend_tokenizer.to_str(),
        str(tokenizer.chat_template),
        str(max_tokens),
        str(chat.ENCODING_VERSION),
        *longer,
    )
    return folder / f"{name}.json"


def _read_encoded(file: Path) -> list[Encoded] | None:
    """The rows in a cache file. None if there is none, or if it is damaged: the rows are encoded again."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        rows = [Encoded(ids, [mark == "1" for mark in marks], cut) for ids, marks, cut in kept]
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return rows if all(len(row.input_ids) == len(row.supervised) for row in rows) else None


def _write_encoded(file: Path, encoded: Sequence[Encoded]) -> None:
    """Write rows as `[[ids, "0011", turns left out], …]`, one character for each token."""
    kept = [[row.input_ids, "".join("01"[on] for on in row.supervised), row.cut] for row in encoded]
    write_text(file, json.dumps(kept))


def lengths(tokenizer: Any, rows: Sequence[Row]) -> dict[str, list[int]]:
    """The number of tokens of each row without a limit, by the kind of the row."""
    by_kind: dict[str, list[int]] = {}
    for row in rows:
        tokens = _encode(tokenizer, row, max_tokens=10**6).input_ids
        by_kind.setdefault(row["meta"]["kind"], []).append(len(tokens))
    return by_kind


@dataclass(frozen=True)
class Counts:
    """What encoding made of some rows. `report.json` has these numbers under the same names."""

    rows: int
    """Rows that have a supervised token within the limit."""
    dropped_rows: int
    """Rows that have none, and are left out."""
    cut_turns: int
    """Assistant turns beyond the limit, in rows that were kept."""
    tokens: int
    """All tokens of the rows that were kept."""
    supervised_tokens: int
    """Those of them that count in the loss."""


def counts(rows: Sequence[Row], encoded: Sequence[Encoded]) -> Counts:
    """Count what `encode_rows(tokenizer, rows, …)`, which returned `encoded`, kept and left out."""
    return Counts(
        rows=len(encoded),
        dropped_rows=len(rows) - len(encoded),
        cut_turns=sum(row.cut for row in encoded),
        tokens=sum(len(row.input_ids) for row in encoded),
        supervised_tokens=sum(sum(row.supervised) for row in encoded),
    )
