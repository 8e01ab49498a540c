"""Shapes of rules, and how much of the shapes of unseen rules training shows."""

import pytest

from scripts.asp.encoding import read_encoding
from scripts.data.shapes import coverage, fine_shape, shape


def statement(code):
    """The statement of a text."""
    return read_encoding(f"% instruction\n{code}").steps[0].statements[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a(X) :- b(X,Y), not c(Y).", "ship(S) :- port(S,T), not closed(S)."),
        (":- p(X), X > 3.", ":- depth(D), D > 12."),
        ("{ a(X) : b(X) } 1.", "{ moors(S) : ship(S) } 2."),
        ('p("red").', 'q("blue").'),
        ("p(red) :- q.", "p(blue) :- r."),
        (":~ a(X,N). [N@2,X]", ":~ cost(S,C). [C@1,S]"),
    ],
)
def test_rules_that_differ_in_names_numbers_and_variables_have_one_shape(first, second):
    assert shape(statement(first)) == shape(statement(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a(X) :- b(X).", "a(X) :- b(X,Y)."),
        (":- p(X), X > 3.", ":- p(X), X >= 3."),
        (":- p(X), not q(X).", ":- p(X), q(X)."),
        ("a :- 1 { b(X) : c(X) }.", "a :- #count { X : b(X), c(X) } >= 1."),
        ("p(red).", 'p("red").'),
        ("p(3).", "p(red)."),
    ],
)
def test_rules_of_other_structure_have_another_shape(first, second):
    assert shape(statement(first)) != shape(statement(second))


def test_the_fine_shape_keeps_which_variables_are_equal():
    joined, apart = statement("a(X) :- b(X,Y), c(Y)."), statement("a(X) :- b(X,Y), c(X).")
    assert shape(joined) == shape(apart)
    assert fine_shape(joined) != fine_shape(apart)
    assert fine_shape(joined) == fine_shape(statement("r(S) :- s(S,T), t(T)."))


def test_coverage_counts_the_rules_whose_shape_occurs_once_and_often():
    seen = [statement("a(X) :- b(X).")] * 5 + [statement(":- a(X), b(X).")]
    unseen = [statement("p(Y) :- q(Y)."), statement(":- p(Y), q(Z)."), statement("{ p(X) : q(X) }.")]
    figures = coverage(seen, unseen)
    assert (figures["all"].rules, figures["all"].once, figures["all"].often) == (3, 2 / 3, 1 / 3)
    assert figures["all"].fine == 1 / 3
    assert figures["integrity constraint"].once == 1
    assert figures["choice rule"].once == 0
