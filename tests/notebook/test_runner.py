"""Running notebooks without a browser: order, parameters, resuming, exit codes, publishing."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from scripts.notebook import runner
from scripts.notebook.runner import NOTEBOOKS, in_order, notebooks_of
from tools.publish_notebooks import publish
from utils_ft import ROOT, UserError


def run(*arguments, tmp_path):
    return subprocess.run(
        [sys.executable, "-m", "scripts.run_notebooks", "--profile", "smoke", *arguments],
        cwd=ROOT,
        env=os.environ | {"FT_WORKDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "words, remedy",
    [
        (["-p", "MAX_STEP=3"], "MAX_STEPS"),
        (["-p", "PROFILE=demo"], "--profile"),
        (["-p", "MAX_STEPS"], "-p NAME=VALUE"),
        (["-p", "MAX_STEPS=abc"], "a whole number"),
        (["--only", "fine_tuning"], "ft_pytorch_qlora"),
    ],
)
def test_an_unknown_parameter_or_notebook_is_an_error_before_anything_runs(tmp_path, words, remedy):
    done = run(*words, tmp_path=tmp_path)
    assert done.returncode == 2
    assert words[1].split("=")[0] in done.stderr and remedy in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.ipynb"))


def test_notebooks_run_in_the_order_of_the_pipeline(monkeypatch):
    assert in_order(["notebooks/ft_mlx_lora.ipynb", "data_converter"]) == ("data_converter", "ft_mlx_lora")
    assert notebooks_of("demo") == NOTEBOOKS[:3] and len(notebooks_of("full")) == 3
    with pytest.raises(UserError, match="no notebook"):
        in_order(["ft_mlx"])


def test_a_run_resumes_at_the_notebook_that_failed_and_its_outputs_can_be_published(tmp_path):
    done = run("-p", "CHECKPOINT=999", tmp_path=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "ft_pytorch_qlora.ipynb: cell" in done.stderr and "no checkpoint at step 999" in done.stderr
    assert "-p CHECKPOINT=999 --resume" in done.stderr
    [folder] = tmp_path.glob("runs/smoke-*")
    index = (folder / "index.html").read_text()
    assert "failed" in index and "to do" in index and (folder / "ft_pytorch_qlora.html").exists()

    again = run("--resume", tmp_path=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already done in") == 2 + again.stdout.count("metrics.json")
    assert list(tmp_path.glob("runs/smoke-*")) == [folder]
    assert again.stdout.count("fine-tuned") >= 6, "the scores before and after, of both engines"
    check_run_folder(folder)
    check_publication(folder, tmp_path)


def check_run_folder(folder):
    """All notebooks are done, executed to the end, and in the index."""
    index, state = (folder / "index.html").read_text(), json.loads((folder / "run.json").read_text())
    assert "failed" not in index and "to do" not in index
    for name in NOTEBOOKS:
        assert f'href="{name}.html"' in index and (folder / f"{name}.html").exists()
        assert state["done"][name]["revision"] and state["done"][name]["seconds"] > 0
        executed = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
        assert "<progress" not in str(executed.cells), "the engine's progress bar beside the curve"
        assert [cell.metadata.tags for cell in executed.cells].count(["injected-parameters"]) == 1


def check_publication(folder, tmp_path):
    """Published notebooks have outputs without private paths; a cell that has changed since has none."""
    copies = tmp_path / "notebooks"
    copies.mkdir()
    for name in NOTEBOOKS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", copies)
    changed = nbformat.read(copies / "data_converter.ipynb", as_version=4)
    changed.cells[-2].source += "\n"
    nbformat.write(changed, copies / "data_converter.ipynb")
    assert list(publish(folder, copies).values()) == [0, 1, 0, 0]
    for name in NOTEBOOKS:
        text = (copies / f"{name}.ipynb").read_text(encoding="utf-8")
        assert str(ROOT) not in text and str(tmp_path) not in text and "injected-parameters" not in text
        assert '"stderr"' not in text and "widget-view" not in text and "image/png" in text
        check_alternative_texts(copies / f"{name}.ipynb", folder / f"{name}.html")


def check_alternative_texts(notebook, page):
    """Each image of a published notebook, and of the page of the run, has an alternative text."""
    outputs = [
        output for cell in nbformat.read(notebook, as_version=4).cells for output in cell.get("outputs", ())
    ]
    images = [output for output in outputs if "image/png" in output.get("data", {})]
    for output in images:
        text = output.metadata["image/png"]["alt"]
        assert len(text) > 30 and text == output.data["text/plain"]
    tags = [tag for tag in re.findall(r"<img [^>]*>", page.read_text()) if "data:image/png" in tag]
    assert len(tags) >= len(images) and all(re.search(r'alt="[^"]{30,}"', tag) for tag in tags)


def test_the_exit_code_is_1_if_a_cell_fails_with_another_error_than_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    done = run("--only", "data_converter", tmp_path=tmp_path)
    assert done.returncode == 1
    for words in ("data_converter.ipynb: cell", "ValueError", "--resume"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_resuming_runs_a_notebook_again_if_its_parameters_problems_or_predecessors_changed(
    tmp_path, monkeypatch
):
    executed, failing = [], ["ft_pytorch_qlora"]

    def execute(name, *_):
        executed.append(name)
        if name in failing:
            raise UserError("failed on purpose")

    monkeypatch.setattr(runner, "_execute", execute)
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("FT_PROFILE", "")
    problems = tmp_path / "mine"
    problems.mkdir()

    def again(**parameters):
        executed.clear()
        with pytest.raises(UserError, match="failed on purpose"):
            runner.run_notebooks("demo", parameters={"BENCHMARKS": str(problems)} | parameters, resume=True)
        return list(executed)

    assert again() == list(NOTEBOOKS[:3]) and again() == ["ft_pytorch_qlora"]
    (problems / "split.json").write_text("{}")
    assert again() == list(NOTEBOOKS[:3]) and again() == ["ft_pytorch_qlora"]
    assert again(MAX_CALLS=9) == list(NOTEBOOKS[:3]), "the notebooks after one that ran again"
    failing.clear()
    executed.clear()
    runner.run_notebooks("demo", parameters={"BENCHMARKS": str(problems), "MAX_CALLS": 9}, resume=True)
    assert executed == ["ft_pytorch_qlora"]


def test_the_index_escapes_what_it_did_not_write(tmp_path):
    """A git tag, a parameter and a folder can have any name."""
    evil = "<script>alert(1)</script>"
    record = {"finished": evil, "seconds": 1.0, "revision": f"v1{evil}", "parameters": {evil: evil}}
    folder = tmp_path / "smoke-&<b>"
    run_ = runner.Run(folder, "smoke", ["data_converter"], {"data_converter": record})
    run_.save()
    index = (folder / "index.html").read_text()
    assert "<script" not in index and "<b>" not in index and "v1&lt;script" in index


def test_a_run_that_is_dated_ahead_of_the_clock_is_not_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    for name in ("smoke-20200101-000000", "smoke-20200102-000000", "smoke-29990101-000000"):
        runner.Run(tmp_path / name, "smoke", ["data_converter"]).save()
    found = runner._run_folder("smoke", ["data_converter"], resume=True)
    assert found.name == "smoke-20200102-000000"
    assert "smoke-29990101-000000 is dated ahead of the clock" in capsys.readouterr().out
