"""Rows as tokens: encoded once, counted, and errors named by their line."""

import json
from pathlib import Path

import pytest

from scripts.data.encoded_rows import counts, encode_rows
from scripts.data.rows import data_digest, load_rows
from scripts.lm import chat, prompts
from tests.examples import colouring_row
from utils_ft import UserError


def test_rows_are_encoded_once_and_rows_without_a_target_are_left_out(
    smoke: Path, colouring_data: Path, tmp_path: Path
):
    tokenizer, rows = chat.load_tokenizer(smoke), load_rows(colouring_data, "train")
    limit = max(len(chat.encode(tokenizer, row["messages"]).input_ids) for row in rows) - 1
    first = encode_rows(tokenizer, rows, limit, tmp_path)
    assert encode_rows(tokenizer, rows, limit, tmp_path) == first and len(list(tmp_path.iterdir())) == 1
    every = (chat.encode(tokenizer, row["messages"], limit) for row in rows)
    assert first == [encoded for encoded in every if any(encoded.supervised)]
    encode_rows(tokenizer, rows, limit + 1, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_that_are_left_out_are_counted(smoke: Path, colouring_data: Path):
    tokenizer, rows = chat.load_tokenizer(smoke), load_rows(colouring_data, "train")
    long = [*rows, {"messages": prompts.conversation("word " * 500, [("a", "b.")])}]
    assert counts(long, encode_rows(tokenizer, long, 300)).dropped_rows == 1
    assert data_digest(rows) != data_digest(rows[:-1])


def test_a_broken_row_is_named_by_its_line(tmp_path: Path):
    unanswered = '{"messages": [{"role": "user", "content": "a"}]}'
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(colouring_row(0))}\n\n{unanswered}\n")
    with pytest.raises(UserError, match=r"train\.jsonl:3: .*assistant"):
        load_rows(tmp_path, "train")
