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


def test_of_a_repair_in_the_conversation_only_the_last_answer_is_supervised(smoke, tmp_path):
    """The broken code before it must not be learnt."""
    tokenizer = chat.load_tokenizer(smoke)
    asked = [*prompts.conversation("A map.", [("Say b.", "b.")]), prompts.step("Say a.")]
    messages = [*prompts.repair("Say a.", "a :- b", "error", asked), prompts.answer("a :- b.")]
    rows = [{"messages": messages, "meta": {"kind": kind}} for kind in ("repair", "conversation")]
    repair, conversation = encode_rows(tokenizer, rows, 4096)
    assert repair.input_ids == conversation.input_ids

    def learnt(row):
        return tokenizer.decode(
            [token for token, on in zip(row.input_ids, row.supervised, strict=True) if on]
        )

    last = chat.encode(tokenizer, messages[-2:])
    assert learnt(repair) == learnt(last) and learnt(conversation).endswith(learnt(repair))
    assert learnt(conversation).count("a :- b") == 2 and learnt(repair).count("a :- b") == 1
    short = encode_rows(tokenizer, rows, len(repair.input_ids) - 1)
    assert len(short) == 1 and short[0].cut == 1, "without its last answer a repair teaches nothing"
    for row in rows:  # a cache does not take one for the other
        [stored] = encode_rows(tokenizer, [row], 4096, tmp_path)
        assert (
            [stored] == encode_rows(tokenizer, [row], 4096, tmp_path) == encode_rows(tokenizer, [row], 4096)
        )
