"""The notebooks hold no logic, no path of anybody's machine and no key; the runner refuses what papermill lets pass."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from scripts.run_notebooks import NOTEBOOKS
from utils_ft import ROOT


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_notebook_has_one_commented_parameters_cell_near_the_top(name):
    cells = read(name).cells
    tagged = [index for index, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0] <= 2
    for line in cells[tagged[0]].source.splitlines():
        assert re.match(r"[A-Z_]+ = .+ {2}# ", line), f"a parameter without its explanation: {line}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_hold_no_logic(name):
    book = read(name)
    code = [cell.source for cell in book.cells if cell.cell_type == "code"]
    assert not any(re.search(r"^\s*(def|class|while) ", source, re.MULTILINE) for source in code)
    assert all(len(source.splitlines()) <= 24 for source in code)
    prose = sum(cell.cell_type == "markdown" for cell in book.cells)
    assert 10 <= len(book.cells) <= 30 and prose >= 5


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_hold_no_path_key_widget_or_error(name):
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|work|tmp)/|[A-Z]:\\\\Users", text)
    assert not re.search(r"hf_[A-Za-z0-9]{20,}|AIza[\w-]{30,}", text)
    book = json.loads(text)
    assert "widgets" not in book["metadata"]
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def run(*arguments, tmp_path):
    return subprocess.run(
        [sys.executable, "-m", "scripts.run_notebooks", "--profile", "smoke", *arguments],
        cwd=ROOT, env=os.environ | {"FT_WORKDIR": str(tmp_path)}, capture_output=True, text=True,
    )


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    done = run("-p", "MAX_STEP=3", tmp_path=tmp_path)
    assert done.returncode == 2
    assert "MAX_STEP" in done.stderr and "MAX_STEPS" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.ipynb"))


def test_a_failing_cell_is_named_with_its_notebook_and_the_run_can_be_resumed(tmp_path):
    done = run("--only", "data_augmentation", "--only", "data_converter", "-p", "BENCHMARKS=/nowhere", tmp_path=tmp_path)
    assert done.returncode == 2
    assert "data_converter.ipynb: cell" in done.stderr and "no such folder" in done.stderr and "--resume" in done.stderr
    again = run("--only", "data_augmentation", "--only", "data_converter", "--resume", tmp_path=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "already done" in again.stdout and again.stdout.count("data_augmentation") == 1
    index = next(tmp_path.glob("runs/*/index.html")).read_text()
    assert "data_converter.ipynb" in index and "failed" not in index
    assert (tmp_path / "data" / "smoke" / "train.jsonl").exists()
