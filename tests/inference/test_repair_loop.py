"""The repair loop: its prompts are those of the training data, it repairs at most k times, samples are put
to the vote.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.asp.solver import Solver
from scripts.data.conversion import convert
from scripts.data.problems import Problem
from scripts.data.settings import ConversionSettings
from scripts.evaluation.grader import Grader
from scripts.inference.attempts import StepResult
from scripts.inference.repair_loop import REDRAWN, LoopSettings, write_steps
from scripts.inference.requests import StepRequest, Unanswered
from scripts.lm import prompts
from tests.asp.hostile import UNSAFE_POOLS
from tests.fakes import ScriptedGenerator, instruction_of
from tests.inference.colouring import FACTS

DO = StepRequest([prompts.step("Do.")], "Do.", "")


def write(generator: ScriptedGenerator, k: int, solver: Solver, request: StepRequest = DO) -> StepResult:
    """One step of the plain loop."""
    [step] = write_steps(generator, [request], LoopSettings(k), solver)
    return step


def answers(*texts: str) -> ScriptedGenerator:
    """A generator that answers "Do." with `texts`, one after another."""
    return ScriptedGenerator.by_list({"Do.": list(texts)})


def codes(step: StepResult) -> list[str]:
    """The code of each attempt."""
    return [attempt.code for attempt in step.attempts]


def test_a_repair_prompt_is_the_prompt_of_the_training_row(solver: Solver, problems: list[Problem]) -> None:
    """For the same broken step in the same context, the conversion and the loop build the same messages."""
    problem = next(problem for problem in problems if problem.family == "graphs")
    settings = ConversionSettings(conversations=0, repairs=8)
    rows = convert([problem], {problem.id: "train"}, settings)[0]["train"]
    rows = [row for row in rows if row["meta"]["corruption"] not in ("answer sets differ", "unsatisfiable")]
    assert len(rows) > 3
    for row in rows:
        meta = row["meta"]
        instruction = instruction_of(row["messages"][:-1])
        generator = ScriptedGenerator.by_list({instruction: [meta["broken"], meta["fixed"]]})
        request = StepRequest([prompts.step(instruction)], instruction, meta["context"])
        step = write(generator, 1, solver, request)
        assert step.ok and step.code == meta["fixed"]
        if prompts.code_of(meta["broken"])[1]:  # the loop removes a fence itself, so it has nothing to ask
            assert len(generator.asked) == 1
        else:
            assert generator.asked[1] == row["messages"][:-1]


def test_a_repair_in_the_conversation_is_the_prompt_of_the_training_row(
    solver: Solver, problems: list[Problem]
) -> None:
    problem = next(problem for problem in problems if problem.family == "graphs")
    settings = ConversionSettings(conversations=0, repairs=8, repairs_in_conversation=1.0)
    rows = convert([problem], {problem.id: "valid"}, settings)[0]["valid"]
    rows = [row for row in rows if row["meta"]["kind"] == "repair"]
    rows = [row for row in rows if row["meta"]["corruption"] not in ("answer sets differ", "unsatisfiable")]
    rows = [row for row in rows if not prompts.code_of(row["meta"]["broken"])[1]]
    assert len(rows) > 3
    asked = Grader(problem, solver).requests()
    for row in rows:
        meta = row["meta"]
        assert meta["form"] == "conversation"
        request = replace(asked[meta["step"]], context=meta["context"])
        generator = ScriptedGenerator.by_list({meta["instruction"]: [meta["broken"], meta["fixed"]]})
        [step] = write_steps(generator, [request], LoopSettings(1, repair="conversation"), solver)
        assert step.ok and step.code == meta["fixed"]
        assert generator.asked == [request.messages, row["messages"][:-1]]


def test_a_repair_in_the_conversation_sees_the_last_attempt_only(solver: Solver) -> None:
    task = StepRequest(
        [*prompts.conversation("A map.", [("Say b.", "b.")]), prompts.step("Do.")], "Do.", "b.\n"
    )
    generator = answers("a :- b", "", "a(X).", "a.")
    [step] = write_steps(generator, [task], LoopSettings(3, repair="conversation"), solver)
    assert step.ok and codes(step) == ["a :- b", "", "a(X).", "a."]
    for attempt, messages in zip(step.attempts, generator.asked[1:], strict=False):
        assert prompts.split_repair(messages)[0] == messages[:-2] == task.messages
        assert messages[-2] == {"role": "assistant", "content": attempt.code or "%"}
        assert messages[-1]["role"] == "user" and attempt.message in messages[-1]["content"]
    assert prompts.split_repair(task.messages) == (task.messages, [])


@pytest.mark.parametrize("k", [0, 1, 3])
def test_there_are_at_most_k_repairs_and_the_last_of_equal_attempts_is_the_best(
    k: int, solver: Solver
) -> None:
    broken = ["a :- b", "a :- c", "a :- d", "a :- e"]
    generator = answers(*broken, "a.")
    step = write(generator, k, solver)
    assert codes(step) == broken[: k + 1] and not step.ok and step.code == broken[k]
    assert len(generator.asked) == k + 1


def test_an_accepted_repair_ends_the_loop(solver: Solver) -> None:
    generator = answers("a :- b", "a :- c", "a.", "b.")
    step = write(generator, 3, solver)
    assert step.ok and step.code == "a." and len(step.attempts) == len(generator.asked) == 3
    assert [step.after(k).code for k in range(5)] == ["a :- b", "a :- c", "a.", "a.", "a."]


def test_a_worse_repair_does_not_replace_a_better_attempt(solver: Solver) -> None:
    step = write(answers("a(X).", "a :- b", "a(Y).", "a :- c"), 3, solver)
    assert [step.after(k).code for k in range(5)] == ["a(X).", "a(X).", "a(Y).", "a(Y).", "a(Y)."]


def test_a_repair_that_changes_nothing_is_drawn_again_and_ends_the_loop_if_it_changes_nothing_again(
    solver: Solver,
) -> None:
    def attempts(sample: str) -> StepResult:
        generator = ScriptedGenerator.by_list(
            {"Do.": ["a :- b", "a :- c", "a :- c", "a :- d", "a :- d", "b."]}, {"Do.": [sample] * 6}
        )
        step = write(generator, 9, solver)
        assert set(generator.sampled) == {("Do.", REDRAWN)}, (
            "samples only where the greedy repair is the same"
        )
        return step

    repaired = attempts("a.")
    assert repaired.ok and codes(repaired) == ["a :- b", "a :- c", "a."]
    stuck = attempts("a :- c")
    assert not stuck.ok and codes(stuck) == ["a :- b", "a :- c", "a :- c"]
    other = attempts("a :- x")
    assert codes(other) == ["a :- b", "a :- c", "a :- x", "a :- d", "a :- x", "b."], (
        "not better, but not the same"
    )


def test_a_draft_is_the_first_answer(solver: Solver) -> None:
    generator = answers("first.", "a.")
    drafted = StepRequest([prompts.step("Do.")], "Do.", "", draft="a :- b")
    steps = write_steps(generator, [DO, drafted], LoopSettings(1), solver)
    assert [codes(step) for step in steps] == [["first."], ["a :- b", "a."]]
    assert generator.asked == [DO.messages, prompts.repair("Do.", "a :- b", steps[1].attempts[0].message)]


# --- samples ---


def best(solver: Solver, greedy: str, *samples: str) -> str:
    """The code that is chosen among a greedy answer and samples, with an instance."""
    generator = ScriptedGenerator.by_list({"Do.": [greedy]}, {"Do.": list(samples)})
    request = StepRequest([prompts.step("Do.")], "Do.", FACTS + "\n", solve=True)
    [step] = write_steps(generator, [request], LoopSettings(0, 1 + len(samples)), solver)
    return step.code


def test_the_sample_that_passes_the_most_checks_is_chosen(solver: Solver) -> None:
    unsafe, no_syntax = "p(X).", "p("
    good, unsatisfiable = "paint(N,red) :- node(N).", "paint(N,red) :- node(N). :- node(1)."
    assert best(solver, no_syntax, no_syntax, unsafe, good) == good
    assert best(solver, no_syntax, no_syntax, unsafe) == unsafe
    assert best(solver, unsafe, no_syntax, unsatisfiable) == unsatisfiable
    assert best(solver, unsatisfiable, good) == good
    assert best(solver, unsafe, "p(Y).", no_syntax) == unsafe, (
        "the greedy answer stays if no sample is better"
    )
    assert best(solver, no_syntax, "% I am sorry", "") == no_syntax, "no code at all is the worst"


def test_among_samples_that_pass_the_same_checks_the_most_common_answer_sets_win(solver: Solver) -> None:
    red, also_red = "paint(N,red) :- node(N).", "paint(M,red) :- node(M)."
    green = "paint(N,green) :- node(N)."
    assert best(solver, green, red, also_red) == red, "two texts with the same answer sets"
    assert best(solver, green, red, "p(X).", "p(") == green, "one vote each: the greedy answer"
    assert best(solver, "p(", red, green, also_red) == red


def test_with_too_many_answer_sets_the_vote_compares_the_code(solver: Solver) -> None:
    many, same_sets = "{ a(1..20) }.", "{ a(1..10) ; a(11..20) }."
    red, also_red = "paint(N,red) :- node(N).", "paint(M,red) :- node(M)."
    assert best(solver, many, red, also_red, same_sets) == red


# --- prompts that are too long ---


def test_a_repair_prompt_is_short_whatever_the_solver_says(solver: Solver) -> None:
    """Before, 59 characters of code made a prompt of 59,000."""
    generator = answers(UNSAFE_POOLS, ":- N < M, " + ", ".join(["day(1;2;3)"] * 6) + ".", "a.")
    step = write(generator, 2, solver)
    assert step.ok
    for messages in generator.asked[1:]:
        assert len(messages[-1]["content"]) < 1300 and "is unsafe" in messages[-1]["content"]


def test_a_step_whose_prompt_does_not_fit_fails_with_the_reason_and_is_not_asked_again(
    solver: Solver,
) -> None:
    unanswered = ScriptedGenerator(lambda _messages, _number: Unanswered("error: the prompt is too long"))
    for settings in (LoopSettings(3), LoopSettings(3, samples=2)):
        [step] = write_steps(unanswered, [DO], settings, solver)
        assert not step.ok and len(step.attempts) == 1
        assert step.best.message == "error: the prompt is too long"
