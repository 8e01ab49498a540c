"""What the solver says about one answer in its context."""

from __future__ import annotations

import pytest

from scripts.asp.solver import Solver
from scripts.inference.attempts import check, has_code, is_satisfiable
from scripts.inference.requests import StepRequest

EMPTY = StepRequest([], "", "")


@pytest.mark.parametrize("answer", ["", "% nothing to do", "```\n```", "%* nothing *%"])
def test_an_answer_without_code_is_an_error(solver: Solver, answer: str) -> None:
    [attempt] = check([EMPTY], [answer], solver)
    assert attempt.message == "error: there is no code" and not has_code(attempt.code)


def test_several_statements_and_comments_are_code(solver: Solver) -> None:
    attempts = check([EMPTY] * 3, ["a. b :- a.", "% first\na. % then\n", '% "x\na("%").'], solver)
    assert not any(attempt.message for attempt in attempts)


def test_one_answer_set_is_enough_and_need_not_be_optimal(solver: Solver) -> None:
    """The optimum of this program takes longer than the limit; an answer set is found at once."""
    soft = "{ in(P,H) : H = 1..11 } = 1 :- P = 1..12. #minimize { 1,P,Q : in(P,H), in(Q,H), P < Q }."
    assert is_satisfiable([soft, "a. :- a.", "{ a }."], solver) == [True, False, True]


def test_a_program_that_takes_too_long_to_solve_is_accepted(solver: Solver) -> None:
    pigeons = "{ in(P,H) : H = 1..11 } = 1 :- P = 1..12. :- in(P,H), in(Q,H), P < Q."
    [attempt] = check([StepRequest([], "", "a.\n", solve=True)], [pigeons], solver)
    assert not attempt.message and attempt.satisfiable is None


@pytest.mark.parametrize(
    ("description", "is_error"),
    [
        ("`node(X)`: X is a node.", True),
        ("`node(X)`: X is a node. `wins/2` may have no facts.", False),
        ("There are nodes, and some win.", False),  # nothing says how predicates are named
    ],
)
def test_a_rule_with_a_made_up_predicate_is_not_accepted(
    solver: Solver, description: str, is_error: bool
) -> None:
    messages = [{"role": "system", "content": description}, {"role": "user", "content": "Who loses?"}]
    request = StepRequest(messages, "Who loses?", "node(a).\n")
    [attempt] = check([request], ["loses(X) :- node(X), not wins(X,_)."], solver)
    assert attempt.accepted != is_error and attempt.outcome.passes
