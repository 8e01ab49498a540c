"""A problem told in another vocabulary is the same problem: the solver says so, and the gate passes it."""

from dataclasses import replace
from random import Random

import pytest

from scripts.asp.encoding import read_encoding
from scripts.asp.solver import Solver
from scripts.data import renamed_problems as renamings
from scripts.data.checks import check_problem
from scripts.data.conversion import convert
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
from scripts.data.problems import read_problem
from scripts.data.renamed_problems import VariableRenamer, renamed_problems
from scripts.data.report import Report
from scripts.data.settings import ConversionSettings
from utils_ft import BENCHMARKS

NAMES = {"guest": "violin", "sleeps_in": "acorn_kettle", "on": "plum", "room": "harp"}
FEW = ("matching/hostel_roommates", "planning/stage_lamps", "games/counter_heaps", "sequences/lock_log")


@pytest.fixture(scope="module")
def solver():
    with Solver() as pool:
        yield pool


def problem(name):
    family, _, _ = name.partition("/")
    return read_problem(BENCHMARKS / name, family)


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
def test_in_code_whole_words_change_and_strings_stay(before, after):
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
def test_in_prose_names_and_plain_words_change_and_english_stays(before, after):
    more = {
        "loaf": "drum",
        "knife": "kite",
        "ally": "lute",
        "party": "tulip",
        "before": "moat",
        "parked": "stool",
    }
    assert rename_predicates_in_text(before, NAMES | more) == after


def test_comments_are_prose_wherever_they_stand_and_directives_and_variables_stay():
    source = """% The depots of a Site.
open(Site) :- depot(Site), N = #count { X : count(X) }. % Depots are few.
%* A depot is
   a depot. *%
#show count/1.
label("% depot").
"""
    told = replace(
        problem(FEW[0]),
        source=source,
        description="A Site is a depot.",
        instances={"one": "depot(1). count(1..2). % depots"},
    )
    retold, names = rename_predicates(told, Random(0))
    depot, counted, opened, label = (names[name] for name in ("depot", "count", "open", "label"))
    assert (
        retold.source
        == f"""% The {depot}s of a Site.
{opened}(Site) :- {depot}(Site), N = #count {{ X : {counted}(X) }}. % {depot.capitalize()}s are few.
%* A {depot} is
   a {depot}. *%
#show {counted}/1.
{label}("% depot").
"""
    )
    assert retold.description == f"A Site is a {depot}."
    assert retold.instances["one"] == f"{depot}(1). {counted}(1..2). % {depot}s"


def test_names_never_run_out():
    many = {f"p_{number}" for number in range(400)}
    assert len(set(fresh_names(many, "", Random(0)).values())) == 400


def test_no_new_name_wants_another_article_than_the_rest():
    assert not [word for word in WORDS if word[0] in "aeiou"] and len(set(WORDS)) == len(WORDS) > 250


@pytest.mark.parametrize("name", FEW)
def test_a_retold_problem_passes_the_gate_and_keeps_its_answer_sets(name, solver):
    told = problem(name)
    retold, names = rename_predicates(told, Random(name))
    assert set(names) == predicate_names(told) and len(set(names.values())) == len(names)
    assert not predicate_names(retold) & predicate_names(told)
    assert not check_problem(retold, solver).faults
    for before, after in zip(
        solve(told, told.encoding.program, solver),
        solve(retold, retold.encoding.program, solver),
        strict=True,
    ):
        assert rename_answer_sets(before.answer_sets, names) == after.answer_sets


def test_fresh_names_occur_nowhere_in_the_texts():
    text = " ".join(WORDS[:-30])
    assert set(fresh_names({"a", "b_c"}, text, Random(0)).values()) <= {
        f"{x}{y}" for x in WORDS[-30:] for y in ("", *(f"_{w}" for w in WORDS))
    }


def test_another_meaning_in_the_retold_problem_is_noticed(solver, monkeypatch):
    told = problem(FEW[0])
    report = Report()
    assert [
        renamed_problem.names for renamed_problem in renamed_problems(told, 2, Random(0), solver, report)
    ][0] == {}
    assert (
        report.verified["vocabularies with the same answer sets up to the names"] == 2 and not report.dropped
    )
    other = problem(FEW[1])
    monkeypatch.setattr(
        renamings, "rename_predicates", lambda told, rng: (replace(told, source=other.source), {})
    )
    assert len(renamed_problems(told, 2, Random(0), solver, report)) == 1
    assert report.dropped["vocabulary: other answer sets"] == 2


def test_only_namings_that_are_asked_for_are_proved(solver):
    report = Report()
    [told] = renamed_problems(problem(FEW[0]), 0, Random(0), solver, report)
    renamer = VariableRenamer(solver, report)
    assert renamer.variant(told, "original") == told.original and not report.verified
    abstract = renamer.variant(told, "abstract")
    assert abstract.naming == "abstract" and renamer.variant(told, "abstract") is abstract
    assert report.verified["renamings with the same trees and answer sets"] == 1
    other = replace(told, gold=(*told.gold[:-1], replace(told.gold[-1], answer_sets=frozenset())))
    assert renamer.variant(other, "canonical") == other.original
    assert report.dropped["renaming canonical: answer sets different"] == 1


def test_rows_carry_their_names_and_only_training_rows_are_retold():
    problems = [problem(name) for name in FEW]
    splits = dict(zip((p.id for p in problems), ("train", "train", "valid", "test"), strict=True))
    rows, report = convert(problems, splits, ConversionSettings(6, 3, 2))
    assert not [row for split in ("valid", "test") for row in rows[split] if "vocabulary" in row["meta"]]
    retold = [row for row in rows["train"] if "vocabulary" in row["meta"]]
    assert len(rows["train"]) == 18 and len({str(row["meta"]["vocabulary"]) for row in retold}) == 4
    for row in retold:
        if row["meta"]["kind"] == "conversation" and row["meta"]["naming"] == "original":
            source = next(p for p in problems if p.name == row["meta"]["problem"])
            code = "\n".join(
                message["content"] for message in row["messages"] if message["role"] == "assistant"
            )
            expected = "\n".join(
                rename_predicates_in_program(step.code, row["meta"]["vocabulary"])
                for step in source.encoding.instructed
            )
            assert read_encoding(code).program == read_encoding(expected).program


def test_every_vocabulary_has_its_share_of_styles_namings_noise_and_repairs():
    """Ten vocabularies in ten conversations leave none of the other variations out."""
    told = problem(FEW[0])
    rows = convert([told], {told.id: "train"}, ConversionSettings(10, 8, 9))[0]["train"]
    metas = [row["meta"] for row in rows]
    conversations = [meta for meta in metas if meta["kind"] == "conversation"]
    assert len(conversations) == 10 and len({str(meta.get("vocabulary")) for meta in conversations}) == 10
    assert (
        conversations[0]["style"] == conversations[0]["naming"] == "original"
        and "vocabulary" not in conversations[0]
    )
    assert (
        len({meta["style"] for meta in conversations}) > 2
        and len({meta["naming"] for meta in conversations}) == 3
    )
    assert 1 <= sum(meta["noise"] for meta in conversations) <= 3
    repairs = [meta for meta in metas if meta["kind"] == "repair"]
    assert len(repairs) > 5 and len({str(meta.get("vocabulary")) for meta in repairs}) == len(repairs)
    text = {
        str(meta.get("vocabulary")): row["messages"]
        for meta, row in zip(metas, rows, strict=True)
        if meta["kind"] == "conversation"
    }
    assert len({messages[1]["content"] for messages in text.values()}) == 10
