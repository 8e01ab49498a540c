"""Variable renaming: the trees stay the same, and the instruction follows."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scripts.asp.syntax import transform_variables, trees_of
from scripts.data.variable_renaming import (
    POOLS,
    abstract_names,
    canonical_names,
    mentions,
    rename,
    rename_in_text,
    same_up_to,
    variables,
)
from tests.asp_programs import SLOW, STATEMENT, accepted

CODE = [
    (
        "a(Node) :- b(Node, Other), Node != Other.",
        "a(V0) :- b(V0, V1), V0 != V1.",
        "a(X) :- b(X, Y), X != Y.",
    ),
    # Renamed one after the other, X and Y would become one variable.
    ("a(Y,X) :- b(X,Y).", "a(V0,V1) :- b(V1,V0).", "a(X,Y) :- b(Y,X)."),
    ("a(V1,V0) :- b(V0,V1).", "a(V0,V1) :- b(V1,V0).", "a(X,Y) :- b(Y,X)."),
    ("a(_,B) :- b(B,_,_C), c(_).", "a(_,V0) :- b(V0,_,V1), c(_).", "a(_,X) :- b(X,_,Y), c(_)."),
    ("a(A;B,C) :- b(A;B;C).", "a(V0;V1,V2) :- b(V0;V1;V2).", "a(X;Y,Z) :- b(X;Y;Z)."),
    ("a(X'1,X') :- b(X',X'1).", "a(V0,V1) :- b(V1,V0).", "a(X,Y) :- b(Y,X)."),
    (
        ":- N = #count{ A,B : p(A,B), q(B); C : r(C) }, s(N).",
        ":- V0 = #count{ V1,V2 : p(V1,V2), q(V2); V3 : r(V3) }, s(V0).",
        ":- X = #count{ Y,Z : p(Y,Z), q(Z); W : r(W) }, s(X).",
    ),
    (
        "1 <= #sum{ W,I : in(I) : w(I,W) } <= M :- m(M).",
        "1 <= #sum{ V0,V1 : in(V1) : w(V1,V0) } <= V2 :- m(V2).",
        "1 <= #sum{ X,Y : in(Y) : w(Y,X) } <= Z :- m(Z).",
    ),
    (
        "{ a(A,B) : b(B) } = 1 :- c(A), d(E) : e(A,E); f(|A-B|), B = 1..A.",
        "{ a(V0,V1) : b(V1) } = 1 :- c(V0), d(V2) : e(V0,V2); f(|V0-V1|), V1 = 1..V0.",
        "{ a(X,Y) : b(Y) } = 1 :- c(X), d(Z) : e(X,Z); f(|X-Y|), Y = 1..X.",
    ),
    ("#show f(B,A) : p(A,B).", "#show f(V0,V1) : p(V1,V0).", "#show f(X,Y) : p(Y,X)."),
    ("#show p/2.", "#show p/2.", "#show p/2."),
    (
        "#minimize{ W@P,X : w(W,P,X); 1,Y : v(Y) }.",
        "#minimize{ V0@V1,V2 : w(V0,V1,V2); 1,V3 : v(V3) }.",
        "#minimize{ X@Y,Z : w(X,Y,Z); 1,W : v(W) }.",
    ),
    (":~ p(X), W = X+1. [W@2, X]", ":~ p(V0), V1 = V0+1. [V1@2, V0]", ":~ p(X), Y = X+1. [Y@2, X]"),
    (
        "&sum{ X*A : p(X,A); Y : q(Y) } <= B :- r(B), &diff{ X-B } > A.",
        "&sum{ V0*V1 : p(V0,V1); V2 : q(V2) } <= V3 :- r(V3), &diff{ V0-V3 } > V1.",
        "&sum{ X*Y : p(X,Y); Z : q(Z) } <= W :- r(W), &diff{ X-W } > Y.",
    ),
    (
        'p(X,"X Y",Y) :- q(X,Y,"say \\"Z\\"").',
        'p(V0,"X Y",V1) :- q(V0,V1,"say \\"Z\\"").',
        'p(X,"X Y",Y) :- q(X,Y,"say \\"Z\\"").',
    ),
    (
        'p("größer",B) :- q(B). % B stays',
        'p("größer",V0) :- q(V0). % B stays',
        'p("größer",X) :- q(X). % B stays',
    ),
    ("#edge (A,B;B,A) : p(A,B).", "#edge (V0,V1;V1,V0) : p(V0,V1).", "#edge (X,Y;Y,X) : p(X,Y)."),
    ("#external p(B) : q(B). [A]", "#external p(V0) : q(V0). [V1]", "#external p(X) : q(X). [Y]"),
    (
        "a(B) :-\n  b(B),\n  not c(B).\nd(B) :- e(B).",
        "a(V0) :-\n  b(V0),\n  not c(V0).\nd(V0) :- e(V0).",
        "a(X) :-\n  b(X),\n  not c(X).\nd(X) :- e(X).",
    ),
]


@pytest.mark.parametrize(("code", "canonical", "abstract"), CODE)
def test_variables_are_renamed_in_the_order_of_their_first_occurrence(code, canonical, abstract):
    for pool, expected in (("canonical", canonical), ("abstract", abstract)):
        renaming = rename("", code, pool)
        assert renaming.code == expected
        assert same_up_to(renaming.names, code, renaming.code)


def test_the_pools_never_repeat_a_name():
    for pool in (canonical_names(), abstract_names()):
        names = [next(pool) for _ in range(60)]
        assert len(set(names)) == 60 and all(re.fullmatch(r"[A-Z]\d*", name) for name in names)
    code = "p(" + ",".join(f"Variable{i}" for i in range(30)) + ")."
    assert same_up_to(rename("", code, "abstract").names, code, rename("", code, "abstract").code)


@pytest.mark.parametrize(
    ("old", "new", "names", "same"),
    [
        ("a(X,Y).", "a(V0,V1).", {"X": "V0", "Y": "V1"}, True),
        ("a(X,Y).", "a( V0, V1 ).", {"X": "V0", "Y": "V1"}, True),
        ("a(X,Y).", "a(V0,V0).", {"X": "V0", "Y": "V0"}, False),  # merged
        ("a(X,Y).", "a(V1,V0).", {"X": "V0", "Y": "V1"}, False),
        ("a(X,_).", "a(V0,V1).", {"X": "V0"}, False),
        ("a(X,Y) :- b(X,Y).", "a(V0,V1) :- b(V1,V0).", {"X": "V0", "Y": "V1"}, False),
        ("a(X) :- b(X).", "a(V0) :- c(V0).", {"X": "V0"}, False),
    ],
)
def test_same_up_to_rejects_other_trees_and_merged_variables(old, new, names, same):
    assert same_up_to(names, old, new) is same


SENTENCES = [
    # instruction, variables of the rule, instruction with canonical names
    ("Different nodes: X != Y.", "X Y", "Different nodes: V0 != V1."),
    ("For every two players A and B with A < B.", "A B", "For every two players V0 and V1 with V0 < V1."),
    ("A knight A never lies.", "A", "A knight V0 never lies."),
    (
        "A and B are apart. A door leads from A to B.",
        "A B",
        "V0 and V1 are apart. A door leads from V0 to V1.",
    ),
    ("A is stuck behind B if A waits for B.", "A B", "V0 is stuck behind V1 if V0 waits for V1."),
    ("(A pot holds at most N.)", "A N", "(A pot holds at most V1.)"),
    (
        "Heap I comes after heap I-1; the I-th letter counts.",
        "I",
        "Heap V0 comes after heap V0-1; the V0-th letter counts.",
    ),
    (
        "I want every place I visit to differ from place I+1.",
        "I",
        "I want every place I visit to differ from place V0+1.",
    ),
    (
        "If G's chair is left of H's, then G is beside H.",
        "G H",
        "If V0's chair is left of V1's, then V0 is beside V1.",
    ),
    ("Total each bill into owes(Person,Total).", "Person Total", "Total each bill into owes(V0,V1)."),
    ("Node and Other differ: `Node != Other`.", "Node Other", "Node and V1 differ: `V0 != V1`."),
    ('Grade "A" is above grade B; wear a T-shirt.', "A B T", 'Grade "A" is above grade V1; wear a T-shirt.'),
    ("The pair (A,B), |X-Y| = 1 and X^2.", "A B X Y", "The pair (V0,V1), |V2-V3| = 1 and V2^2."),
    ("No variable at all.", "X", "No variable at all."),
    ("X1 is not X, and XX is neither.", "X X1", "V1 is not V0, and XX is neither."),
    ("x and y in lower case are words.", "X Y", "x and y in lower case are words."),
]


@pytest.mark.parametrize(("sentence", "names", "renamed"), SENTENCES)
def test_variables_of_an_instruction_are_renamed_and_words_stay(sentence, names, renamed):
    names = {name: f"V{index}" for index, name in enumerate(names.split())}
    assert rename_in_text(sentence, names) == renamed


def test_a_new_name_that_the_instruction_uses_is_skipped():
    renaming = rename("Size X boxes: B is above C.", "above(B,C) :- on(B,C).", "abstract")
    assert (renaming.instruction, renaming.code) == ("Size X boxes: Y is above Z.", "above(Y,Z) :- on(Y,Z).")


def strings(code: str) -> list[str]:
    """The strings of a rule."""
    return re.findall(r'"(?:[^"\\\n]|\\[\\n"])*"', code)


CODES = st.lists(STATEMENT.map("".join), min_size=1, max_size=2).map("\n".join)


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(CODES, st.sampled_from(sorted(POOLS)))
def test_a_renaming_merges_no_variables_and_can_be_undone(code, pool):
    assume(accepted(code))
    renaming = rename("", code, pool)
    assert same_up_to(renaming.names, code, renaming.code)
    assert len(set(renaming.names.values())) == len(renaming.names)
    assert "_" not in renaming.names and "_" not in renaming.names.values()
    old, new = list(variables(code).values()), list(variables(renaming.code).values())
    assert new == [renaming.names[name] for name in old]  # at every occurrence
    assert strings(renaming.code) == strings(code)
    back = {new: old for old, new in renaming.names.items()}
    assert [transform_variables(tree, back.__getitem__) for tree in trees_of(renaming.code)] == trees_of(code)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["X", "Y", "A", "I", "Node", "V0", "Z1"]), min_size=2, max_size=5), st.data())
def test_variables_in_formulas_of_an_instruction_are_renamed(used, data):
    forms = ["{} != {}", "p({},{})", "{}+1 <= {}", "|{}-{}| = 1", "`{}`,`{}`", "{}..{}"]
    pairs = zip(used, used[1:], strict=False)
    instruction = " and ".join(data.draw(st.sampled_from(forms)).format(*pair) for pair in pairs)
    code = "p(" + ",".join(used) + ")."
    renaming = rename(instruction, code, "canonical")
    expected = re.sub(r"\b(?:X|Y|A|I|Node|V0|Z1)\b", lambda match: renaming.names[match[0]], instruction)
    assert renaming.instruction == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.sets(st.sampled_from(["A", "I", "X", "Node", "_B", "X'"])))
def test_mentions_have_the_positions_of_names_in_any_text(sentence, names):
    for begin, name in mentions(sentence, names).items():
        assert name in names and sentence.startswith(name, begin)
