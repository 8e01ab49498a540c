"""Predicate renaming: all texts of a problem get the new names, and the answer sets stay the same."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from scripts.data.checks import check_problem
from scripts.data.gold import solve
from scripts.data.predicate_renaming import (
    WORDS,
    fresh_names,
    predicate_names,
    rename_answer_sets,
    rename_predicates,
    rename_predicates_in_program,
    rename_predicates_in_text,
)
from tests.examples import shipped_problem

NAMES = {"guest": "violin", "sleeps_in": "acorn_kettle", "on": "plum", "room": "harp"}


FEW = ("matching/hostel_roommates", "planning/stage_lamps", "games/counter_heaps", "sequences/lock_log")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            ':- guest(G), sleeps_in(G,R), not room("guest").',
            ':- violin(G), acorn_kettle(G,R), not harp("guest").',
        ),
        ("#show sleeps_in/2.", "#show acorn_kettle/2."),
        ("guests(G) :- guest(G), on.", "guests(G) :- violin(G), plum."),
        ("-guest(Guest) :- room(guest).", "-violin(Guest) :- harp(violin)."),
    ],
)
def test_predicates_in_a_program_are_renamed_and_strings_stay(before, after):
    assert rename_predicates_in_program(before, NAMES) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Guests sleep in rooms.", "Violins sleep in harps."),
        ("A guest's room: `sleeps_in(G, R)`.", "A violin's harp: `acorn_kettle(G, R)`."),
        ("It depends on the room; `on(X)` says so.", "It depends on the harp; `plum(X)` says so."),
        ('The guesthouse has no room "room".', 'The guesthouse has no harp "room".'),
        (
            "A loaf, two loaves, the Knives, an ally: all parties.",
            "A drum, two drums, the Kites, a lute: all tulips.",
        ),
        (
            "Parked before the party; `before(X)`, `parked(X)`.",
            "Parked before the tulip; `moat(X)`, `stool(X)`.",
        ),
        ("An `ally(A)` is an ally of A, an owner is not.", "A `lute(A)` is a lute of A, an owner is not."),
    ],
)
def test_predicates_in_a_text_are_renamed_as_code_and_as_nouns(before, after):
    more = {
        "loaf": "drum",
        "knife": "kite",
        "ally": "lute",
        "party": "tulip",
        "before": "moat",
        "parked": "stool",
    }
    assert rename_predicates_in_text(before, NAMES | more) == after


def test_comments_are_renamed_as_text_and_directives_and_variables_stay():
    source = """% The depots of a Site.
open(Site) :- depot(Site), N = #count { X : count(X) }. % Depots are few.
%* A depot is
   a depot. *%
#show count/1.
label("% depot").
"""
    problem = replace(
        shipped_problem(FEW[0]),
        source=source,
        description="A Site is a depot. `open(X)`, `count(X)` and `label(X)` are used.",
        paraphrases={},
        instances={"one": "depot(1). count(1..2). % depots"},
    )
    renamed, names = rename_predicates(problem, Random(0))
    depot, counted, opened, label = (names[name] for name in ("depot", "count", "open", "label"))
    expected = f"""% The {depot}s of a Site.
{opened}(Site) :- {depot}(Site), N = #count {{ X : {counted}(X) }}. % {depot.capitalize()}s are few.
%* A {depot} is
   a {depot}. *%
#show {counted}/1.
{label}("% depot").
"""
    assert renamed.source == expected
    assert renamed.description.startswith(f"A Site is a {depot}. `{opened}(X)`, `{counted}(X)` and ")
    assert renamed.instances["one"] == f"{depot}(1). {counted}(1..2). % {depot}s"


def test_there_are_always_enough_new_names():
    many = {f"p_{number}" for number in range(400)}
    assert len(set(fresh_names(many, "", Random(0)).values())) == 400


def test_no_new_name_begins_with_a_vowel():
    assert not [word for word in WORDS if word[0] in "aeiou"] and len(set(WORDS)) == len(WORDS) > 250


@pytest.mark.parametrize("name", FEW)
def test_a_renamed_problem_passes_the_checks_and_keeps_its_answer_sets(name, solver):
    problem = shipped_problem(name)
    renamed, names = rename_predicates(problem, Random(name))
    assert set(names) == predicate_names(problem) and len(set(names.values())) == len(names)
    assert not predicate_names(renamed) & predicate_names(problem)
    assert not check_problem(renamed, solver).faults
    before = [outcome.answer_sets for outcome in solve(problem, problem.encoding.program, solver)]
    after = [outcome.answer_sets for outcome in solve(renamed, renamed.encoding.program, solver)]
    assert [rename_answer_sets(sets, names) for sets in before] == after


def test_new_names_do_not_occur_in_the_texts():
    names = fresh_names({"a", "b_c"}, " ".join(WORDS[:-30]), Random(0))
    assert {word for name in names.values() for word in name.split("_")} <= set(WORDS[-30:])
