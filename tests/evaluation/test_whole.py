"""Whole programs in one answer: the prompt, and grading on the shown predicates on all instances."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from scripts.data.problems import Problem, read_problems
from scripts.evaluation.evaluate import evaluate
from scripts.evaluation.settings import EvaluationSettings
from scripts.evaluation.whole import contract_of, score_whole_programs, whole_task, whole_tasks
from tests.examples import write_problem
from tests.fakes import ScriptedGenerator
from utils_ft import UserError

GOLD = """% One colour each.
{ paint(N,(red;green)) } = 1 :- node(N).

% Neighbours differ.
:- edge(N,M), paint(N,C), paint(M,C).

% Few red nodes.
#minimize { 1,N : paint(N,red) }.

% Show it.
#show paint/2.
"""
RIGHT = """1 { paint(N,red); paint(N,green) } 1 :- node(N).
helper(N) :- node(N).
:- edge(N,M), paint(N,C), paint(M,C).
:~ paint(N,red). [7@3,N]
#show helper/1."""


@pytest.fixture
def colouring(tmp_path: Path) -> Problem:
    """A problem with two instances."""
    write_problem(
        tmp_path / "f" / "colouring",
        "Colour the nodes.",
        GOLD,
        two="node(1..2). edge(1,2).",
        three="node(1..3). edge(1,2). edge(2,3).",
    )
    return read_problems(tmp_path)[0]


def verdict(problem: Problem, solver: Solver, output: str) -> str:
    """The verdict on an answer."""
    [item] = score_whole_programs(ScriptedGenerator.in_order(output), [whole_task(problem, solver)], solver)
    return item.verdict


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (RIGHT, "equal"),
        (f"Here it is:\n```\n{RIGHT}\n```", "equal"),
        (RIGHT + "\n#show.", "equal"),
        (RIGHT + "\n#show paint(N,C) : paint(N,C).", "equal"),
        (RIGHT.replace("red). [", "green). ["), "wrong"),
        (RIGHT + "\n:- node(3).", "unsatisfiable"),
        (RIGHT + "\nx(Y) :- not z.", "unsafe"),
        (RIGHT + "\np(", "syntax"),
        (RIGHT + '\n#include "a.lp".', "refused"),
        ("", "syntax"),
        ("% nothing", "syntax"),
        ("{ paint(1..11,1..11) }.", "undecided"),
    ],
)
def test_a_program_is_graded_on_the_shown_predicates_of_all_instances(
    colouring: Problem, solver: Solver, output: str, expected: str
) -> None:
    assert verdict(colouring, solver, output) == expected


def test_expected_answer_sets_are_read_in_place_of_a_gold_program(colouring: Problem, solver: Solver) -> None:
    (colouring.folder / "encoding.lp").unlink()
    for name, sets in {
        "two": [["paint(1, red)", "paint(2, green)"], ["paint(1,green)", "paint(2,red)"]]
    }.items():
        (colouring.folder / "instances" / f"{name}.json").write_text(json.dumps({"answer_sets": sets}))
    [problem] = read_problems(colouring.folder.parent.parent)
    with pytest.raises(UserError, match="no expected answer sets, though others have"):
        whole_task(problem, solver)
    (colouring.folder / "instances" / "three.lp").unlink()
    [problem] = read_problems(colouring.folder.parent.parent)
    assert verdict(problem, solver, RIGHT) == "equal"
    assert verdict(problem, solver, RIGHT + "\n:- paint(1,red).") == "wrong"
    figures = evaluate(ScriptedGenerator.in_order(RIGHT), [problem], EvaluationSettings(("whole",)))
    assert figures["whole"]["equivalent"] == 1.0 and figures["steps"]["n"] == 0
    assert figures["verdicts"][0]["gold"] == ""


def test_the_prompt_has_the_description_and_the_contract_and_no_gold_code(
    colouring: Problem, solver: Solver
) -> None:
    generator = ScriptedGenerator.in_order(RIGHT)
    evaluate(generator, [colouring], EvaluationSettings(("whole",)))
    [[system, question]] = generator.asked
    assert question["content"].startswith("Colour the nodes.") and "paint/2" in question["content"]
    assert ":-" not in system["content"] + question["content"]


def test_the_gold_programs_of_shipped_problems_are_right(
    some_problems: list[Problem], solver: Solver
) -> None:
    tasks, left_out = whole_tasks(some_problems, solver)
    assert not left_out
    answers = {task.prompt[-1]["content"]: task.problem.encoding.program for task in tasks}
    generator = ScriptedGenerator(lambda messages, _: answers[messages[-1]["content"]])
    assert {item.verdict for item in score_whole_programs(generator, tasks, solver)} == {"equal"}
    assert all(task.contract and set(task.contract) == contract_of(task.problem.encoding) for task in tasks)


def test_a_problem_without_instances_is_left_out(
    old_problems: list[Problem], colouring: Problem, solver: Solver
) -> None:
    with pytest.raises(UserError, match="the problem has no instances") as caught:
        whole_tasks(old_problems, solver)
    assert "NAME.json" in str(caught.value)
    tasks, [entry] = whole_tasks([*old_problems, colouring], solver)
    assert [task.problem for task in tasks] == [colouring] and entry.problem == old_problems[0].id
    settings = EvaluationSettings(("whole",))
    figures = evaluate(ScriptedGenerator.in_order(RIGHT), [*old_problems, colouring], settings)
    assert [record["problem"] for record in figures["left_out"]] == [entry.problem]
