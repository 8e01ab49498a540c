"""Syntax trees: the predicates of a statement, and walking through a tree."""

from __future__ import annotations

from clingo.ast import ASTType

from scripts.asp.encoding import read_encoding
from scripts.asp.syntax import predicates, trees_of, walk


def test_predicates_have_name_arity_and_classical_negation():
    statement = (
        read_encoding("-p(X) ; q :- r(1;2,3), not s(X) : t(X); #count{Y : u(X,Y)} > 1, X = f(1). #show w/2.")
        .steps[0]
        .statements
    )
    assert predicates(statement[0]) == {
        ("-p", 1),
        ("q", 0),
        ("r", 1),
        ("r", 2),
        ("s", 1),
        ("t", 1),
        ("u", 2),
    }
    assert predicates(read_encoding("#show -w/2.").steps[0].statements[0]) == {("-w", 2)}


def test_walk_visits_every_variable_from_left_to_right():
    (tree,) = trees_of("p(A,B) : q(C) :- r(D;E), #sum{F,G : s(H)} < I, not t(J,_) : u(|K|), (L+M,) = N.")
    assert "".join(node.name for node in walk(tree) if node.ast_type == ASTType.Variable) == "ABCDEIFGHJ_KLMN"
