"""Preference pairs as a file: what is read, and what is refused."""

from __future__ import annotations

import json

import pytest

from scripts.data.pairs import PAIRS, load_pairs, pairs_digest, write_pairs
from utils_ft import UserError

USER, RIGHT, WRONG = (
    {"role": role, "content": text}
    for role, text in (("user", "a"), ("assistant", "b."), ("assistant", "c."))
)
PAIR = {"prompt": [USER], "chosen": [RIGHT], "rejected": [WRONG], "meta": {}}


def test_pairs_are_read_as_they_were_written(tmp_path):
    pairs = [PAIR, PAIR | {"rejected": [{"role": "assistant", "content": "é "}]}]
    report = write_pairs(tmp_path, pairs, {"model": "m"})
    assert load_pairs(tmp_path) == pairs and report["model"] == "m"
    assert pairs_digest(pairs) != pairs_digest(pairs[::-1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "there is no pair"),
        ("[]", ":1: the line is no pair"),
        (json.dumps(PAIR | {"meta": []}), ":1: the line is no pair"),
        (json.dumps(PAIR | {"prompt": []}), ":1: the pair has no `prompt`"),
        (json.dumps(PAIR | {"chosen": [USER]}), ":1: the pair has no `chosen`"),
        (json.dumps(PAIR | {"rejected": "c."}), ":1: the pair has no `rejected`"),
        (json.dumps(PAIR | {"prompt": [USER, RIGHT]}), ":1: the prompt does not end with the user"),
        (json.dumps(PAIR | {"rejected": [RIGHT]}), ":1: both answers of the pair are the same"),
        (json.dumps(PAIR) + "\n{", ":2: not JSON"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, line, message):
    (tmp_path / PAIRS).write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        load_pairs(tmp_path)


def test_a_changed_file_does_not_belong_to_its_report(tmp_path):
    write_pairs(tmp_path, [PAIR, PAIR], {})
    (tmp_path / PAIRS).write_text(json.dumps(PAIR) + "\n")
    with pytest.raises(UserError, match="do not belong together.*\n.*train_preferences"):
        load_pairs(tmp_path)
