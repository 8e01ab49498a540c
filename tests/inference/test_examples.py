"""Few-shot prompts: which examples a question gets, and where they stand."""

from __future__ import annotations

import pytest

from scripts.asp.constructs import constructs
from scripts.data.problems import Problem, read_collection
from scripts.inference.examples import ExampleLibrary, with_shots
from scripts.lm import prompts
from tests.fakes import ScriptedGenerator


@pytest.fixture(scope="module")
def library() -> ExampleLibrary:
    """The examples from the shipped training problems."""
    return ExampleLibrary.of_training_problems()


def test_the_examples_are_steps_of_different_training_problems(library: ExampleLibrary) -> None:
    found = library.nearest("Choose exactly one colour for each node.", 4)
    splits = read_collection().splits
    assert len({example.problem for example in found}) == 4
    assert {splits[example.problem] for example in found} == {"train"}
    assert any("{" in example.code for example in found)


def test_the_examples_show_the_constructs_of_the_solution_more_often_than_the_first_steps_do(
    library: ExampleLibrary, problems: list[Problem]
) -> None:
    splits = read_collection().splits
    codes = {}
    for problem in problems:
        for step in problem.encoding.instructed:
            codes[step.code] = set().union(*(constructs(statement) for statement in step.statements))
    asked = [
        step for problem in problems if splits[problem.id] == "valid" for step in problem.encoding.instructed
    ][::20]

    def shown(examples: list) -> set[str]:
        return set().union(*(codes[example.code] for example in examples))

    nearest = sum(codes[step.code] <= shown(library.nearest(step.instruction, 4)) for step in asked)
    others = sum(
        codes[step.code] <= shown(list(library.steps[place * 40 :][:4])) for place, step in enumerate(asked)
    )
    assert nearest > 0.7 * len(asked) and nearest > 1.5 * others


def test_a_problem_is_no_example_for_its_own_steps(library: ExampleLibrary) -> None:
    example = library.steps[100]
    assert example.problem in {found.problem for found in library.nearest(example.instruction, 1)}
    beside = prompts.system(example.description)["content"]
    assert example.problem not in {found.problem for found in library.nearest(example.instruction, 4, beside)}


def test_examples_stand_in_the_last_message_of_steps_and_nowhere_else(library: ExampleLibrary) -> None:
    inner = ScriptedGenerator.in_order("a.")
    few_shot = with_shots(inner, library, 3)
    step = [*prompts.conversation("A map.", [("Say a.", "a.")]), prompts.step("Choose one colour.")]
    repair = prompts.repair("Choose.", "x(", "error")
    whole = prompts.program("A map.", ["colour/2"])
    assert few_shot.generate([step, repair, whole]) == ["a."] * 3
    assert inner.asked[0][:-1] == step[:-1] and inner.asked[1:] == [repair, whole]
    text = inner.asked[0][-1]["content"]
    assert text.count("\nAnswer:\n") == 3 and text.endswith("Now this one:\nChoose one colour.")
    few_shot.generate([prompts.repair("Choose one colour.", "x(", "error", step)])
    assert inner.asked.pop() == prompts.repair("Choose one colour.", "x(", "error", inner.asked[0])
    few_shot.sample([step], 2)
    assert inner.asked[3] == inner.asked[0] and inner.sampled[0][1] == 2
    assert few_shot.for_programs(9).generate([step]) == ["a."] and few_shot.usage is inner.usage
    assert with_shots(inner, None, 0) is inner
