"""The parts of an evaluation, with a generator whose answers are known."""

from __future__ import annotations

import pytest

from scripts.asp.solver import Outcome, Verdict
from scripts.data.problems import Problem
from scripts.evaluation.evaluate import evaluate
from scripts.evaluation.parts import changes_code
from scripts.evaluation.scores import Figures
from scripts.evaluation.settings import EvaluationSettings
from scripts.inference.attempts import Attempt
from scripts.lm import prompts
from tests.fakes import ScriptedGenerator

by_instruction = ScriptedGenerator.by_instruction


def test_gold_code_scores_one_on_everything(
    gold_figures: Figures, gold: dict[str, str], some_problems: list[Problem]
) -> None:
    assert gold_figures["steps"]["n"] == len(gold) and gold_figures["repair"]["n"] >= len(some_problems)
    assert set(gold_figures["programs"]) == {"k0", "k3"} and set(gold_figures["loop"]) == {"k3"}
    assert [gold_figures["steps"][name] for name in ("parse", "ground", "equivalent")] == [1.0] * 3
    assert [gold_figures["repair"][name] for name in ("fixed", "equivalent")] == [1.0] * 2
    for rates in gold_figures["programs"].values():
        assert rates["n"] == len(some_problems) and rates["parse"] == rates["equivalent"] == 1.0
    assert gold_figures["loop"]["k3"]["equivalent"] == 1.0
    items = gold_figures["verdicts"]
    assert {item["verdict"] for item in items} == {"equal"}
    assert {item["tries"] for item in items if item["part"] in ("steps", "loop k3")} == {1}


def test_answers_without_code_score_zero(some_problems: list[Problem]) -> None:
    settings = EvaluationSettings(("steps", "loop", "programs"), k=(0, 1))
    result = evaluate(by_instruction(lambda _: ""), some_problems[:2], settings)
    for rates in (result["steps"], result["loop"]["k1"], *result["programs"].values()):
        assert rates["n"] and rates["parse"] == rates["equivalent"] == 0.0
    assert set(result["per_verdict"]["steps"]) == {"syntax"}


def test_a_wrong_but_valid_answer_is_never_equivalent(some_problems: list[Problem]) -> None:
    unrelated = by_instruction(lambda _: "zzz_unrelated(1).")
    result = evaluate(unrelated, some_problems, EvaluationSettings(k=(0,)))
    for rates in (result["steps"], *result["programs"].values()):
        assert rates["parse"] == 1.0 and rates["equivalent"] == 0.0
    assert result["steps"]["ground"] == 1.0
    assert not {"equal", "syntax", "unsafe"} & set(result["per_verdict"]["steps"])
    repairs = [item for item in result["verdicts"] if item["part"] == "repair"]
    assert len(repairs) > 9 and result["repair"]["fixed"] == result["repair"]["equivalent"] == 0.0
    assert result["loop"] == {}, "the loop without repairs and samples is the part `steps`"
    assert all(item["evidence"] for item in result["verdicts"])


@pytest.mark.parametrize("constant", ["#true.", "x :- x.", "#program foo.", ":- #false.", "[1]"])
def test_no_constant_repairs_anything(some_problems: list[Problem], constant: str) -> None:
    """Before, `#true.` had 88 % of all repairs fixed."""
    settings = EvaluationSettings(("repair",))
    result = evaluate(by_instruction(lambda _: constant), some_problems[:2], settings)
    assert result["repair"]["n"] > 9 and result["repair"]["fixed"] == 0.0


def test_a_repair_of_wrong_answer_sets_must_have_the_right_ones(some_problems: list[Problem]) -> None:
    unrelated = by_instruction(lambda _: "zzz_unrelated(1).")
    items = evaluate(unrelated, some_problems, EvaluationSettings(("repair",)))["verdicts"]
    differing = [item for item in items if item["corruption"] == "answer sets differ"]
    assert differing and not any(item["fixed"] for item in differing)


def test_a_fence_is_removed_and_counted_and_prose_is_not(
    some_problems: list[Problem], gold: dict[str, str]
) -> None:
    styles = [
        lambda code: f"```prolog\n{code}\n```",
        lambda code: f"Here you are:\n```\n{code}\n```\nThat is it.",
        lambda code: f"Sure! {code}",
        lambda code: code,
    ]
    order = {instruction: index for index, instruction in enumerate(gold)}
    generator = by_instruction(lambda text: styles[order[text] % 4](gold[text]))
    result = evaluate(generator, some_problems, EvaluationSettings(("steps",)))
    for index, item in enumerate(result["verdicts"]):
        assert item["fenced"] == (index % 4 < 2)
        assert item["verdict"] == ("syntax" if index % 4 == 2 else "equal")
    assert result["steps"]["fenced"] == sum(index % 4 < 2 for index in range(len(gold)))


def test_a_repair_that_repeats_the_broken_code_fixes_nothing(some_problems: list[Problem]) -> None:
    """Not even if a fence was the only error: the evaluation removes a fence itself."""

    def echo(messages: list[prompts.Message], _number: int) -> str:
        return messages[-1]["content"].split("\n\nCode:\n")[1].split("\n\nSolver:\n")[0]

    generator = ScriptedGenerator(echo)
    for seed in range(4):  # other repairs for each seed, because fences are rare
        before = len(generator.asked)
        result = evaluate(generator, some_problems, EvaluationSettings(("repair",), seed=seed))
        assert result["repair"]["n"] == len(generator.asked) - before > 10
        assert result["repair"]["fixed"] == result["repair"]["equivalent"] == 0.0
    assert any("```" in messages[-1]["content"] for messages in generator.asked)


@pytest.mark.parametrize(
    ("broken", "output", "changed"),
    [
        ("```asp\na :- b.\n```", "```\na :- b.\n```", False),  # another fence
        ("```asp\na :- b.\n```", "a :- b.", True),
        ("a :- b", "```\na :- b\n```", False),
        ("a :- b", "a :- b.", True),
        ("a :- b", "a :- b", False),
    ],
)
def test_another_fence_is_no_change(broken: str, output: str, changed: bool) -> None:
    attempt = Attempt(output, *prompts.code_of(output), Outcome(Verdict.OK), "")
    assert changes_code(broken, attempt) == changed


def test_the_loop_repairs_what_the_plain_model_gets_wrong(
    some_problems: list[Problem], gold: dict[str, str]
) -> None:
    generator = by_instruction(lambda text: gold[text][:-1], repair=gold.__getitem__)
    settings = EvaluationSettings(("steps", "loop", "programs"), k=(0, 1, 3))
    result = evaluate(generator, some_problems[:2], settings)
    assert result["steps"]["parse"] == 0.0
    assert result["loop"].keys() == {"k1", "k3"} and result["loop"]["k1"]["equivalent"] == 1.0
    equivalent = {setting: rates["equivalent"] for setting, rates in result["programs"].items()}
    assert equivalent == {"k0": 0.0, "k1": 1.0, "k3": 1.0}
    assert {item["tries"] for item in result["verdicts"] if item["part"].startswith("loop")} == {2}
    repairs = [messages for messages in generator.asked if messages[0]["content"] == prompts.REPAIR_PERSONA]
    assert all("error: syntax error" in messages[-1]["content"] for messages in repairs)


def test_repairs_may_go_on_in_the_conversation(old_problems: list[Problem]) -> None:
    """Both ways ask for the same repairs, and the loop asks in the conversation of the step."""
    [problem] = old_problems
    steps = {step.instruction: step.code for step in problem.encoding.instructed}
    found = {}
    for prompt in prompts.REPAIR_PROMPTS:
        generator = by_instruction(lambda text: steps[text][:-1], repair=steps.__getitem__)
        settings = EvaluationSettings(("steps", "loop", "repair", "programs"), repair_prompt=prompt)
        found[prompt] = evaluate(generator, old_problems, settings)
        repairs = [messages for messages in generator.asked if "Solver:" in messages[-1]["content"]]
        assert len(repairs) > 4
        for messages in repairs:
            seen = problem.description in messages[0]["content"]
            assert seen == (len(messages) > 2) == (prompt == "conversation")
    turn, conversation = found.values()
    assert turn["repair"] == conversation["repair"] and turn["repair"]["fixed"] == 1.0
    questions, others = (
        [item["prompt"] for item in result["verdicts"] if item["part"] == "repair"]
        for result in found.values()
    )
    assert questions == others and all(text.startswith("Instruction: ") for text in questions)
    assert conversation["loop"] == {"k3c": turn["loop"]["k3"]}
    assert set(conversation["programs"]) == {"k0", "k3c"}


def test_each_step_is_asked_after_the_gold_steps_before_it(some_problems: list[Problem]) -> None:
    generator = by_instruction(lambda _: "zzz(1).")
    evaluate(generator, some_problems[:1], EvaluationSettings(("steps",)))
    encoding = some_problems[0].encoding
    description = prompts.describe(some_problems[0].description, encoding.given)
    for number, messages in enumerate(generator.asked):
        history = [(step.instruction, step.code) for step in encoding.instructed[:number]]
        assert messages[:-1] == prompts.conversation(description, history)


def test_a_problem_in_the_predecessors_layout_can_be_scored(old_problems: list[Problem]) -> None:
    steps = {step.instruction: step.code for step in old_problems[0].encoding.instructed}
    result = evaluate(by_instruction(steps.__getitem__), old_problems)
    assert result["steps"]["n"] == 2
    assert result["steps"]["equivalent"] == result["repair"]["equivalent"] == 1.0
    assert result["programs"]["k0"]["equivalent"] == result["programs"]["k3"]["equivalent"] == 1.0
    settings = EvaluationSettings(("steps", "programs"), k=(0,))
    wrong = evaluate(by_instruction(lambda _: "zzz(1)."), old_problems, settings)
    assert wrong["steps"]["equivalent"] == wrong["programs"]["k0"]["equivalent"] == 0.0
