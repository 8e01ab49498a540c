"""Steps of several statements: a split is offered where each statement has words of its own."""

from __future__ import annotations

import pytest

from scripts.asp.encoding import read_encoding
from scripts.asp.splitting import split_step

TWO = "busy(X) :- lifts(X).\nfree(X) :- crane(X), not busy(X)."


@pytest.mark.parametrize(
    ("instruction", "parts"),
    [
        (
            "A crane is busy if it lifts. It is free if it is not busy.",
            ["A crane is busy if it lifts.", "It is free if it is not busy."],
        ),
        (
            "1. lifting cranes are busy\n% 2. the others are free",
            ["lifting cranes are busy", "the others are free"],
        ),
        (
            "- lifting cranes are busy\n% - the others are free",
            ["lifting cranes are busy", "the others are free"],
        ),
        (
            "Busy are those that lift; free are the others",
            ["Busy are those that lift", "free are the others"],
        ),
        ("A crane is busy if it lifts, and free otherwise.", []),
        ("A crane is busy if it lifts. Otherwise it rests.", []),
        ("A crane is busy. It is busy if it lifts. It is free otherwise.", []),
    ],
)
def test_a_step_is_split_by_sentences_or_items_that_name_what_is_in_their_statements(
    instruction: str, parts: list[str]
) -> None:
    [step] = read_encoding(f"% {instruction}\n{TWO}").steps
    split = split_step(step)
    assert [part.instruction for part in split] == parts
    if split:
        assert [part.code for part in split] == TWO.split("\n")
        assert [part.line for part in split] == [statement.line for statement in step.statements]


def test_a_step_of_one_statement_is_not_split() -> None:
    [step] = read_encoding("% A crane is busy. It lifts.\nbusy(X) :- lifts(X).").steps
    assert split_step(step) == ()
