"""The study of what each idea is worth: what an arm leaves out, how whole programs are judged, and a study that goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from scripts import prompts, study
from scripts.asp_solver import Solver
from scripts.benchmarks import read_problems
from scripts.judge import judges_of
from scripts.recipe import PROFILES
from utils_ft import BENCHMARKS, UserError


def a_row(**meta: object) -> dict:
    full = {"kind": "conversation", "naming": "original", "noise": False, "style": "original"} | meta
    return {"messages": prompts.conversation("Some problem.", [("First.", "a."), ("Second.", "b :- a.\nc :- a.")]), "meta": full}


@pytest.mark.parametrize(("arm", "meta"), [
    ("no_renaming", {"naming": "canonical"}), ("no_noise", {"noise": True}),
    ("no_repair", {"kind": "repair"}), ("no_paraphrases", {"style": "academic"}),
])
def test_an_arm_leaves_out_the_rows_it_is_named_after(arm: str, meta: dict) -> None:
    plain, special = a_row(), a_row(**meta)
    assert study.rows_of(study.ARMS["reference"], [plain, special]) == [plain, special]
    assert study.rows_of(study.ARMS[arm], [plain, special]) == [plain]
    with pytest.raises(UserError, match="no row is left"):
        study.rows_of(study.ARMS[arm], [special])


def test_a_whole_program_is_one_exchange_and_a_repair_stays_as_it_is() -> None:
    repair = a_row(kind="repair")
    whole, kept = study.rows_of(study.ARMS["whole_program"], [a_row(), repair])
    system, asked, told = whole["messages"]
    assert system == a_row()["messages"][0]
    assert asked["role"] == "user" and asked["content"].endswith("\n\nFirst.\nSecond.")
    assert told == {"role": "assistant", "content": "a.\n\nb :- a.\nc :- a."}
    assert kept == repair


@dataclass(frozen=True)
class Scripted:
    """Answers with the same edit of every gold program."""

    edit: object

    def answers(self, conversations: list, on_done: object = None) -> list[str]:
        return [self.edit(text) for text in conversations]


def test_the_gold_program_in_one_turn_scores_on_every_step_and_a_shorter_one_on_those_it_has() -> None:
    problems = [problem for problem in read_problems(BENCHMARKS) if problem.family == "graphs"][:2]
    with Solver() as solver:
        judges = judges_of(problems, solver)
        gold = ["\n\n".join(code for _, code in judge.variant.steps) for judge in judges]
        answers = iter(gold)
        full = study.score_whole(Scripted(lambda _: f"```asp\n{next(answers)}\n```"), judges)
        answers = iter(gold)
        cut = study.score_whole(Scripted(lambda _: next(answers).split("\n\n")[0]), judges)
    assert len(full) == sum(len(judge.steps) for judge in judges) and all(item.equivalent for item in full)
    assert [item.equivalent for item in cut] == [item.index == 0 for item in cut]


def test_a_study_trains_scores_and_does_nothing_twice(tmp_path: Path) -> None:
    table = study.study(tmp_path, ("no_repair", "whole_program"), (0,), "smoke", 2, problems=1)
    assert list(table["arm"]) == ["no_repair", "whole_program"] and (table["tokens"] > 0).all()
    n = table["steps"][0]
    assert list(table["steps"]) == [n, n] and n > 2
    kept = json.loads((tmp_path / "study.json").read_text())
    assert [run["steps"]["n"] for runs in kept["arms"].values() for run in runs.values()] == [n, n]
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*-0/**/*.safetensors")}
    more = study.study(tmp_path, ("no_repair",), (0, 1), "smoke", 2, problems=1)
    assert list(more["arm"]) == ["no_repair", "whole_program"], "what was done before is in the table too"
    assert list(more["seeds"]) == [2, 1] and list(more["steps"]) == [2 * n, n]
    assert before and {file: file.stat().st_mtime_ns for file in before} == before, "the first seed was not trained again"
    with pytest.raises(UserError, match="another profile, recipe"):
        study.study(tmp_path, ("no_repair",), (0,), "smoke", 3, problems=1)


def test_the_arm_without_vocabularies_converts_for_itself(tmp_path: Path, monkeypatch) -> None:  # noqa: ANN001
    """As many conversations of each problem, but all in the problem's own names."""
    chosen = replace(PROFILES["smoke"], conversations=3, problems=6, vocabularies=2)
    monkeypatch.setitem(PROFILES, "smoke", chosen)
    study.study(tmp_path, ("reference", "no_vocabulary"), (0,), "smoke", 1, problems=1)

    def conversations(name: str) -> list[dict]:
        rows = [json.loads(line) for line in (tmp_path / f"{name}-0" / "train.jsonl").read_text().splitlines()]
        return [row["meta"] for row in rows if row["meta"]["kind"] == "conversation"]

    told, untold = conversations("reference"), conversations("no_vocabulary")
    assert len(told) == len(untold) > 0
    assert any(meta.get("vocabulary") for meta in told) and not any(meta.get("vocabulary") for meta in untold)
