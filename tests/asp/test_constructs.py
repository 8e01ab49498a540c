"""The constructs that a statement or a program shows."""

from __future__ import annotations

import pytest

from scripts.asp.constructs import CONSTRUCTS, construct_table, constructs, lacking
from scripts.asp.encoding import read_encoding


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("a(1..3).", {"fact", "interval"}),
        ("1 { p(X) : q(X) } 2 :- r.", {"choice rule with bounds"}),
        ("{ p }.", {"choice rule"}),
        ("a | b :- not c.", {"disjunction", "default negation"}),
        (":- a, -b(X).", {"integrity constraint", "strong negation"}),
        ("X < Y :- p(X,Y).", {"comparison in the head", "comparison"}),
        (":- p(X), 1 <= X < 4.", {"integrity constraint", "comparison chain"}),
        ("p(1;2).", {"fact", "pool"}),
        ("n(N) :- N = #count{ X : p(X) }.", {"aggregate assigned to a variable", "#count"}),
        (":- #sum{ W,X : p(X,W) } > 3.", {"integrity constraint", "#sum"}),
        ("1 <= #count{ X : p(X) : q(X) } <= 2.", {"aggregate in the head", "#count"}),
        ("#minimize{ X@2 : p(X) }.", {"#minimize / #maximize", "priority level"}),
        ('#minimize{ X,"@" : p(X) }.', {"#minimize / #maximize"}),
        (":~ p(X). [X]", {"weak constraint"}),
        ("#show p/1.", {"#show"}),
        ("#const n = 3.", {"#const"}),
        ("a :- p(X) : q(X).", {"conditional literal"}),
        ("on(X,T+1) :- on(X,T), not off(X,T).", {"frame axiom", "arithmetic", "default negation"}),
        (
            "-on(X,T) :- -on(X,T-1), not on(X,T).",
            {"frame axiom", "arithmetic", "default negation", "strong negation"},
        ),
        ("on(X,T+1) :- at(X,T), not off(X,T).", {"arithmetic", "default negation"}),
    ],
)
def test_the_constructs_of_a_statement(code, shown):
    (step,) = read_encoding(code).steps
    assert constructs(step.statements[0]) == shown


def test_recursion_and_symmetry_breaking_of_a_program():
    direct = read_encoding("% A.\nr(X,Z) :- r(X,Y), e(Y,Z).")
    mutual = read_encoding("% A.\na :- not b.\n\n% Break the symmetry.\nb :- a.")
    none = read_encoding("% Being near is symmetric.\na(X,Y) :- b(X,Y).")
    assert [dict(construct_table([encoding])).get("recursion", 0) for encoding in (direct, mutual, none)] == [
        1,
        1,
        0,
    ]
    assert [
        dict(construct_table([encoding])).get("symmetry breaking", 0) for encoding in (direct, mutual, none)
    ] == [0, 1, 0]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("#external p(X) : q(X). [true]", "#external"),
        ("#defined p/1.", "#defined"),
        ("#project p/1.", "#project"),
        ("#project p(X) : q(X).", "#project"),
        ("#heuristic p(X) : q(X). [1,true]", "#heuristic"),
        ("#edge (X,Y) : p(X,Y).", "#edge"),
        ("#program base.", "#program"),
    ],
)
def test_directives_are_constructs(code, shown):
    (step,) = read_encoding(code).steps
    assert constructs(step.statements[0]) == {shown}


def test_constructs_that_no_program_shows_are_named():
    table = construct_table([read_encoding("a(1..3). #show a/1.")])
    missing = lacking(table)
    assert {"fact", "interval", "#show"}.isdisjoint(missing) and {"#edge", "recursion", "pool"} <= set(
        missing
    )
    assert set(missing) | set(table) == set(CONSTRUCTS)
