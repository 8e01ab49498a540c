"""Other wordings of instructions: read strictly, checked, and drawn in training conversations only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from scripts.asp.solver import Solver
from scripts.data.checks import check_problem
from scripts.data.conversion import convert
from scripts.data.problems import Collection, Problem, read_problem
from scripts.data.settings import ConversionSettings
from scripts.data.wordings import draw_wording, read_wordings, wording_faults
from utils_ft import BENCHMARKS, UserError

SETTINGS = ConversionSettings(conversations=4, repairs=0, vocabularies=1, retellings=False)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return read_problem(BENCHMARKS / "argumentation" / "bread_jury", "argumentation")


def test_every_training_problem_has_three_more_wordings_of_every_instruction(problems: list[Problem]) -> None:
    with_wordings = [problem for problem in problems if problem.wordings]
    assert len(with_wordings) >= 470
    for problem in with_wordings:
        instructions = [step.instruction for step in problem.encoding.instructed]
        assert set(problem.wordings) == set(instructions), problem.id
        assert all(len(set(texts)) >= 3 for texts in problem.wordings.values()), problem.id
        assert list(wording_faults(problem.wordings, instructions, problem.folder)) == []


def test_no_validation_or_test_problem_has_wordings(problems: list[Problem]) -> None:
    split = json.loads((BENCHMARKS / "split.json").read_text(encoding="utf-8"))
    held_out = {*split["valid"], *split["test"]}
    assert not [
        p.id for p in problems if p.wordings and (p.id in held_out or p.family in split["test_families"])
    ]


@pytest.mark.parametrize("text", ["[]", '{"a": "b"}', '{"a": [1]}', '{"a": [" "]}', "{", "null"])
def test_a_file_of_another_form_is_one_message(text: str, tmp_path: Path) -> None:
    (tmp_path / "wordings.json").write_text(text)
    with pytest.raises(UserError, match=r"wordings\.json"):
        read_wordings(tmp_path)


def test_a_wording_of_no_instruction_and_a_lost_text_are_faults(problem: Problem, solver: Solver) -> None:
    wrong = replace(problem, wordings={"No such instruction.": ("x",), 'Say "a".': ("Say b.",)})
    faults = [str(fault) for fault in check_problem(wrong, solver).faults]
    assert sum("no instruction of the encoding reads" in fault for fault in faults) == 2
    assert any('lacks "a"' in fault for fault in faults)


def test_the_first_conversation_keeps_the_original_wordings_and_the_others_draw(problem: Problem) -> None:
    collection = Collection([problem], {problem.id: "train"}, frozenset())
    rows, _ = convert(collection.problems, collection.splits, SETTINGS)
    conversations = [row for row in rows["train"] if row["meta"]["kind"] == "conversation"]
    original = [step.instruction for step in problem.encoding.instructed]
    asked = [[m["content"] for m in row["messages"] if m["role"] == "user"] for row in conversations]
    assert asked[0] == original
    assert all(row["meta"].get("wordings") == "drawn" for row in conversations[1:])
    own = [texts for texts, row in zip(asked, conversations, strict=True) if "vocabulary" not in row["meta"]]
    plain = [texts for texts, row in zip(own, conversations, strict=False)][1:]
    assert plain and all(sum(a != b for a, b in zip(texts, original, strict=True)) >= 4 for texts in plain)


def test_validation_keeps_the_original_wordings(problem: Problem) -> None:
    rows, _ = convert([problem], {problem.id: "valid"}, SETTINGS)
    original = [step.instruction for step in problem.encoding.instructed]
    assert [m["content"] for m in rows["valid"][0]["messages"] if m["role"] == "user"] == original


def test_each_wording_is_drawn() -> None:
    drawn = {draw_wording("a", {"a": ("b", "c")}, Random(seed)) for seed in range(40)}
    assert drawn == {"a", "b", "c"}
