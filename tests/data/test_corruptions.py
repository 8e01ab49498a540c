"""Corruptions: the solver rejects most of them, and strings stay unchanged."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from random import Random

import pytest

from scripts.asp.feedback import context_of, solver_message
from scripts.asp.solver import Limits, Request, Solver, Verdict
from scripts.asp.syntax import trees_of
from scripts.data.corruptions import (
    AGGREGATES_AND_COMMAS,
    COLONS_AND_SETS,
    CORRUPTIONS,
    FOREIGN_OPERATORS,
    ILLEGAL_PLACES,
)
from scripts.data.problems import read_problems


def strings(code: str) -> list[str]:
    """The strings of a rule."""
    return re.findall(r'"(?:[^"\\\n]|\\[\\n"])*"', code)


@cache
def steps_in_context(stride: int) -> list[tuple[str, str]]:
    """Context and rule of every `stride`-th step of the shipped problems."""
    steps = []
    for problem in read_problems():
        facts = next(iter(problem.instances.values()))
        codes = [step.code for step in problem.encoding.instructed]
        steps += [
            (context_of(facts, problem.encoding.given, codes[:index]), code)
            for index, code in enumerate(codes)
        ]
    return steps[::stride]


# For each class: the verdict of most broken rules, and the smallest share of the broken rules with that
# verdict.
EXPECTED = {
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


# These classes may change a string.
MAY_CHANGE_STRINGS = ("wrong meaning", "wrong arity", "unsafe variable", "aggregate or comma")


def test_the_solver_rejects_most_corruptions_of_each_class():
    assert set(EXPECTED) == set(CORRUPTIONS)
    rng, cases = Random(7), []
    for context, code in steps_in_context(11):
        for name, corruption in CORRUPTIONS.items():
            if (broken := corruption.corrupt(code, rng)) is not None:
                assert broken != code or name == "wrong meaning", (name, code)
                assert strings(code) == strings(broken) or name in MAY_CHANGE_STRINGS, (code, broken)
                cases.append((name, context, broken))
    seen: dict[str, Counter] = {name: Counter() for name in CORRUPTIONS}
    with Solver(limits=Limits(cpu_seconds=0.5)) as solver:
        outcomes = solver.run(Request(context + broken) for _, context, broken in cases)
        for (name, context, _), outcome in zip(cases, outcomes, strict=True):
            message = solver_message(outcome, context)
            assert message or outcome.passes
            expected, _ = EXPECTED[name]
            has_message = expected is not Verdict.OK or bool(message) or name == "wrong meaning"
            seen[name][outcome.verdict is expected and has_message] += 1
    for name, (_, share) in EXPECTED.items():
        assert seen[name].total() >= 20, name
        assert seen[name][True] >= share * seen[name].total(), (name, seen[name])


EDITS = [*FOREIGN_OPERATORS, *AGGREGATES_AND_COMMAS, *ILLEGAL_PLACES, *COLONS_AND_SETS]


@pytest.mark.parametrize("edit", EDITS, ids=[f"{pattern} {replacement}" for pattern, replacement in EDITS])
def test_clingo_rejects_what_each_edit_of_syntax_makes_of_some_rules(edit):
    """An edit that clingo always accepts would be drawn in vain."""
    pattern, replacement = edit
    rejected = made = 0
    for _, code in steps_in_context(5):
        if re.search(pattern, code) and rejected < 3:
            made += 1
            rejected += not parses(re.sub(pattern, replacement, code, count=1))
    assert not made or rejected > 0


def parses(code: str) -> bool:
    """Whether clingo parses a rule."""
    try:
        trees_of(code)
    except RuntimeError:
        return False
    return True


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
        ("period or neck", "a(1).\n#show a/1."),
    ],
)
def test_a_class_that_does_not_apply_returns_none(name, code):
    assert all(CORRUPTIONS[name].corrupt(code, Random(seed)) is None for seed in range(20))


def test_a_corruption_depends_on_the_random_generator_only():
    code = '{ a(X,"b(c)") : b(X) } = 1 :- c(X,Y), X != Y, not d(Y).'
    for name, corruption in CORRUPTIONS.items():
        corrupt = corruption.corrupt
        assert corruption.weight > 0
        first, second = ([corrupt(code, Random(seed)) for seed in range(5)] for _ in range(2))
        assert first == second, name
        broken = {corrupt(code, Random(seed)) for seed in range(30)}
        assert len(broken) > 1 or broken == {None} or name == "doubled braces"


def test_corruptions_of_operators_leave_strings_unchanged():
    code = 'a(X,"not b(c), (d,e) != 1.") :- b(X,"f,g"), X != "h;i".'
    for seed in range(300):
        for name in ("foreign operator", "colon or set", "period or neck", "illegal place"):
            broken = CORRUPTIONS[name].corrupt(code, Random(seed))
            assert broken is None or strings(broken) == strings(code), broken
