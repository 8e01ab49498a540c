"""An evaluation is made once, continues after an interruption, and scores every checkpoint of a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from scripts.data.problems import Problem
from scripts.evaluation import results
from scripts.evaluation.evaluate import evaluate_once, score_checkpoints
from scripts.evaluation.results import Results
from scripts.evaluation.settings import EvaluationSettings
from scripts.notebook import plots
from scripts.training import checkpoints, log
from scripts.training.adapter_formats import to_mlx
from utils_ft import ROOT, UserError

STEPS = EvaluationSettings(("steps",), max_new_tokens=3)


def test_the_same_model_and_problems_are_not_scored_twice(
    smoke: Path, tmp_path: Path, old_problems: list[Problem], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    first = evaluate_once(out, smoke, old_problems, STEPS)
    assert json.loads(out.read_text()) == first and "already" not in capsys.readouterr().out
    assert evaluate_once(out, smoke, old_problems, STEPS) == first
    assert "already scored" in capsys.readouterr().out
    evaluate_once(out, smoke, old_problems, replace(STEPS, max_new_tokens=4))
    assert "already scored" not in capsys.readouterr().out
    out.write_text("{half")
    evaluate_once(out, smoke, old_problems, STEPS)
    assert json.loads(out.read_text())["steps"] == first["steps"]


def test_scores_stay_valid_after_an_edit_of_comments(
    smoke: Path, tmp_path: Path, old_layout: Path, old_problems: list[Problem]
) -> None:
    out, code = tmp_path / "scores.json", tmp_path / "code"
    first = evaluate_once(out, smoke, old_problems, STEPS)
    shutil.copytree(ROOT / "scripts", code / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "utils_ft.py", code)
    for file in (code / "scripts").rglob("*.py"):  # another docstring, and a comment
        text = file.read_text(encoding="utf-8").replace('"""', '"""In other words: ', 1) + "# the end\n"
        file.write_text(text, encoding="utf-8")
    options = {"model": smoke, "benchmarks": old_layout, "out": out, "parts": "steps", "max-new-tokens": 3}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.evaluate", *words],
        cwd=code,
        capture_output=True,
        text=True,
        env=os.environ | {"FT_WORKDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "already scored" in done.stdout and json.loads(out.read_text()) == first


def test_another_scoring_version_needs_new_scores(
    smoke: Path,
    tmp_path: Path,
    old_problems: list[Problem],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "scores.json"
    first = evaluate_once(out, smoke, old_problems, STEPS)
    monkeypatch.setattr(results, "SCORING_VERSION", results.SCORING_VERSION + 1)
    second = evaluate_once(out, smoke, old_problems, STEPS)
    assert "already scored" not in capsys.readouterr().out
    assert second["identity"] != first["identity"] and second["asked"] != first["asked"]
    assert second["verdicts"] == first["verdicts"]


def test_an_interrupted_evaluation_continues_after_its_finished_parts(
    smoke: Path, tmp_path: Path, old_problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EvaluationSettings(("steps", "loop", "repair", "programs"), k=(0, 1), max_new_tokens=4)
    whole = evaluate_once(tmp_path / "whole.json", smoke, old_problems, settings)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("scripts.evaluation.evaluate.score_programs", interrupt)
        evaluate_once(tmp_path / "cut.json", smoke, old_problems, settings)
    assert not (tmp_path / "cut.json").exists()
    for finished in ("score_steps", "score_loop", "score_repairs"):
        monkeypatch.setattr(f"scripts.evaluation.evaluate.{finished}", interrupt)
    resumed = evaluate_once(tmp_path / "cut.json", smoke, old_problems, settings)
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}
    assert resumed["seconds"].keys() == whole["seconds"].keys()
    files = sorted(path.name for path in tmp_path.glob("[!.]*json*"))
    assert files == ["cut.json", "whole.json"], "no parts are left"


def test_results_with_another_identity_count_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    mine, other = Results(file, "a"), Results(file, "b")
    assert mine.part("one", lambda: {"n": 1})["n"] == 1
    assert mine.part("one", lambda: {"n": 2})["n"] == 1
    assert other.part("one", lambda: {"n": 3})["n"] == 3
    assert mine.finish({"n": 4}) == {"identity": "a", "n": 4} == mine.finished()
    assert other.finished() is None and list(tmp_path.iterdir()) == [file]


# --- checkpoints ---


@pytest.fixture
def run(smoke: Path, tmp_path: Path) -> Path:
    """A run of the smoke model with two checkpoints. Their random adapters change its answers."""
    folder = tmp_path / "smoke_pytorch"
    for step in (2, 4):
        base = AutoModelForCausalLM.from_pretrained(smoke)
        config = LoraConfig(r=2, target_modules=["o_proj", "down_proj"], init_lora_weights=False)
        adapter = get_peft_model(base, config)
        for weight in (weight for name, weight in adapter.named_parameters() if "lora_" in name):
            weight.data.normal_(0, 1.5, generator=torch.Generator().manual_seed(step))
        adapter.save_pretrained(folder / f"checkpoint-{step}")
        checkpoints.mark_complete(folder / f"checkpoint-{step}")
    empty = dict.fromkeys(log.COLUMNS)
    log.write_log(folder, [empty | {"step": step, "loss": 1.0, "eval_loss": 1.0} for step in (2, 4)])
    return folder


def test_each_checkpoint_of_a_run_is_scored_into_the_run(
    run: Path, smoke: Path, tmp_path: Path, old_problems: list[Problem]
) -> None:
    scores = score_checkpoints(run, old_problems, max_new_tokens=4)
    assert sorted(scores) == [2, 4]
    for step, result in scores.items():
        assert json.loads((run / f"scores-{step}.json").read_text()) == result
        assert result["settings"]["parts"] == ["steps"] and result["steps"]["n"] == 2
    table = checkpoints.table(run)
    assert list(table["step equivalence"]) == [result["steps"]["equivalent"] for result in scores.values()]
    settings = EvaluationSettings(("steps",), max_new_tokens=4)
    base = evaluate_once(tmp_path / "base.json", smoke, old_problems, settings)
    outputs = [[item["output"] for item in result["verdicts"]] for result in (base, *scores.values())]
    assert outputs[0] != outputs[1] != outputs[2] != outputs[0], "each adapter is in use"
    intervals = [result["steps"]["equivalent_ci"] for result in scores.values()]
    assert [list(pair) for pair in zip(table["low"], table["high"], strict=True)] == intervals
    figure = plots.checkpoint_scores(table)
    assert len(figure.axes) == 2 and len(figure.axes[1].collections) == 1, "whiskers"
    assert len(plots.checkpoint_scores(table.assign(**{"step equivalence": None})).axes) == 1


def test_a_run_without_checkpoints_cannot_be_scored(tmp_path: Path, old_problems: list[Problem]) -> None:
    with pytest.raises(UserError, match="no complete checkpoint"):
        score_checkpoints(tmp_path / "none", old_problems)


def test_mlx_checkpoints_get_the_same_scores(
    run: Path, smoke: Path, tmp_path: Path, old_problems: list[Problem]
) -> None:
    folder = tmp_path / "smoke_mlx"
    folder.mkdir()
    converted = to_mlx(run / "checkpoint-2", tmp_path / "converted", smoke)
    (converted / "adapters.safetensors").rename(folder / "0000002_adapters.safetensors")
    (converted / "adapter_config.json").rename(folder / "adapter_config.json")
    mlx, peft = (score_checkpoints(path, old_problems, max_new_tokens=40)[2] for path in (folder, run))
    outputs = [item["output"] for item in mlx["verdicts"]]
    assert outputs == [item["output"] for item in peft["verdicts"]]
    settings = EvaluationSettings(("steps",), max_new_tokens=40)
    base = evaluate_once(tmp_path / "base.json", smoke, old_problems, settings)
    assert outputs != [item["output"] for item in base["verdicts"]], "the adapter is in use"
    assert checkpoints.checkpoints(folder)[0].score == mlx["steps"]["equivalent"]
