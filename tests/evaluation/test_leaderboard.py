"""The leaderboard: one row for each result file, and no comparison of what cannot be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.evaluation.evaluate import evaluate_once
from scripts.evaluation.leaderboard import leaderboard, markdown, read_results, size
from scripts.evaluation.settings import EvaluationSettings
from utils_ft import ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def result(smoke: Path, some_problems: list, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A real result of the smoke model."""
    settings = EvaluationSettings(("steps",), max_new_tokens=8)
    return evaluate_once(tmp_path_factory.mktemp("r") / "a.json", smoke, some_problems[:1], settings)


def written(folder: Path, name: str, result: dict, **changes: object) -> Path:
    """The result with changes, as a file."""
    file = folder / name
    file.write_text(json.dumps(result | {"identity": name} | changes))
    return file


def test_each_file_is_a_row_and_the_best_stands_first(result: dict, tmp_path: Path) -> None:
    better = result["steps"] | {"equivalent": 0.5, "equivalent_ci": [0.25, 0.75]}
    files = [
        written(tmp_path, "base.json", result),
        written(
            tmp_path,
            "big.json",
            result,
            steps=better,
            model="org/big-7b",
            endpoint="https://host/v1",
            parameters=None,
            settings=result["settings"] | {"shots": 4},
        ),
        written(tmp_path, "again.json", result, identity="base.json"),
    ]
    out = tmp_path / "board" / "table.md"
    words = [sys.executable, "-m", "scripts.leaderboard", *map(str, files), "--out", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 2 and rows[0].startswith("| org/big-7b |  | 4-shot | 50.0 % (25–75) |")
    assert (
        rows[1].startswith("| smoke | 49k | 0-shot | 0.0 %")
        and f"clingo {result['versions']['clingo']}" in rows[1]
    )
    assert f"steps (n = {result['steps']['n']})" in text and "programs" not in text.split("| model")[1]
    assert out.with_suffix(".png").stat().st_size > 5000 and "table.png" in text


def test_files_of_other_problems_or_another_scoring_are_refused(result: dict, tmp_path: Path) -> None:
    first = written(tmp_path, "a.json", result)
    for changes, message in (
        ({"problem_set": "x"}, "other problems than a.json"),
        ({"scoring_version": 0}, "other scoring versions than a.json"),
    ):
        with pytest.raises(UserError, match=message):
            read_results([first, written(tmp_path, "b.json", result, **changes)])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "m"}', "[" * 50_000])
def test_what_is_no_result_is_one_message(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    message = "not a result of an evaluation|not JSON|no JSON object|nested too deeply"
    with pytest.raises(UserError, match=message):
        read_results([tmp_path / "a.json"])
    with pytest.raises(UserError, match="no such file"):
        read_results([tmp_path / "none.json"])


def test_sizes_are_short_and_a_bar_in_a_name_breaks_no_table(result: dict) -> None:
    numbers = (None, 49_440, 135_000_000, 7_615_616_512, 70e9)
    assert [size(number) for number in numbers] == ["", "49k", "135M", "7.6B", "70B"]
    named = result | {"model": "a|b", "endpoint": "https://host"}
    assert "| a\\|b |" in markdown(leaderboard([named]), [named])
