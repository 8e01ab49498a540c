"""Names in view: no row asks for a name that is not in its prompt."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.data.conversion import convert
from scripts.data.in_view import turns_in_view, unnamed_predicates, words
from scripts.data.predicate_renaming import rename_predicates
from scripts.data.problems import Problem, read_problem
from scripts.data.settings import ConversionSettings
from tests.examples import write_problem

BOATS = """% Name the boats.
boats("alma"; "brita").
% Name the depths.
depths(3; 5).
% Each boat gets exactly one depth.
{ moor(B,D) : depths(D) } = 1 :- boats(B).
"""


def boats(root: Path) -> Problem:
    """A problem whose text has two predicates as words in the plural only."""
    text = 'Boats and depths. The boats are "alma"; "brita". The depths are 3; 5. Each boat gets one depth'
    folder = write_problem(root / "shipyard" / "boats", f"{text}: moor(B, D).", BOATS, i="open.\n")
    return read_problem(folder, "shipyard")


def texts(row: dict, role: str) -> list[str]:
    return [message["content"] for message in row["messages"] if message["role"] == role]


def names_asked_for(row: dict) -> list[str]:
    """The names before a parenthesis in the answers of a row that are in no text before them."""
    shown, found = words(row["messages"][0]["content"]), []
    for instruction, answer in zip(texts(row, "user"), texts(row, "assistant"), strict=True):
        shown |= words(instruction)
        names = set(re.findall(r"(?<![#\w\"])[a-z]\w*(?=\()", answer))
        found += sorted(names - shown)
        shown |= words(answer)
    return found


def test_a_predicate_keeps_its_name_if_the_new_one_would_not_be_in_view(tmp_path):
    problem = boats(tmp_path)
    rows, report = convert([problem], {problem.id: "train"}, ConversionSettings(10, 8, 9))
    conversations = [row for row in rows["train"] if row["meta"]["kind"] == "conversation"]
    renamed = [row for row in conversations if "vocabulary" in row["meta"]]
    assert len(conversations) == 10 and len(renamed) == 9
    for row in conversations:
        assert len(texts(row, "assistant")) == 3 and not names_asked_for(row)
    assert all(set(row["meta"]["vocabulary"]) == {"moor"} for row in renamed)
    assert report.dropped["vocabulary: new name of a predicate, not in view before its first use"] == 2 * 9


def test_a_predicate_that_keeps_its_name_keeps_it_in_all_texts(tmp_path):
    """`boats` stays. So the word stays, although `boat` has another name."""
    from random import Random

    folder = write_problem(
        tmp_path / "shipyard" / "boats",
        "boat(B): B is a boat. The boats are all of them.",
        "% The boats.\nboats(N) :- N = #count { B : boat(B) }.\n",
        i="boat(1..2).\n",
    )
    renamed, names = rename_predicates(read_problem(folder, "shipyard"), Random(0))
    assert set(names) == {"boat"}
    assert renamed.description == f"{names['boat']}(B): B is a {names['boat']}. The boats are all of them."


def test_a_conversation_ends_before_a_rule_whose_predicate_is_nowhere(tmp_path):
    folder = write_problem(
        tmp_path / "shipyard" / "cranes",
        "c(X): X is a crane, on(X): X runs.",
        "% Any crane may run.\n{ on(X) } :- c(X).\n\n% Those above one.\nheavy(X) :- on(X), X > 1.\n\n"
        "% No heavy(X) runs.\n:- heavy(X).\n",
        i="c(1..2).\n",
    )
    problem = read_problem(folder, "shipyard")
    assert unnamed_predicates(problem) == [(5, "heavy")]
    rows, report = convert([problem], {problem.id: "train"}, ConversionSettings(4, 0, 1))
    assert {len(texts(row, "assistant")) for row in rows["train"]} == {1}
    assert report.dropped["step: its rule, or one before it, needs a predicate that is not in view"] == 8
    assert [(finding["line"], finding["text"]) for finding in report.findings] == [(5, "heavy")]


def test_names_are_in_view_from_the_text_in_which_they_stand_first():
    messages = [{"role": "system", "content": "p(X)."}]
    for instruction, answer in (("Say q.", "q :- p(1)."), ("Again.", "r' :- q.")):
        messages += [{"role": "user", "content": instruction}, {"role": "assistant", "content": answer}]
    assert turns_in_view(messages, [{"p", "q"}, {"q"}]) == 2
    assert turns_in_view(messages, [{"p", "q"}, {"q", "r'"}]) == 1
    assert turns_in_view(messages, [{"r"}, {"q"}]) == 0
