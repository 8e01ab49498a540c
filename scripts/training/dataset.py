"""The rows an engine trains on: as tokens, and in which order. One answer for both engines.

What is supervised comes from `chat.encode` alone. The order depends on the seed and on nothing else, so that step k
of a run that goes on sees the rows that step k of a run in one go would have seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from scripts.data.rows import data_digest
from scripts.lm import chat
from scripts.lm.chat import Encoded
from utils_ft import UserError, content_hash, write_text

Row = dict[str, Any]


def encode_rows(
    tokenizer: Any, rows: Sequence[Row], max_tokens: int, cache_dir: str | Path | None = None
) -> list[Encoded]:
    """`rows` as tokens and targets, in their order, without those that have no target left within `max_tokens`.

    `counts` says how many were left out. With `cache_dir` the result is kept there, under a hash of the rows, the
    tokenizer with its template, `max_tokens`, and `chat.ENCODING_VERSION`.
    """
    path = None
    if cache_dir is not None:
        vocabulary, template = tokenizer.backend_tokenizer.to_str(), str(tokenizer.chat_template)
        path = (
            Path(cache_dir)
            / f"{content_hash(data_digest(rows), vocabulary, template, str(max_tokens), str(chat.ENCODING_VERSION))}.json"
        )
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            return [Encoded(ids, [mark == "1" for mark in marks], cut) for ids, marks, cut in kept]
    bar = tqdm(rows, desc="tokens", unit="row", leave=False, disable=None)
    encoded = [
        row
        for row in (chat.encode(tokenizer, row["messages"], max_tokens) for row in bar)
        if any(row.supervised)
    ]
    if path is not None:
        write_text(
            path,
            json.dumps(
                [[row.input_ids, "".join("01"[on] for on in row.supervised), row.cut] for row in encoded]
            ),
        )
    return encoded


def lengths(tokenizer: Any, rows: Sequence[Row]) -> dict[str, list[int]]:
    """Tokens of each row, uncut, by its kind."""
    found: dict[str, list[int]] = {}
    for row in rows:
        tokens = chat.encode(tokenizer, row["messages"], max_tokens=10**6).input_ids
        found.setdefault(row["meta"]["kind"], []).append(len(tokens))
    return found


def counts(rows: Sequence[Row], encoded: Sequence[Encoded]) -> dict[str, int]:
    """What became of `rows`: how many were kept and dropped, the turns cut at the end, tokens and supervised tokens."""
    return {
        "rows": len(encoded),
        "dropped_rows": len(rows) - len(encoded),
        "cut_turns": sum(row.cut for row in encoded),
        "tokens": sum(len(row.input_ids) for row in encoded),
        "supervised_tokens": sum(sum(row.supervised) for row in encoded),
    }


def batches(n_rows: int, rows_per_step: int, max_steps: int, seed: int) -> list[list[int]]:
    """The row indices of each optimiser step: epochs, each shuffled anew, one behind the other as far as needed.

    A step may reach over the end of an epoch, so each row is seen equally often. A shorter run is the start of a longer.
    """
    if n_rows < 1:
        raise UserError(
            "there are no rows to train on", remedy="convert more problems, or allow more tokens a row"
        )

    def stream():
        for epoch in count():
            order = list(range(n_rows))
            Random(f"{seed}/{epoch}").shuffle(order)  # a text seeds alike on every machine and version
            yield from order

    rows = stream()
    return [list(islice(rows, rows_per_step)) for _ in range(max_steps)]
