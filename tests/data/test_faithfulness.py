"""The check of paraphrases: a change of a predicate, number, string or name is an error."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from scripts.data.paraphrase.augmentor import paraphrase
from scripts.data.paraphrase.faithfulness import content, faithfulness_errors, vocabulary
from scripts.data.problems import Problem

ORIGINAL = (
    "# Lamps\n\nEach lamp is `on` or `off` for 3 hours, at least -5 degrees; `limit` is 7. "
    'The sign says `label(L, "a.b")`.\n'
    "- `lamp(L)`: L is a lamp.\n- `-lit(L, T)`: lamp L is certainly dark at T."
)


FAITHFUL = (
    "Some lamps, `lamp(X)`, are each `on` or `off` during 3 hours, never below -5 degrees. "
    'The constant `limit` is 7, a sign reads `label(X, "a.b")`, '
    "and `-lit(X, T)` says that X is known to be dark at T."
)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: t, None),
        (lambda t: t.replace("`lamp(X)`", "them"), "the predicate lamp/1 is missing"),
        (lambda t: t.replace("`lamp(X)`", "`lamp(X, Y)`"), "the predicate lamp/2 is invented"),
        (lambda t: t.replace("-lit", "lit"), "the predicate -lit/2 is missing"),
        (lambda t: t + " See `dark(X)`.", "the predicate dark/1 is invented"),
        (lambda t: t.replace("3 hours", "some hours"), "the number 3 is missing"),
        (lambda t: t.replace("3 hours", "three hours"), "the number 3 is missing"),
        (lambda t: t.replace("-5", "5"), "the number -5 is missing"),
        (lambda t: t.replace("7", "8"), "the number 8 is invented"),
        (lambda t: t.replace("a.b", "ab"), 'the string "a.b" is missing'),
        (lambda t: t.replace("`limit`", "bound"), "the name `limit` is missing"),
        (lambda t: t + " Use `max_lamps`.", "the name `max_lamps` is invented"),
        (lambda t: t + " There may be lamp(s) and X - 1 or f(X).", None),
        (lambda t: "1. " + t.replace(". ", ".\n2. "), None),  # the numbers of list items
        (lambda t: t + "\n```\nlamp(a).\n```", "it contains ASP code"),
        (lambda t: t + "\nlamp(a) :- on.", "it contains ASP code"),
        (lambda t: t + "\nlamp(a).", "it contains ASP code"),
        (lambda t: "Here is the rewritten text: " + t, "it opens with a remark instead of the text"),
        (lambda t: t + " and so on" * 60, "it is much longer than the original"),
        (lambda t: "", "it is empty"),
        (lambda t: ORIGINAL, "it is the original unchanged"),
    ],
)
def test_faithfulness_errors_name_what_is_wrong(change: Callable[[str], str], error: str | None) -> None:
    names = frozenset({"lamp", "lit", "on", "off", "limit"})
    errors = faithfulness_errors(ORIGINAL, change(FAITHFUL), names)
    assert any(error in found for found in errors) if error else errors == []


def test_hand_written_paraphrases_are_faithful(problems: list[Problem]) -> None:
    problems = [problem for problem in problems if problem.paraphrases]
    report = paraphrase(problems, "shipped")
    assert [result for result in report.results if result.status != "shipped"] == []
    assert len(report.results) == 3 * len(problems)


def test_a_paraphrase_without_a_name_or_number_is_not_faithful(problems: list[Problem]) -> None:
    for problem in (problem for problem in problems if problem.family == "games"):
        names = vocabulary(problem.encoding)
        keep = content(problem.description, names)
        text = problem.paraphrases["natural"]
        for word in [item.split("/")[0] for item in keep.predicates] + sorted(keep.names | keep.numbers):
            without = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "thing", text, flags=re.IGNORECASE)
            assert faithfulness_errors(problem.description, without, names), (problem.id, word)


@pytest.mark.parametrize(
    "text",
    [
        "a(" * 50_000,
        "a(" * 50_000 + ")" * 50_000,
        "1 " * 50_000,
        "`" * 100_000,
        "\n" * 100_000,
        "a_b " * 30_000,
    ],
    ids=["open", "nested", "numbers", "backquotes", "lines", "names"],
)
def test_a_text_of_any_form_is_checked_in_linear_time(text: str) -> None:
    """Quadratic time would take minutes here."""
    assert content(text) is not None
    assert "it is much longer than the original" in faithfulness_errors("Say foo(X) for 3.", text + "x")
    assert faithfulness_errors(text + "x", "Say foo(X) for 3.")
