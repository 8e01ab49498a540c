"""The command `python -m scripts.evaluate`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.data.problems import problems_of_split
from scripts.evaluate import main
from utils_ft import BENCHMARKS, ROOT, UserError


def test_the_command_scores_a_folder(smoke: Path, tmp_path: Path, old_layout: Path) -> None:
    out = tmp_path / "scores.json"
    options = {"model": smoke, "benchmarks": old_layout, "out": out, "k": 0}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]

    def run(*more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "scripts.evaluate", *words, *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | {"FT_WORKDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        )

    done = run("--samples", "2", "--grammar", "--parts", "steps,loop")
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["steps"]["n"] == 2 and set(result["loop"]) == {"k0n2"} and result["programs"] == {}
    settings = result["settings"]
    assert settings["grammar"] and settings["samples"] == 2 and settings["k"] == [0]
    for wrong_words in (
        ["--k", "x"],
        ["--parts", "stps"],
        ["--benchmarks", str(tmp_path / "none")],
        ["--temperature", "0"],
    ):
        wrong = run(*wrong_words)
        assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and "remedy" in wrong.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": "loop", "k": "0"}, "is the plain model"),
        ({"split": "tests"}, "no split 'tests'"),
        ({"k": "3,x"}, "list of numbers"),
        ({"samples": 0}, "--samples must be at least 1"),
        ({"parts": "steps,samples"}, "draws several answers"),
        ({"repair_prompt": "chat"}, "no repair prompt 'chat'"),
    ],
)
def test_options_that_score_nothing_are_rejected_before_the_model_is_loaded(
    tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        main(model=tmp_path / "none", out=tmp_path / "out.json", **options)


@pytest.mark.parametrize(
    "option",
    [
        {"k": "1"},
        {"grammar": True},
        {"parts": "loop"},
        {"split": "test"},
        {"out": Path("scores.json")},
        {"repair_prompt": "conversation"},
    ],
)
def test_an_option_that_has_no_effect_with_run_is_rejected(tmp_path: Path, option: dict) -> None:
    message = "greedily, on validation problems, and nothing else\n  remedy: leave out --[a-z-]+$"
    with pytest.raises(UserError, match=message):
        main(run=tmp_path, **option)


def test_a_limited_number_of_problems_is_spread_over_the_families() -> None:
    every = problems_of_split(BENCHMARKS, "valid")
    some = problems_of_split(BENCHMARKS, "valid", 4)
    assert len({problem.family for problem in some}) == len(some) == 4
    assert {problem.id for problem in some} <= {problem.id for problem in every}
