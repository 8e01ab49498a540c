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

from scripts.lm import chat
from scripts.lm.chat import Encoded
from utils_ft import UserError, content_hash, read_jsonl, read_text, write_text

Row = dict[str, Any]

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


def evenly_spaced(items: list, limit: int) -> list:
    """`limit` of the items at the most, evenly far apart."""
    return items if len(items) <= limit else [items[index * len(items) // limit] for index in range(limit)]


def data_digest(rows: Sequence[Row]) -> str:
    """SHA-256 of all that a model can learn from `rows`: their messages, in their order."""
    return content_hash(*(json.dumps(row["messages"], ensure_ascii=False, sort_keys=True) for row in rows))


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
