"""The grader: which answers are equivalent, and which verdict the others get."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.asp.comparison import Relation, compare
from scripts.asp.solver import Limits, Solver, Verdict
from scripts.data.problems import Problem, read_problem, read_problems
from scripts.evaluation.evaluate import evaluate
from scripts.evaluation.grader import Grader, graders_of
from scripts.evaluation.items import Item
from scripts.evaluation.settings import EvaluationSettings, Part
from scripts.inference.attempts import check
from scripts.inference.repair_loop import LoopSettings, write_steps
from scripts.lm import prompts
from tests.examples import write_problem
from tests.fakes import ScriptedGenerator
from utils_ft import UserError

STEPS = Part("steps")
PROGRAMS = Part("programs", 0)


def graded(grader: Grader, index: int, output: str) -> Item:
    """The item for an output as answer to step `index`."""
    [attempt] = check([grader.requests()[index]], [output], grader.solver)
    return grader.step_item(STEPS, index, "", attempt)


def grader_of(tmp_path: Path, solver: Solver, encoding: str, **instances: str) -> Grader:
    """The grader of a problem with this encoding."""
    folder = write_problem(tmp_path / "family" / "problem", "Say a(X) for some X.", encoding, **instances)
    return Grader(read_problem(folder, "family"), solver)


def test_an_equivalent_rule_in_other_words_is_right(some_problems: list[Problem], solver: Solver) -> None:
    grader = Grader(some_problems[0], solver)
    for index, step in enumerate(grader.steps):
        addition = "% that is all\nzzz_unused :- not zzz_unused2, #false."
        assert graded(grader, index, f"{step.code}\n{addition}").verdict == "equal"


SEVERAL = (
    "% Any berth may be used, and a used berth is lit.\n{ used(X) } :- berth(X).\nlit(X) :- used(X).\n\n"
    "% At most one berth is used.\n:- used(X), used(Y), X < Y.\n"
)


def test_a_step_of_several_statements_is_graded_and_repaired_as_a_whole(
    tmp_path: Path, solver: Solver
) -> None:
    grader = grader_of(tmp_path, solver, SEVERAL, one="berth(1..3).")
    choice, definition = grader.steps[0].code.split("\n")
    assert graded(grader, 0, f"{definition}\n\n{choice}").verdict == "equal"
    for part in (choice, definition):
        assert not graded(grader, 0, part).equivalent
    broken = f"{choice}\nlit(X) :- used(X)"
    generator = ScriptedGenerator.in_order(broken, f"{choice} {definition}")
    [step] = write_steps(generator, grader.requests()[:1], LoopSettings(k=1), solver)
    assert [attempt.outcome.verdict for attempt in step.attempts] == [Verdict.SYNTAX, Verdict.OK]
    assert broken in generator.asked[-1][-1]["content"]
    assert grader.step_item(STEPS, 0, "", step.best, 2).equivalent


@pytest.mark.parametrize("nothing", ["", "  \n", "% a comment only", "%* no\ncode *%", "```\n```"])
def test_an_answer_without_code_does_not_parse(
    some_problems: list[Problem], solver: Solver, nothing: str
) -> None:
    grader = Grader(some_problems[0], solver)
    program = grader.program_item(PROGRAMS, prompts.code_of(nothing)[0], 1)
    for item in (graded(grader, 0, nothing), program):
        assert (item.parse, item.ground, item.equivalent, item.verdict) == (False, False, False, "syntax")
        assert item.evidence == "error: there is no code"


def test_two_programs_that_fail_are_not_equal(tmp_path: Path, solver: Solver) -> None:
    from scripts.asp.solver import Request

    for program in ("a :- b", "p(X).", "p(0). p(X+1) :- p(X)."):
        outcomes = list(solver.run([Request(program, solve=True, cpu_seconds=0.3)]))
        assert compare(outcomes, outcomes).relation is not Relation.EQUAL
    broken = grader_of(tmp_path, solver, "% Everything is a.\na(X).").problem
    with pytest.raises(UserError, match=r"encoding\.lp:\d+: clingo says unsafe on instance"):
        graders_of([broken], solver)


def test_an_endless_program_is_a_timeout(tmp_path: Path) -> None:
    endless = "a(0). a(X+1) :- a(X)."
    with Solver(1, Limits(cpu_seconds=0.3)) as impatient:
        grader = grader_of(tmp_path, impatient, "% Say a(1).\na(1).", one="b(1).")
        items = [graded(grader, 0, endless), grader.program_item(PROGRAMS, endless, 1)]
    for item in items:
        assert (item.verdict, item.parse, item.ground, item.equivalent) == ("timeout", True, False, False)
    generator = ScriptedGenerator.by_instruction(lambda _: endless)
    result = evaluate(generator, [grader.problem], EvaluationSettings(parts=("steps",)))
    assert result["per_verdict"] == {"steps": {"timeout": 1}}


@pytest.mark.parametrize(
    ("index", "code", "verdict"),
    [
        (0, "{ a(X) : b(X) }.", "equal"),
        (0, "{ a(X) } :- b(X).", "equal"),
        (0, "a(X) :- b(X).", "unsatisfiable"),
        (0, "{ a(X) ; b(X) }.", "unsafe"),
        (0, "{ a(X) : b(X) }", "syntax"),
        (0, "a(1).", "wrong"),
        (0, '#include "x".', "refused"),
        (0, "{ a(1..2); c(1..20) }.", "equal"),
        (2, "#show a/1. {c(1..20)}. #show c/1.", "undecided"),
        (1, ":- a(1), a(2). :- not a(1), not a(2).", "wrong"),
        (1, ":- a(1), a(2), ", "syntax"),
        (2, "#show.", "wrong"),
        (0, "{ a(X) : b(X) }. #program other.", "refused"),
        (0, "{ a(X) : b(X) }. #program base.", "equal"),
        (1, "[true]", "syntax"),
        (2, "%* not closed", "syntax"),
        (1, ":- a(1), a(2). %* not closed", "syntax"),
    ],
)
def test_each_answer_has_its_verdict(
    tmp_path: Path, solver: Solver, index: int, code: str, verdict: str
) -> None:
    encoding = "% Choose.\n{ a(X) : b(X) }.\n\n% Not both.\n:- a(1), a(2).\n\n% Show it.\n#show a/1."
    item = graded(grader_of(tmp_path, solver, encoding, one="b(1..2)."), index, code)
    assert (item.verdict, item.equivalent) == (verdict, verdict == "equal"), item.evidence


def test_given_code_that_cannot_stand_first_leaves_the_problem_out(tmp_path: Path, solver: Solver) -> None:
    """At the front, `#program` would put every step into a part that is never grounded: all would seem
    equal.
    """
    encoding = "% X is an a.\na(X) :- n(X).\n\n#program extra.\nb.\n"
    problem = grader_of(tmp_path, solver, encoding, one="n(1).").problem
    with pytest.raises(UserError, match=r"encoding\.lp:4: `#program extra\.` starts a part"):
        graders_of([problem], solver)


def test_a_problem_without_instructions_is_left_out_with_a_message(old_layout: Path, solver: Solver) -> None:
    write_problem(old_layout / "family" / "problem", "Say a(X) for some X.", "a(1).")
    graders, left_out = graders_of(read_problems(old_layout), solver)
    assert [grader.problem.name for grader in graders] == ["Colouring"]
    assert [str(entry.fault.where.name) for entry in left_out] == ["encoding.lp"]
    with pytest.raises(UserError, match=r"encoding\.lp:1: no statement has an instruction"):
        graders_of(read_problems(old_layout / "family"), solver)


@pytest.mark.parametrize(
    ("output", "code", "fenced"),
    [
        ("a :- b.", "a :- b.", False),
        ("```asp\na :- b.\n```", "a :- b.", True),
        ("```\na :- b.", "a :- b.", True),
        ("a :- b.\n```", "a :- b.", True),
        ("```a :- b.```", "a :- b.", True),
        ("```clingo4 code\na.\n```\nDone.", "a.", True),
        ("So:\n```lp\na.\n```", "a.", True),
        ("```\n```", "", True),
    ],
)
def test_the_code_in_a_fence_is_kept_as_it_is(output: str, code: str, fenced: bool) -> None:
    assert prompts.code_of(output) == (code, fenced)


CRANES = "% Any crane may run.\n{ on(X) } :- c(X).\n\n% No broken crane runs.\n:- on(X), broken(X).\n"
LOCKS = "% One gate opens.\n1 { left; right } 1.\n\n"
LOCKS += "% The left one is rusty.\n:- left.\n\n% So is the right one.\n:- right.\n"


@pytest.mark.parametrize(
    ("encoding", "facts", "tested", "reason"),
    [
        (CRANES, "c(1..2).", 1, "no instance tests this step"),
        (LOCKS, "water.", 0, "no instance has an answer set"),
    ],
    ids=["a step", "a problem"],
)
def test_what_nothing_tests_is_in_no_rate_and_is_named(
    tmp_path: Path, solver: Solver, encoding: str, facts: str, tested: int, reason: str
) -> None:
    problem = grader_of(tmp_path, solver, encoding, i=facts).problem
    generator = ScriptedGenerator.by_instruction(lambda _: "anything(goes).")
    figures = evaluate(generator, [problem], EvaluationSettings(parts=("steps",)))
    steps = len(problem.encoding.instructed)
    assert (figures["steps"]["n"], figures["steps"]["n_untested"]) == (tested, steps - tested)
    assert sum(figures["per_verdict"].get("steps", {}).values()) == tested
    named = [(entry["problem"], entry["index"], entry["reason"]) for entry in figures["untested"]]
    assert named == [(problem.id, index, reason) for index in range(tested, steps)]


def test_parts_are_reported_with_their_line(tmp_path: Path, solver: Solver) -> None:
    encoding = "% It is high.\n#program base.\nhigh(0).\n\n"
    encoding += "#program step(t).\n\n% It stays.\nhigh(t) :- high(t-1).\n"
    problem = grader_of(tmp_path, solver, encoding, i="moon.").problem
    with pytest.raises(UserError, match=r"encoding\.lp:5: `#program step\(t\)\.` starts a part"):
        graders_of([problem], solver)


def test_an_evaluation_goes_on_without_problems_that_cannot_be_used(tmp_path: Path, solver: Solver) -> None:
    good = grader_of(tmp_path, solver, "% Say a(1).\na(1).", one="b.").problem
    folder = write_problem(tmp_path / "family" / "broken", "Say a(X).", "% All.\na(X).", one="b.")
    generator = ScriptedGenerator.by_instruction(lambda _: "a(1).")
    settings = EvaluationSettings(parts=("steps",))
    figures = evaluate(generator, [read_problem(folder, "family"), good], settings)
    assert figures["steps"]["n"] == 1 and figures["steps"]["equivalent"] == 1.0
    [entry] = figures["left_out"]
    assert entry["problem"] == "family/broken" and entry["line"] == 2 and entry["remedy"]
