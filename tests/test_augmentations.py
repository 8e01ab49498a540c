"""Renaming that keeps the program, noise that keeps the words, corruptions that clingo really rejects."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scripts.asp.feedback import context_of, solver_message
from scripts.asp.solver import Limits, Request, Solver, Verdict
from scripts.asp.syntax import transform_variables, trees_of
from scripts.data.corruptions import CORRUPTIONS
from scripts.data.noise import noisy
from scripts.data.problems import read_problems
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
from utils_ft import BENCHMARKS

# --- renaming -----------------------------------------------------------------------------------------------------

CODE = [
    (
        "a(Node) :- b(Node, Other), Node != Other.",
        "a(V0) :- b(V0, V1), V0 != V1.",
        "a(X) :- b(X, Y), X != Y.",
    ),
    (
        "a(Y,X) :- b(X,Y).",
        "a(V0,V1) :- b(V1,V0).",
        "a(X,Y) :- b(Y,X).",
    ),  # a swap: one after the other would merge them
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
def test_variables_are_renamed_at_once_in_the_order_of_the_text(code, canonical, abstract):
    for pool, expected in (("canonical", canonical), ("abstract", abstract)):
        renaming = rename("", code, pool)
        assert renaming.code == expected
        assert same_up_to(renaming.names, code, renaming.code)


def test_the_pools_never_run_dry_or_repeat():
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
def test_the_proof_rejects_what_is_not_the_same_tree(old, new, names, same):
    assert same_up_to(names, old, new) is same


SENTENCES = [
    # sentence, variables of the code, the sentence under canonical names
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
def test_variables_in_the_instruction_follow_and_words_stay(sentence, names, renamed):
    names = {name: f"V{index}" for index, name in enumerate(names.split())}
    assert rename_in_text(sentence, names) == renamed


def test_a_name_that_the_instruction_uses_otherwise_is_passed_over():
    renaming = rename("Size X boxes: B is above C.", "above(B,C) :- on(B,C).", "abstract")
    assert (renaming.instruction, renaming.code) == ("Size X boxes: Y is above Z.", "above(Y,Z) :- on(Y,Z).")


def strings(code: str) -> list[str]:
    return re.findall(r'"(?:[^"\\\n]|\\[\\n"])*"', code)


CODES = st.lists(STATEMENT.map("".join), min_size=1, max_size=2).map("\n".join)


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(CODES, st.sampled_from(sorted(POOLS)))
def test_renaming_merges_nothing_captures_nothing_and_can_be_undone(code, pool):
    assume(accepted(code))
    renaming = rename("", code, pool)
    assert same_up_to(renaming.names, code, renaming.code)
    assert len(set(renaming.names.values())) == len(renaming.names)
    assert "_" not in renaming.names and "_" not in renaming.names.values()
    old, new = list(variables(code).values()), list(variables(renaming.code).values())
    assert new == [renaming.names[name] for name in old]  # occurrence by occurrence
    assert strings(renaming.code) == strings(code)
    back = {new: old for old, new in renaming.names.items()}
    assert [transform_variables(tree, back.__getitem__) for tree in trees_of(renaming.code)] == trees_of(code)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["X", "Y", "A", "I", "Node", "V0", "Z1"]), min_size=2, max_size=5), st.data())
def test_variables_in_code_inside_a_sentence_always_follow(used, data):
    sentence = " and ".join(
        data.draw(
            st.sampled_from(
                [f"{a} != {b}", f"p({a},{b})", f"{a}+1 <= {b}", f"|{a}-{b}| = 1", f"`{a}`,`{b}`", f"{a}..{b}"]
            )
        )
        for a, b in zip(used, used[1:], strict=False)
    )
    code = "p(" + ",".join(used) + ")."
    renaming = rename(sentence, code, "canonical")
    expected = re.sub(r"\b(?:X|Y|A|I|Node|V0|Z1)\b", lambda match: renaming.names[match[0]], sentence)
    assert renaming.instruction == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.sets(st.sampled_from(["A", "I", "X", "Node", "_B", "X'"])))
def test_no_sentence_is_too_odd_to_rename(sentence, names):
    for begin, name in mentions(sentence, names).items():
        assert name in names and sentence.startswith(name, begin)


# --- noise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clean", "dirty"),
    [
        ("Choose exactly one colour, C, for each node N.", "choose exactly one colour c for each node n"),
        (
            "No edge(X,Y) joins two_nodes of -the- same `colour`!",
            "no edge x y joins two_nodes of the same colour",
        ),
        ("  E.g.: 1.5 _ or _x_?  ", "e g 1 5 or x"),
        ("ÄRGER – „größer“", "ärger größer"),
        ("!?", ""),
        ("In tick T+1, or T-1; N - 1.", "in tick t+1 or t-1 n - 1"),
        ("where 3*G < S: 1 <= R <= 3, X != Y.", "where 3*g < s 1 <= r <= 3 x != y"),
        ("`Day+1` >= 5, from 1..N; a cost of -1.", "day+1 >= 5 from 1..n a cost of -1"),
        ("A T-shirt, and/or a well-known 3-colouring.", "a t shirt and or a well known 3 colouring"),
    ],
)
def test_noise_is_lower_case_without_punctuation(clean, dirty):
    assert noisy(clean) == dirty


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_noise_keeps_the_words_and_is_at_peace_with_itself(text):
    dirty = noisy(text)
    assert noisy(dirty) == dirty
    assert not re.search(
        r"[^\w\s]|\s\s|^\s|\s$", re.sub(r"[-+*/=<>!.]", "", dirty) if re.search(r"\w", dirty) else dirty
    )
    assert re.sub(r"[\W_]", "", dirty) == re.sub(r"[\W_]", "", text.lower())


# --- corruptions --------------------------------------------------------------------------------------------------


def every_step(stride: int) -> list[tuple[str, str]]:
    """Context and code of every `stride`-th step of the shipped problems."""
    found = []
    for problem in read_problems(BENCHMARKS):
        steps, facts = problem.encoding.instructed, next(iter(problem.instances.values()))
        for index, step in enumerate(steps):
            found.append(
                (
                    context_of(facts, problem.encoding.given, [other.code for other in steps[:index]]),
                    step.code,
                )
            )
    return found[::stride]


EXPECTED = {  # what the solver says of most codes of a class, and the share of the applicable ones that it says it of
    "markdown fence": (Verdict.SYNTAX, 0.98),
    "doubled braces": (Verdict.SYNTAX, 0.98),
    "list number": (Verdict.SYNTAX, 0.98),
    "foreign operator": (Verdict.SYNTAX, 0.8),
    "prose": (Verdict.SYNTAX, 0.98),
    "aggregate or comma": (Verdict.SYNTAX, 0.9),
    "illegal place": (Verdict.SYNTAX, 0.95),
    "colon or set": (Verdict.SYNTAX, 0.5),
    "period or neck": (Verdict.SYNTAX, 0.95),
    "unsafe variable": (Verdict.UNSAFE, 0.5),
    "wrong arity": (Verdict.OK, 0.5),
    "wrong meaning": (Verdict.OK, 0.5),
}


def test_every_class_of_corruption_is_really_wrong_and_says_so_in_clingos_words():
    assert set(EXPECTED) == set(CORRUPTIONS)
    rng, cases = Random(7), []
    for context, code in every_step(11):
        for name, corruption in CORRUPTIONS.items():
            if (broken := corruption.corrupt(code, rng)) is not None:
                assert broken != code or name == "wrong meaning", (name, code)
                assert strings(code) == strings(broken) or name in (
                    "wrong meaning",
                    "wrong arity",
                    "unsafe variable",
                    "aggregate or comma",
                ), (code, broken)
                cases.append((name, context, broken))
    seen: dict[str, Counter] = {name: Counter() for name in CORRUPTIONS}
    with Solver(limits=Limits(cpu_seconds=0.5)) as solver:
        outcomes = solver.run(Request(context + broken) for _, context, broken in cases)
        for (name, context, _), outcome in zip(cases, outcomes, strict=True):
            told = solver_message(outcome, context)
            assert bool(told) or outcome.passes
            expected = EXPECTED[name][0]
            seen[name][
                outcome.verdict is expected
                and (expected is not Verdict.OK or bool(told) or name == "wrong meaning")
            ] += 1
    for name, (_, share) in EXPECTED.items():
        assert seen[name].total() >= 20, name
        assert seen[name][True] >= share * seen[name].total(), (name, seen[name])


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("doubled braces", "a :- b."),
        ("doubled braces", 'a("{").'),
        ("foreign operator", "a."),
        ("illegal place", "a :- b(X)."),
        ("unsafe variable", "a :- b."),
        ("wrong arity", "a(X,1)."),
        ("wrong meaning", "a."),
        ("colon or set", "a."),
        ("period or neck", "#show a/1."),
    ],
)
def test_a_class_that_does_not_apply_says_so(name, code):
    assert all(CORRUPTIONS[name].corrupt(code, Random(seed)) is None for seed in range(20))


def test_corruptions_follow_the_generator_alone():
    code = '{ a(X,"b(c)") : b(X) } = 1 :- c(X,Y), X != Y, not d(Y).'
    for name, corruption in CORRUPTIONS.items():
        corrupt = corruption.corrupt
        assert corruption.weight > 0
        assert [corrupt(code, Random(seed)) for seed in range(5)] == [
            corrupt(code, Random(seed)) for seed in range(5)
        ], name
        made = {corrupt(code, Random(seed)) for seed in range(30)}
        assert len(made) > 1 or made == {None} or name == "doubled braces"


def test_a_string_survives_what_happens_around_it():
    code = 'a(X,"not b(c), (d,e) != 1.") :- b(X,"f,g"), X != "h;i".'
    for seed in range(300):
        for name in ("foreign operator", "colon or set", "period or neck", "illegal place"):
            broken = CORRUPTIONS[name].corrupt(code, Random(seed))
            assert broken is None or strings(broken) == strings(code), broken


# --- feedback -----------------------------------------------------------------------------------------------------


def test_the_feedback_is_clingos_message_in_its_context():
    with Solver(1) as solver:

        def told(context: str, code: str, solve: bool = False) -> str:
            outcome = solver.answer_sets(context + code) if solve else solver.check(context + code)
            return solver_message(outcome, context)

        context = context_of("edge(1,2).\n", "", ["node(X;Y) :- edge(X,Y).\n", "{in(X)} :- node(X)."])
        assert context == "edge(1,2).\nnode(X;Y) :- edge(X,Y).\n{in(X)} :- node(X).\n"
        assert context_of("", "", []) == ""
        assert told(context, ":- in(X), edge(X,Y), in(Y).") == ""
        assert (
            told(context, ":- in(X) edge(X,Y).")
            == "<block>:4:10-14: error: syntax error, unexpected <IDENTIFIER>"
        )
        assert told(context, "out(X) :- not in(X).").startswith(
            "<block>:4:1-21: error: unsafe variables in:\n"
        )
        # Another number of arguments than everywhere else is an error; a predicate without a fact here is none.
        assert (
            told(context, ":- edge(X), in(X).")
            == "<block>:4:4-11: info: atom does not occur in any rule head:\n  edge(X)"
        )
        assert told(context, ':- edge(X,_,f("a,b",(X,1))).').startswith(
            "<block>:4:4-28: info: atom does not occur"
        )
        assert told(context, ":- blocked(X,Y), in(X).") == ""
        history = (
            context + ":- blocked(X,Y), in(X).\n"
        )  # the note on this rule is no complaint about the next
        assert told(history, "free(X) :- node(X), not blocked(X,X).") == ""
        assert "blocked(X)" in told(history, "free(X) :- node(X), not blocked(X).")
        assert told(context, ":- not in(_).\n:- in(_).", solve=True) == "UNSATISFIABLE"
        assert told("", "p(X) :- q(X).") == ""
