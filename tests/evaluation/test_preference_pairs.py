"""Preference pairs: which answers are right and wrong, how they are paired, and what is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from itertools import cycle
from pathlib import Path

import clingo
import pytest

from scripts.asp.solver import Solver
from scripts.data.pairs import PAIRS, load_pairs
from scripts.data.problems import Problem, read_problem
from scripts.data.settings import PairSettings
from scripts.evaluation import preference_pairs
from scripts.evaluation.preference_pairs import (
    ModelAndProblems,
    existing_pairs,
    graded_steps,
    make_pairs,
    pairs_of,
)
from scripts.lm import prompts
from scripts.train_preferences import _problems, main
from tests.examples import shipped_problem, write_problem
from tests.fakes import ScriptedGenerator
from utils_ft import BENCHMARKS, ROOT, UserError

GOLD = "{ tint(N, C) : hue(C) } = 1 :- node(N)."
ANSWERS = (
    f"```\n{GOLD}\n```",  # gold in a fence
    "1 { tint(N, C) : hue(C) } 1 :- node(N).",  # another right rule
    "{ tint(N, (red;blue)) } = 1 :- node(N).",  # lists the instance
    "{ tint(N, C) : hue(C) } 1 :- node(N).",  # wrong answer sets
    "{ tint(N, C) : hue(C) } 1 :- node(N).",
    "{ tint(N, C) : hue(C) = 1.",  # a syntax error
    "tint(N, C) :- node(N).",  # unsafe
    ":- node(N).",  # no answer set
    "% nothing",  # no code
    "{ tint(N, 1..30) } :- node(N).",  # too many answer sets: not decided
)
SHOW = "#show tint/2."
SETTINGS = PairSettings(samples=len(ANSWERS), pairs=4)


@pytest.fixture
def colouring(tmp_path: Path) -> Problem:
    """A problem with a step that a model could answer by listing the instance."""
    folder = write_problem(
        tmp_path / "mine" / "maps" / "tints",
        "Each node gets one tint of `hue(C)`.",
        f"% Each node gets one tint.\n{GOLD}\n\n% Show the tints.\n{SHOW}\n",
        one="node(1..2). hue(red;blue).\n",
    )
    return read_problem(folder, "maps")


def generator() -> ScriptedGenerator:
    """Writes ANSWERS to the first step, and always the gold rule to the second."""
    texts = cycle(ANSWERS)
    return ScriptedGenerator.by_instruction(lambda asked: SHOW if "Show" in asked else next(texts))


def plain_answer_sets(program: str) -> set[frozenset[str]] | None:
    """The shown answer sets by clingo itself. None if it rejects the program."""
    control = clingo.Control(["0"], logger=lambda *_: None)
    try:
        control.add("base", [], program)
        control.ground([("base", [])])
    except RuntimeError:
        return None
    with control.solve(yield_=True) as handle:
        return {frozenset(map(str, model.symbols(shown=True))) for model in handle}


def test_the_solver_says_what_is_right_and_what_is_wrong(colouring: Problem, solver: Solver):
    [(steps, counts)] = graded_steps(generator(), [colouring], solver, SETTINGS)
    [step] = [step for step in steps if step["meta"]["step"] == 0]
    assert step["right"] == [GOLD, ANSWERS[1]]
    verdicts = {wrong["output"]: wrong["verdict"] for wrong in step["wrong"]}
    assert verdicts == {
        ANSWERS[3]: "wrong",
        ANSWERS[2]: "wrong",
        ANSWERS[5]: "syntax",
        ANSWERS[6]: "unsafe",
        ANSWERS[7]: "unsatisfiable",
    }
    assert step["wrong"][0]["output"] == ANSWERS[3], "the most frequent one comes first"
    assert (step["meta"]["right_samples"], step["meta"]["wrong_samples"]) == (2, 6)
    assert counts["answer: empty"] == counts["answer: undecided"] == 1
    assert step["prompt"][-1]["content"] == "Each node gets one tint."


def test_pairs_agree_with_plain_clingo_and_hold_with_other_constants(colouring: Problem, solver: Solver):
    [(steps, _)] = graded_steps(generator(), [colouring], solver, SETTINGS)
    pairs = [pair for step in steps for pair in pairs_of(step, PairSettings(pairs=100))]
    assert len(pairs) == 10, "two right rules with five wrong ones each"
    facts = ["node(1..2). hue(red;blue).", "node(1..2). hue(x;y)."]
    gold = [plain_answer_sets(f"{each}{GOLD}{SHOW}") for each in facts]
    for pair in pairs:
        chosen, rejected = (prompts.code_of(pair[side][0]["content"])[0] for side in ("chosen", "rejected"))
        assert [plain_answer_sets(f"{each}{chosen}{SHOW}") for each in facts] == gold
        assert [plain_answer_sets(f"{each}{rejected}{SHOW}") for each in facts] != gold
        assert pair["meta"]["is_gold"] is (chosen == GOLD) and pair["meta"]["split"] == "train"


def test_each_answer_is_paired_once_before_one_is_paired_again():
    wrong = [{"output": name, "verdict": "wrong", "evidence": ""} for name in "xyz"]
    step = {"prompt": [], "gold": "g.", "right": ["a.", "b."], "wrong": wrong, "meta": {}}

    def names(step: dict, **settings: object) -> list[str]:
        made = pairs_of(step, PairSettings(**settings))
        return [f"{pair['chosen'][0]['content']}{pair['rejected'][0]['content']}" for pair in made]

    assert names(step, pairs=2) == ["a.x", "b.y"]
    assert sorted(names(step, pairs=9)) == ["a.x", "a.y", "a.z", "b.x", "b.y", "b.z"]
    assert names(step | {"right": []}, pairs=2) == []
    assert names(step | {"right": []}, pairs=2, gold=True) == ["g.x", "g.y"]
    assert names(step | {"wrong": []}, pairs=2, gold=True) == []


def test_a_killed_command_continues_and_finished_pairs_are_not_made_again(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed by its own process after the first group of problems."""
    out, log = tmp_path / "pairs", tmp_path / "log"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tests.examples import shipped_problem\n"
        "from scripts.data.settings import PairSettings\n"
        "from scripts.evaluation import preference_pairs, results\n"
        "model, out, log, kill = *map(Path, sys.argv[1:4]), sys.argv[4] == 'kill'\n"
        "results.GROUP, made = 1, preference_pairs.graded_steps\n"
        "def counted(generator, problems, *rest):\n"
        "    if kill and log.exists(): os.kill(os.getpid(), 9)\n"
        "    log.open('a').write(problems[0].id + '\\n')\n"
        "    return made(generator, problems, *rest)\n"
        "preference_pairs.graded_steps = counted\n"
        "asked = [shipped_problem(name) for name in sys.argv[5:]]\n"
        "source = preference_pairs.ModelAndProblems(model, None, asked)\n"
        "settings = PairSettings(samples=2, gold=True, max_new_tokens=8)\n"
        "preference_pairs.make_pairs(source, out, settings)\n"
    )
    asked = [shipped_problem(name) for name in ("scheduling/scene_order", "graphs/cave_lamps")]
    names = [each.id for each in asked]
    words = [sys.executable, "-c", code, smoke, out, log]
    assert subprocess.run([*words, "kill", *names], cwd=ROOT, capture_output=True).returncode == -9
    assert len(list((out / "problems").glob("*.json"))) == 1 and not (out / PAIRS).exists()
    done = subprocess.run([*words, "go on", *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert log.read_text().splitlines() == names, "each problem is asked once"
    report = json.loads((out / "report.json").read_text())
    assert report["pairs"] == len(load_pairs(out)) > 0

    def fail(*_: object) -> None:
        raise AssertionError("finished work is done again")

    monkeypatch.setattr(preference_pairs, "graded_steps", fail)
    settings = PairSettings(samples=2, gold=True, max_new_tokens=8)
    source = ModelAndProblems(smoke, None, asked)
    assert make_pairs(source, out, settings)["pairs"] == report["pairs"]
    fewer = PairSettings(samples=2, gold=True, max_new_tokens=8, pairs=1)
    assert existing_pairs(source, out, fewer) is None
    make_pairs(source, out, fewer)  # other pairs of the same answers
    steps = Counter((pair["meta"]["problem"], pair["meta"]["step"]) for pair in load_pairs(out))
    assert set(steps.values()) == {1}
    with pytest.raises(AssertionError, match="done again"):
        make_pairs(source, out, PairSettings(samples=2, gold=True, max_new_tokens=8, seed=1))


def test_without_a_right_answer_the_command_says_what_can_be_done(
    colouring: Problem, smoke: Path, tmp_path: Path
):
    settings = PairSettings(samples=2, max_new_tokens=2)
    with pytest.raises(UserError, match="both a right and a wrong.*\n.*--gold"):
        make_pairs(ModelAndProblems(smoke, None, [colouring]), tmp_path / "pairs", settings)


def test_problems_for_test_and_validation_are_never_asked(tmp_path: Path):
    """Not even under another name, as a generated problem."""
    names = ("scene_order", "ward_roster", "shift_swap")
    shipped = [folder for folder in sorted((BENCHMARKS / "scheduling").iterdir()) if folder.is_dir()][:3]
    mine = tmp_path / "mine"
    for name, folder in zip(names, shipped, strict=True):
        shutil.copytree(folder, mine / "family" / name)
    split = {"test": ["family/scene_order"], "valid": ["family/ward_roster"]}
    (mine / "split.json").write_text(json.dumps(split))
    assert [problem.name for problem in _problems(mine, None, None)] == ["shift_swap"]
    for folder in shipped[:2]:
        copy = tmp_path / f"as-{folder.name}" / "generated" / "copy"
        shutil.copytree(folder, copy)
        with pytest.raises(UserError, match="separates twins"):
            main("smoke", benchmarks=mine, generated=copy.parents[1], data=tmp_path / "data")
    with pytest.raises(UserError, match="has the name"):
        main("smoke", benchmarks=mine, generated=mine, data=tmp_path / "data")
