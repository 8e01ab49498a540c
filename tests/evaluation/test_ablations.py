"""The ablation study: what an arm leaves out, how whole programs are graded, and a study that continues."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from scripts.data.conversion import convert_folder
from scripts.data.problems import Problem
from scripts.evaluation import ablations, results
from scripts.evaluation.arms import ARMS
from scripts.evaluation.grader import graders_of
from scripts.lm import prompts
from scripts.training.recipe import load_profile
from tests.fakes import ScriptedGenerator
from utils_ft import BENCHMARKS, UserError


def a_row(**meta: object) -> dict:
    """A conversation with two steps, as a row."""
    steps = [("First.", "a."), ("Second.", "b :- a.\nc :- a.")]
    full = {"kind": "conversation", "naming": "original", "noise": False, "style": "original"} | meta
    return {"messages": prompts.conversation("Some problem.", steps), "meta": full}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """The meta of the training rows of six problems, for the reference and each arm with other conversion
    settings.
    """
    rows = {}
    for name in ("reference", *(name for name, arm in ARMS.items() if arm.convert)):
        folder = tmp_path_factory.mktemp(name)
        settings = load_profile("full").conversion(**ARMS[name].convert)
        convert_folder(BENCHMARKS, folder, settings, limit=6)
        rows[name] = [json.loads(line)["meta"] for line in (folder / "train.jsonl").read_text().splitlines()]
    return rows


def test_an_arm_leaves_out_what_it_is_named_after_and_nothing_else(converted: dict[str, list[dict]]) -> None:
    def shown(metas: list[dict]) -> set[str]:
        tests = {
            "vocabulary": lambda meta: meta.get("vocabulary"),
            "retelling": lambda meta: meta.get("retelling"),
            "noise": lambda meta: meta["noise"],
            "renaming": lambda meta: meta["naming"] != "original",
            "paraphrases": lambda meta: meta["style"] != "original",
            "repair": lambda meta: meta["kind"] == "repair",
        }
        return {name for name, test in tests.items() if any(test(meta) for meta in metas)}

    everything = shown(converted["reference"])
    assert everything == {"retelling", "noise", "renaming", "paraphrases", "repair"}
    for name, metas in converted.items():
        added = {name} & {"vocabulary"}
        assert shown(metas) == (everything | added) - {name.removeprefix("no_")} | added
        kinds = Counter(meta["kind"] for meta in metas)
        assert kinds["conversation"] == 40, name
        assert name == "no_repair" or kinds["repair"] >= 30


def test_a_whole_program_is_one_exchange_and_a_repair_stays_as_it_is() -> None:
    repair = a_row(kind="repair")
    whole, same = ARMS["whole_program"].rows([a_row(), repair])
    system, question, answer = whole["messages"]
    assert system == a_row()["messages"][0]
    assert question["role"] == "user" and question["content"].endswith("\n\nFirst.\nSecond.")
    assert answer == {"role": "assistant", "content": "a.\n\nb :- a.\nc :- a."}
    assert same == repair


def test_a_program_in_one_turn_is_graded_paragraph_by_paragraph(
    problems: list[Problem], solver: Solver
) -> None:
    two = [problem for problem in problems if problem.family == "graphs"][:2]
    graders, _ = graders_of(two, solver)
    gold = ["\n\n".join(code for _, code in grader.variant.steps) for grader in graders]
    fenced = ScriptedGenerator.in_order(*(f"```asp\n{program}\n```" for program in gold))
    full = ablations.score_whole(fenced, graders)
    assert len(full) == sum(len(grader.steps) for grader in graders) and all(item.equivalent for item in full)
    first_only = ScriptedGenerator.in_order(*(program.split("\n\n")[0] for program in gold))
    items = ablations.score_whole(first_only, graders)
    assert [item.equivalent for item in items] == [item.index == 0 for item in items]


def test_a_study_trains_and_scores_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = ablations.study(tmp_path, ("no_repair", "whole_program"), (0,), "smoke", 2, problems=1)
    assert list(table["arm"]) == ["no_repair", "whole_program"] and (table["tokens"] > 0).all()
    n = table["steps"][0]
    assert list(table["steps"]) == [n, n] and n > 2
    stored = json.loads((tmp_path / "study.json").read_text())
    assert [run["steps"]["n"] for runs in stored["arms"].values() for run in runs.values()] == [n, n]
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*-0/**/*.safetensors")}
    more = ablations.study(tmp_path, ("no_repair",), (0, 1), "smoke", 2, problems=1)
    assert list(more["arm"]) == ["no_repair", "whole_program"], "the table has the stored arms too"
    assert list(more["seeds"]) == [2, 1] and list(more["steps"]) == [n, n], "more seeds are not more steps"
    assert before and {file: file.stat().st_mtime_ns for file in before} == before, (
        "seed 0 is not trained again"
    )
    with pytest.raises(UserError, match="another profile, recipe"):
        ablations.study(tmp_path, ("no_repair",), (0,), "smoke", 3, problems=1)
    monkeypatch.setattr(results, "SCORING_VERSION", results.SCORING_VERSION + 1)
    with pytest.raises(UserError, match="scoring version"):
        ablations.study(tmp_path, ("no_repair",), (0,), "smoke", 2, problems=1)


def test_a_difference_is_paired_by_problem() -> None:
    def run(*right: int) -> dict:
        return {"by_problem": {f"p{number}": [hits, 10] for number, hits in enumerate(right)}}

    same_gain = ablations.difference([run(5, 5, 5)], [run(4, 4, 4)])
    assert same_gain == pytest.approx((10.0, 10.0, 10.0)), "the same gain on every problem is certain"
    gap, low, high = ablations.difference([run(9, 1, 5), run(9, 1, 5)], [run(1, 9, 5)])
    assert gap == 0.0 and low < -20 and high > 20
    assert ablations.difference([run(6), run(8)], [run(5)])[0] == pytest.approx(20.0), "seeds are averaged"
