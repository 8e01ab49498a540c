"""What an answer must keep of the gold rule."""

from __future__ import annotations

import pytest

from scripts.asp.subject import keeps_subject


@pytest.mark.parametrize(
    ("gold", "code", "kept"),
    [
        ("a(X) :- b(X).", "a(X) :- c(X).", True),
        ("a(X) :- b(X).", "a(X,Y) :- b(X), b(Y).", False),
        ("a(X) :- b(X).", "#true.", False),
        ("a(X) :- b(X).", "x :- x.", False),
        ("a(X) :- b(X).", "a(X", False),
        ("-a(X) :- b(X).", "a(X) :- b(X).", False),
        ("{ a(X) : b(X) } = 1.", "a(X) ; c(X) :- b(X).", True),
        ("1 #count { X : a(X) : b(X) } 2.", "{ a(X) : b(X) }.", True),
        ("a ; b :- c.", "a :- c.", False),
        (":- a(X).", ":- a(1).", True),
        (":- a(X).", "#false :- a(X).", True),
        (":- a(X).", ":- #true.", False),
        (":- a(X).", "a(1).", False),
        ("#show a/1.", "#show a/1.", True),
        ("#show a/1.", "#show.", False),
        ("#minimize { X : a(X) }.", ":~ a(X). [X]", True),
        ("#minimize { X : a(X) }.", ":~ . [1]", False),
        ("#const n = 3.", "#const n = 4.", True),
        ("#const n = 3.", "#const m = 3.", False),
    ],
)
def test_an_answer_is_about_what_was_asked(gold: str, code: str, kept: bool) -> None:
    assert keeps_subject(gold, code) is kept
