"""The study of what each idea is worth: what an arm leaves out, how whole programs are judged, and a study that goes on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from scripts.data.conversion import convert_folder
from scripts.data.problems import read_problems
from scripts.evaluation import ablations
from scripts.evaluation.grader import graders_of
from scripts.lm import prompts
from scripts.training.recipe import load_profile
from utils_ft import BENCHMARKS, UserError


def a_row(**meta: object) -> dict:
    full = {"kind": "conversation", "naming": "original", "noise": False, "style": "original"} | meta
    return {
        "messages": prompts.conversation(
            "Some problem.", [("First.", "a."), ("Second.", "b :- a.\nc :- a.")]
        ),
        "meta": full,
    }


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> dict[str, list[dict]]:  # noqa: ANN001
    """The training rows of every arm that converts for itself, and of the reference, for six problems."""
    rows = {}
    for name in ("reference", *(name for name, arm in ablations.ARMS.items() if arm.convert)):
        folder = tmp_path_factory.mktemp(name)
        settings = load_profile("full").conversion(**ablations.ARMS[name].convert)
        convert_folder(BENCHMARKS, folder, settings, limit=6)
        rows[name] = [json.loads(line)["meta"] for line in (folder / "train.jsonl").read_text().splitlines()]
    return rows


def test_an_arm_leaves_out_what_it_is_named_after_and_nothing_else(converted: dict[str, list[dict]]) -> None:
    def shown(metas: list[dict]) -> set[str]:
        found = {"vocabulary" for meta in metas if meta.get("vocabulary")} | {
            "noise" for meta in metas if meta["noise"]
        }
        found |= {"renaming" for meta in metas if meta["naming"] != "original"}
        found |= {"paraphrases" for meta in metas if meta["style"] != "original"}
        return found | {"repair" for meta in metas if meta["kind"] == "repair"}

    everything = shown(converted["reference"])
    assert everything == {"vocabulary", "noise", "renaming", "paraphrases", "repair"}
    for name, metas in converted.items():
        assert shown(metas) == everything - {name.removeprefix("no_")}
        kinds = Counter(meta["kind"] for meta in metas)
        assert (
            kinds["conversation"]
            == Counter(meta["kind"] for meta in converted["reference"])["conversation"]
            == 40
        ), name
        assert name == "no_repair" or kinds["repair"] >= 30


def test_a_whole_program_is_one_exchange_and_a_repair_stays_as_it_is() -> None:
    repair = a_row(kind="repair")
    whole, kept = ablations.rows_of(ablations.ARMS["whole_program"], [a_row(), repair])
    system, asked, told = whole["messages"]
    assert system == a_row()["messages"][0]
    assert asked["role"] == "user" and asked["content"].endswith("\n\nFirst.\nSecond.")
    assert told == {"role": "assistant", "content": "a.\n\nb :- a.\nc :- a."}
    assert kept == repair


@dataclass(frozen=True)
class Scripted:
    """Answers with the same edit of every gold program."""

    edit: object

    def generate(self, conversations: list, on_done: object = None) -> list[str]:
        return [self.edit(text) for text in conversations]


def test_the_gold_program_in_one_turn_scores_on_every_step_and_a_shorter_one_on_those_it_has() -> None:
    problems = [problem for problem in read_problems(BENCHMARKS) if problem.family == "graphs"][:2]
    with Solver() as solver:
        graders = graders_of(problems, solver)
        gold = ["\n\n".join(code for _, code in grader.variant.steps) for grader in graders]
        answers = iter(gold)
        full = ablations.score_whole(Scripted(lambda _: f"```asp\n{next(answers)}\n```"), graders)
        answers = iter(gold)
        cut = ablations.score_whole(Scripted(lambda _: next(answers).split("\n\n")[0]), graders)
    assert len(full) == sum(len(grader.steps) for grader in graders) and all(item.equivalent for item in full)
    assert [item.equivalent for item in cut] == [item.index == 0 for item in cut]


def test_a_study_trains_scores_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = ablations.study(tmp_path, ("no_repair", "whole_program"), (0,), "smoke", 2, problems=1)
    assert list(table["arm"]) == ["no_repair", "whole_program"] and (table["tokens"] > 0).all()
    n = table["steps"][0]
    assert list(table["steps"]) == [n, n] and n > 2
    kept = json.loads((tmp_path / "study.json").read_text())
    assert [run["steps"]["n"] for runs in kept["arms"].values() for run in runs.values()] == [n, n]
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*-0/**/*.safetensors")}
    more = ablations.study(tmp_path, ("no_repair",), (0, 1), "smoke", 2, problems=1)
    assert list(more["arm"]) == ["no_repair", "whole_program"], "what was done before is in the table too"
    assert list(more["seeds"]) == [2, 1] and list(more["steps"]) == [n, n], "more seeds are not more steps"
    assert before and {file: file.stat().st_mtime_ns for file in before} == before, (
        "the first seed was not trained again"
    )
    with pytest.raises(UserError, match="another profile, recipe"):
        ablations.study(tmp_path, ("no_repair",), (0,), "smoke", 3, problems=1)
    monkeypatch.setattr(ablations, "SCORING_VERSION", ablations.SCORING_VERSION + 1)
    with pytest.raises(UserError, match="scoring version"):
        ablations.study(tmp_path, ("no_repair",), (0,), "smoke", 2, problems=1)


def test_a_difference_is_paired_and_knows_its_problems() -> None:
    def run(*right: int) -> dict:
        return {"by_problem": {f"p{number}": [hits, 10] for number, hits in enumerate(right)}}

    assert ablations.difference([run(5, 5, 5)], [run(4, 4, 4)]) == pytest.approx((10.0, 10.0, 10.0)), (
        "the same gain everywhere is certain"
    )
    gap, low, high = ablations.difference([run(9, 1, 5), run(9, 1, 5)], [run(1, 9, 5)])
    assert gap == 0.0 and low < -20 and high > 20
    assert ablations.difference([run(6), run(8)], [run(5)])[0] == pytest.approx(20.0), "seeds are averaged"
