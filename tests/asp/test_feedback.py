"""The solver message for a step in its context."""

from __future__ import annotations

import pytest

from scripts.asp.feedback import UNSATISFIABLE, context_of, named_predicates, solver_message

CONTEXT = "edge(1,2).\nnode(X;Y) :- edge(X,Y).\n{in(X)} :- node(X).\n"
BLOCKED = CONTEXT + ":- blocked(X,Y), in(X).\n"


def test_the_context_has_facts_given_code_and_history_in_this_order():
    assert context_of("edge(1,2).\n", "", ["node(X;Y) :- edge(X,Y).\n", "{in(X)} :- node(X)."]) == CONTEXT
    assert context_of("a.", "b.", ["c."]) == "a.\nb.\nc.\n"
    assert context_of("", "", []) == ""


@pytest.mark.parametrize(
    ("context", "code", "message"),
    [
        (CONTEXT, ":- in(X), edge(X,Y), in(Y).", ""),
        ("", "p(X) :- q(X).", ""),
        (CONTEXT, ":- in(X) edge(X,Y).", "<block>:4:10-14: error: syntax error, unexpected <IDENTIFIER>"),
        (CONTEXT, "out(X) :- not in(X).", "<block>:4:1-21: error: unsafe variables in:\n"),
    ],
)
def test_the_solver_message_is_clingos_message_with_lines_of_the_context(solver, context, code, message):
    found = solver_message(solver.check(context + code), context)
    assert found.startswith(message) and bool(found) == bool(message)


@pytest.mark.parametrize(
    ("context", "code", "message"),
    [
        (
            CONTEXT,
            ":- edge(X), in(X).",
            "<block>:4:4-11: info: atom does not occur in any rule head:\n  edge(X)",
        ),
        (CONTEXT, ':- edge(X,_,f("a,b",(X,1))).', "<block>:4:4-28: info: atom does not occur"),
        (CONTEXT, ":- blocked(X,Y), in(X).", ""),  # a predicate without facts is no error
        (BLOCKED, "free(X) :- node(X), not blocked(X,X).", ""),  # nor is it one in the step after it
        (BLOCKED, "free(X) :- node(X), not blocked(X).", "<block>:5:25-35: info: atom does not occur"),
    ],
)
def test_another_number_of_arguments_than_in_the_context_is_an_error(solver, context, code, message):
    found = solver_message(solver.check(context + code), context)
    assert found.startswith(message) and bool(found) == bool(message)


@pytest.mark.parametrize(
    ("code", "is_error"),
    [
        (":- nodes(X), in(X).", True),  # a name that nothing shows
        ("free(X) :- node(X), not blocks(X).", True),
        (":- ghost.", True),
        (":- blocked(X,Y), in(X).", False),  # the description shows it, without facts
        (":- sealed, in(_).", False),
        ("free(X) :- node(X). :- free(X), in(X).", False),  # the step defines it itself
        ("#defined nodes/1. :- nodes(X), in(X).", False),
    ],
)
def test_a_predicate_that_neither_prompt_nor_program_has_is_an_error(solver, code, is_error):
    named = named_predicates("Nodes are blocked: `blocked(X, Y)`; `sealed` and `node/1` as well.")
    assert named == {"blocked", "sealed", "node"}
    outcome = solver.check(CONTEXT + code)
    assert solver_message(outcome, CONTEXT) == ""
    found = solver_message(outcome, CONTEXT, named)
    assert ("info: atom does not occur in any rule head" in found) == is_error == bool(found)


def test_a_program_without_an_answer_set_is_unsatisfiable(solver):
    outcome = solver.answer_sets(CONTEXT + ":- not in(_).\n:- in(_).")
    assert solver_message(outcome, CONTEXT) == UNSATISFIABLE == "UNSATISFIABLE"
