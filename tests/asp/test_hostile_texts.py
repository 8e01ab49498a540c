"""Texts of every kind end in an answer: long, deep, with quotes, with parts, and with long messages."""

from __future__ import annotations

import threading

import pytest

from scripts.asp.comparison import evidence
from scripts.asp.encoding import read_encoding
from scripts.asp.feedback import solver_message
from scripts.asp.gate import DEEPEST, LONGEST, rejection
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.asp.syntax import parse, transform_variables, trees_of
from scripts.asp.worker import MESSAGE_LENGTH
from tests.asp.hostile import CRASH, MEMORY, UNSAFE_POOLS
from utils_ft import UserError

BOUND = MESSAGE_LENGTH + 2

# --- messages ---


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_that_does_not_pass_has_a_message(verdict: Verdict) -> None:
    outcome = Outcome(verdict)
    assert bool(solver_message(outcome)) == (not outcome.passes or verdict is Verdict.UNSATISFIABLE)


def test_a_program_out_of_memory_has_a_message(solver: Solver) -> None:
    outcome = solver.check(MEMORY)
    assert outcome.verdict in (Verdict.MEMORY, Verdict.TIMEOUT)
    assert solver_message(outcome) in ("error: out of memory", "error: out of time")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (UNSAFE_POOLS, "'X' is unsafe"),
        (":- N < M, " + ", ".join(["day(1;2;3)"] * 6) + ".", "is unsafe"),
        ("p(X) :- " + ", ".join(f"q{n}(Y{n}), not r(Z{n})" for n in range(400)) + ".", "unsafe"),
        ("\n".join(f"p{n}(X)." for n in range(400)), "p2(X)"),
        ("p(" + "a b " * 50_000 + ").", "syntax error"),
        (f'p(X,"{"x" * 100_000}").', "'X' is unsafe"),
    ],
)
def test_a_message_is_bounded_and_has_each_statement_once(solver: Solver, program: str, words: str) -> None:
    message = solver.check(program).message
    assert words in message and len(message) <= BOUND
    places = [line for line in message.split("\n") if "error:" in line]
    assert len(set(places)) == len(places) <= 3


def test_notes_about_other_numbers_of_arguments_are_bounded(solver: Solver) -> None:
    context = "day(1..30).\n"
    outcome = solver.check(context + "a :- day(X,Y), X = 1..30, Y = 1..30. b :- day(1..300,1).")
    assert outcome.passes and 0 < len(solver_message(outcome, context)) <= BOUND


def test_the_evidence_is_bounded(solver: Solver) -> None:
    gold, other = solver.answer_sets(f'p("{"x" * 9000}").'), solver.answer_sets("a.")
    sentence = evidence(gold.answer_sets, other.answer_sets)
    assert len(sentence) < BOUND and sentence.endswith("is never true, though it should be possible")


def test_a_division_that_overflows_is_told_as_such(solver: Solver) -> None:
    outcome = solver.check(CRASH)
    assert (outcome.verdict, outcome.message) == (
        Verdict.UNSAFE,
        "error: the result of a division is too large for an integer",
    )


def test_costs_count_in_the_size_of_the_answer_sets(solver: Solver) -> None:
    program = "{a(1..6)}. #minimize{0@X : X = 1..30000}."
    assert solver.answer_sets(program).verdict is Verdict.TOO_MANY


# --- the gate ---

NESTED = {
    "square brackets": "&t{" + "[" * 150_000 + "1" + "]" * 150_000 + "}.",
    "periods in a theory operator": "&t{" + "(!." * 100_000 + "1" + ")" * 100_000 + "}.",
    "functions": "p(" + "f(" * 9_900 + "1" + ")" * 9_900 + ").",
    "minus": "p(" + "-" * 9_900 + "1).",
    "sums": "p(1" + "+1" * 9_900 + ").",
    "bars": "p(" + "|1+" * 9_900 + "1" + "|" * 9_900 + ").",
    "intervals": "p(1" + "..1" * 9_900 + ").",
    "a comparison": "a :- X != " + "f(" * 165 + "X" + ")" * 165 + ", X = 1.",
    "theory brackets": "&a{" + "[" * 165 + "X" + "]" * 165 + "} :- X = 1.",
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_a_text_that_is_nested_too_deeply_is_refused_before_clingo_reads_it(text: str) -> None:
    assert "levels deep" in rejection(text).message
    with pytest.raises(UserError, match="levels deep"):
        read_encoding("% A.\n" + text)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("f(", ")"), ("(", ";1)"), ("-", ""), ("1+", ""), ("|", "|"), ("(", ",)"), ("1-(", ")")],
)
def test_all_that_passes_can_be_parsed_on_a_small_stack_and_renamed(opening: str, closing: str) -> None:
    def text(times: int) -> str:
        return f"a :- b(X), X != {opening * times}X{closing * times}."

    deepest = max(times for times in range(DEEPEST) if rejection(text(times)) is None)
    assert deepest > DEEPEST // 4
    results: list[list] = []
    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: results.append(parse(text(deepest))))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    [tree] = results[0]
    assert "Y" in str(transform_variables(tree, lambda _: "Y"))


def test_levels_are_those_of_one_statement() -> None:
    for text in (
        "edge(1,2). " * 5_000,
        "a :- " + ", ".join(f"|X{n}-Y| < 2, not p(X{n}+1,(1;2))" for n in range(1_000)) + ".",
        " | ".join(f"a{n}(X)" for n in range(1_000)) + " :- b(X).",
        "#sum{" + "; ".join(f"{n}*2,x{n} : a(-{n})" for n in range(1_000)) + "} > 0.",
        ":- a, b.\n" * 1_000,
    ):
        assert rejection(text) is None


LONG = {
    "escaped quotes": "p(" + '\\"' * 100_000,
    "a string of escaped quotes": 'p("' + '\\"' * 100_000,
    "quotes": "p(" + '"' * 200_001,
    "quotes and comments": '"%' * 100_000,
    "open comments": "%*" * 100_000,
    "periods": "p" + "." * 200_000,
    "50,000 elements": "p(" + ";".join(map(str, range(50_000))) + ").",
    "50,000 costs": "#minimize{" + ";".join(f"{n},x{n} : a" for n in range(50_000)) + "}.",
    "facts": "".join(f"edge({n},{n + 1}).\n" for n in range(20_000)),
    "one long line of words": "a " * 100_000,
    "open theories": "#theory t{" * 20_000,
    "comments": "% a\n" * 50_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_is_parsed_or_rejected(text: str) -> None:
    """Quadratic time would take minutes here."""
    try:
        assert isinstance(trees_of(text), list)
    except RuntimeError as error:
        assert "error: " in str(error) and len(str(error)) <= BOUND


def test_a_text_above_the_limit_is_refused() -> None:
    with pytest.raises(UserError, match="more than 8,388,608"):
        read_encoding("% " + "x" * LONGEST)


def test_the_arities_of_many_facts_are_known(solver: Solver) -> None:
    """Before, the trees of all facts were read: a minute for an instance of 2 MB."""
    context = '% facts\nname(1,"a, b").\n' + "".join(f"edge({n},{n + 1}).\n" for n in range(30_000))
    [outcome] = solver.run([Request(context + "a :- edge(X). b :- name(X,Y,Z).", cpu_seconds=20)])
    message = solver_message(outcome, context)
    assert "edge(X)" in message and "name(X,Y,Z)" in message


THEORY = [
    '#theory t{".#include "/etc/passwd".',
    '#theory t{}".#include "/etc/passwd".',
    '#theory t { u { " }; ".#include "/etc/passwd".',
    'a. #theory t{%* } *% ".#include "/etc/passwd".',
    '#theory t{".#script (lua) "x" #end.',
    '#theory t{".#program check. "x".',
]


@pytest.mark.parametrize("text", THEORY)
def test_a_theory_hides_no_directive(solver: Solver, text: str) -> None:
    outcome = solver.check(text)
    assert outcome.verdict in (Verdict.SYNTAX, Verdict.REFUSED)
    assert outcome.message.endswith('lexer error, unexpected "') or "is not allowed" in outcome.message
    with pytest.raises(UserError, match="lexer error|is not allowed"):
        read_encoding(text)


def test_a_theory_and_strings_after_it_are_allowed(solver: Solver) -> None:
    theory = "#theory t { u { - : 1, unary }; &d/0 : u, body }. "
    assert solver.parse(theory + 'p("#include", "}."). a :- &d { "x" }.').verdict is Verdict.OK


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("#program check.", False),
        ("#program base(t).", False),
        ("a.\n#program\n%x\nstep(t).", False),
        ("#program base.", True),
        ("#program %* part *% base .", True),
        ("% #program check.\na.", True),
    ],
)
def test_only_the_part_base_is_grounded(solver: Solver, text: str, allowed: bool) -> None:
    assert solver.check(text).verdict is (Verdict.OK if allowed else Verdict.REFUSED)
    assert read_encoding(text) is not None, "the reader reads all parts"
