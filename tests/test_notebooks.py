"""The notebooks hold no logic, no path of anybody's machine and no key; the runner refuses what papermill lets pass."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from scripts.asp.solver import Outcome, Verdict, shared_solver
from scripts.inference.attempts import StepRequest
from scripts.notebook import html, plots, runner, studio
from scripts.notebook.live import LiveCurve, progress
from scripts.notebook.runner import NOTEBOOKS, in_order, notebooks_of
from scripts.training.checkpoints import COLUMNS
from tools.publish_notebooks import publish
from utils_ft import ROOT, UserError


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_of(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


# --- as they lie there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_notebook_has_one_commented_parameters_cell_near_the_top(name):
    cells = read(name).cells
    tagged = [index for index, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0] <= 2
    for line in cells[tagged[0]].source.splitlines():
        assert re.match(r"[A-Z_]+ = .+ {2}# ", line), f"a parameter without its explanation: {line}"
        ast.literal_eval(line.split(" = ", 1)[1])  # a value that papermill can replace, and no expression


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_hold_no_logic(name):
    code = [cell.source for cell in code_of(name)]
    assert not any(
        re.search(r"^\s*(def|class|while|for|import matplotlib)\b", source, re.MULTILINE) for source in code
    )
    assert all(len(source.splitlines()) <= 26 for source in code)
    assert max(len(line) for source in code for line in source.splitlines()) <= 100, "wider than the page"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_a_story_of_short_cells_with_prose_between(name):
    cells = read(name).cells
    kinds = [cell.cell_type for cell in cells]
    assert 10 <= kinds.count("code") <= 20
    assert kinds[:3] == ["markdown", "code", "code"] and kinds[-1] == "markdown"
    for place, (before, kind) in enumerate(zip(kinds[2:], kinds[3:], strict=False), 3):
        assert "markdown" in (before, kind), f"code without a word before it: {cells[place].source[:60]}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_a_notebook_imports_exists(name):
    modules = {}
    for cell in code_of(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
                    if node.module == "scripts":
                        modules[alias.name] = getattr(module, alias.name)
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in modules
            ):
                assert hasattr(modules[node.value.id], node.attr), f"{node.value.id}.{node.attr}"
    assert {"plots", "show", "recipe"} <= set(modules)


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
    assert "<progress" not in text, "a bar that has reached its end tells nothing"


# --- run headless -----------------------------------------------------------------------------------------------


def run(*arguments, tmp_path):
    return subprocess.run(
        [sys.executable, "-m", "scripts.run_notebooks", "--profile", "smoke", *arguments],
        cwd=ROOT,
        env=os.environ | {"FT_WORKDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "words, told",
    [
        (["-p", "MAX_STEP=3"], "MAX_STEPS"),
        (["-p", "PROFILE=demo"], "--profile"),
        (["-p", "MAX_STEPS"], "-p NAME=VALUE"),
        (["--only", "fine_tuning"], "ft_pytorch_qlora"),
    ],
)
def test_what_no_notebook_knows_is_refused_before_anything_runs(tmp_path, words, told):
    done = run(*words, tmp_path=tmp_path)
    assert done.returncode == 2
    assert words[1].split("=")[0] in done.stderr and told in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.ipynb"))


def test_notebooks_run_in_the_order_of_the_pipeline_whatever_the_order_they_are_named_in():
    assert in_order(["notebooks/ft_mlx_lora.ipynb", "data_converter"]) == ("data_converter", "ft_mlx_lora")
    assert notebooks_of("demo") == NOTEBOOKS[:3] and len(notebooks_of("full")) == 3
    with pytest.raises(UserError, match="no notebook"):
        in_order(["ft_mlx"])


def test_all_run_with_injected_parameters_alone_and_a_run_goes_on_at_the_notebook_that_failed(tmp_path):
    done = run("-p", "CHECKPOINT=999", tmp_path=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "ft_pytorch_qlora.ipynb: cell" in done.stderr and "no checkpoint at step 999" in done.stderr
    assert "-p CHECKPOINT=999 --resume" in done.stderr
    [folder] = tmp_path.glob("runs/smoke-*")
    index = (folder / "index.html").read_text()
    assert "failed" in index and "to come" in index and (folder / "ft_pytorch_qlora.html").exists()

    again = run("--resume", tmp_path=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already done in") == 2 + again.stdout.count("metrics.json")
    assert list(tmp_path.glob("runs/smoke-*")) == [folder]
    index, state = (folder / "index.html").read_text(), json.loads((folder / "run.json").read_text())
    assert "failed" not in index and "to come" not in index
    for name in NOTEBOOKS:
        assert f'href="{name}.html"' in index and (folder / f"{name}.html").exists()
        assert state["done"][name]["revision"] and state["done"][name]["seconds"] > 0
        executed = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
        assert "<progress" not in str(executed.cells), "the engine's own bar beside the curve"
        assert [cell.metadata.tags for cell in executed.cells].count(["injected-parameters"]) == 1
    assert again.stdout.count("fine-tuned") >= 6, "the scores, before and after, of both engines"

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


def test_a_run_ends_with_exit_code_1_where_a_cell_fails_by_no_mistake_of_a_person(tmp_path):
    done = run("--only", "data_converter", "-p", "CONVERSATIONS=many", tmp_path=tmp_path)
    assert done.returncode == 1
    assert (
        "data_converter.ipynb: cell" in done.stderr
        and "TypeError" in done.stderr
        and "--resume" in done.stderr
    )
    assert "Traceback" not in done.stderr


# --- pictures ---------------------------------------------------------------------------------------------------

RATE = {
    "n": 20,
    **{name: 0.5 for name in ("parse", "ground", "equivalent")},
    **{f"{name}_ci": [0.3, 0.7] for name in ("parse", "ground", "equivalent")},
}
RESULT = {
    "steps": RATE,
    "loop": {"k1": RATE, "k3": RATE},
    "per_family": {"games": RATE, "graphs": RATE},
    "per_verdict": {"steps": {"equal": 1, "unsafe": 1}},
}
ROWS = {
    "rows": [
        {"split": split, "kind": kind, "corruption": error, "rows": 3}
        for split in ("train", "test")
        for kind, error in (("conversation", ""), ("repair", "prose"))
    ]
}


def table():
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "step": step,
                "train loss": 1.0,
                "validation loss": 2.0 - step / 10,
                "step equivalence": 0.5,
                "recommended": "←" * (step == 4),
            }
            for step in (2, 4)
        ]
    )


FIGURES = {
    "families": lambda: plots.families({"games/a": "train", "games/b": "test", "graphs/a": "valid"}),
    "rows": lambda: plots.plot_row_counts(ROWS, "kind", "corruption"),
    "lengths": lambda: plots.token_lengths({"conversation": [100, 200], "repair": [50]}, 4096),
    "loss": lambda: plots.loss_curve([{"step": step, "loss": 1.0, "eval_loss": None} for step in range(30)]),
    "checkpoints": lambda: plots.checkpoint_scores(table(), {step: RESULT for step in (2, 4)}),
    "before and after": lambda: plots.before_after({"base": RESULT, "fine-tuned": RESULT}),
    "by family": lambda: plots.by_family({"base": RESULT, "fine-tuned": RESULT}, ["graphs"]),
    "verdicts": lambda: plots.verdicts({"base": RESULT}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_has_a_label_with_its_unit_and_the_ground_is_white(name):
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    figure = FIGURES[name]()
    assert dict(plt.rcParams) == before, "a person's own style stays"
    assert figure.get_facecolor() == (1, 1, 1, 1) and plt.get_fignums() == []
    for axes in figure.axes:
        assert axes.get_xlabel() or name == "before and after"
        names = any(re.search("[a-z]", label.get_text()) for label in axes.get_yticklabels())
        assert axes.get_ylabel() or names, (
            "the vertical axis says neither what it measures nor what stands on it"
        )


def test_the_pipeline_names_every_notebook_and_fills_in_the_one_at_hand():
    figure = plots.pipeline("data_converter")
    assert set(NOTEBOOKS) <= {text.get_text() for text in figure.axes[0].texts}
    assert [patch.get_facecolor()[0] < 0.5 for patch in figure.axes[0].patches].count(True) == 1


# --- words ------------------------------------------------------------------------------------------------------

EVIL = 'p("<script>alert(1)</script>").'


def test_whatever_a_model_says_is_escaped():
    item = {
        "part": "steps",
        "problem": EVIL,
        "family": "games",
        "prompt": EVIL,
        "gold": EVIL,
        "code": EVIL,
        "verdict": "wrong",
        "evidence": EVIL,
    }
    for shown in (
        html.program(EVIL),
        html.conversation([{"role": "user", "content": EVIL}, {"role": "assistant", "content": EVIL}]),
        html.side_by_side({"a": "p.", EVIL: EVIL}, marked=True),
        html.side_by_side({"a": EVIL}, code=False),
        html.repair({"meta": dict.fromkeys(("instruction", "broken", "error", "fixed"), EVIL)}),
        html.failures({"verdicts": [item]}),
        html.answer_sets(Outcome(Verdict.SYNTAX, EVIL)),
        html.answer_sets(shared_solver().answer_sets(EVIL)),
    ):
        assert "<script" not in shown.data and "&lt;" in shown.data


def test_an_empty_answer_set_is_told_from_none():
    empty, none = (
        html.answer_sets(shared_solver().answer_sets(program)).data
        for program in ("a. #show b/0.", "a. :- a.")
    )
    assert "1 answer set<" in empty and "no atom that is shown" in empty
    assert "unsatisfiable" in none and "no atom" not in none


@pytest.mark.parametrize(
    "before, after, marked",
    [
        ("a :- b, c.", "a :- b and c.", ["and"]),
        ("p(X) :- q(X).", "p(V0) :- q(V0).", ["V0", "V0"]),
        ("a.", "a.", []),
        ("a :- b, c.", "a :- b.", []),
    ],
)
def test_what_was_changed_is_marked(before, after, marked):
    assert [after[begin:end] for begin, end in html.changes(before, after)] == marked
    assert re.sub("<[^>]+>", "", html.highlight(after, html.changes(before, after))) == after


def test_the_recommended_checkpoint_says_how_sure_that_is():
    worse = RESULT | {"steps": RATE | {"equivalent": 0.4, "equivalent_ci": [0.2, 0.6]}}
    told = html.checkpoints(table(), {2: worse, 4: RESULT}).to_html()
    assert "Step 4 is recommended" in told and "cannot be told from 2" in told and "50.0 % (30–70)" in told
    far = RESULT | {"steps": RATE | {"equivalent": 0.1, "equivalent_ci": [0.0, 0.2]}}
    assert "cannot be told" not in html.checkpoints(table(), {2: far, 4: RESULT}).to_html()
    assert "lowest validation loss" in html.checkpoints(table(), {}).to_html()


def test_the_live_curve_is_drawn_in_one_place_and_is_gone_at_the_end(monkeypatch):
    shown = []

    class Place:
        update = staticmethod(shown.append)

    def display(figure, display_id):
        shown.append(figure)
        return Place

    monkeypatch.setattr("IPython.display.display", display)
    with LiveCurve(2, every=0) as curve:
        for steps in (1, 2, 3):
            curve([dict.fromkeys(COLUMNS) | {"step": step, "loss": 1.0} for step in range(steps)])
    *curves, last = shown
    assert [type(figure).__name__ for figure in curves] == ["Figure"] * 3 and last.data == ""


def test_a_log_tells_how_long_a_run_will_take():
    log = [
        dict.fromkeys(COLUMNS) | {"step": step, "tokens_per_second": 200.4, "seconds": 30 + 10 * step}
        for step in range(1, 5)
    ]
    assert progress(log, 550) == "step 4 of 550, 200 tokens/s, 91 min to go"
    assert progress(log, 5) == "step 4 of 5, 200 tokens/s, less than a minute to go"
    assert progress(log[:1], 550) == "step 1 of 550, 200 tokens/s"
    assert progress([dict.fromkeys(COLUMNS) | {"step": 1}], 4) == "step 1 of 4"


def test_a_run_that_goes_on_does_again_what_rests_on_something_new(tmp_path, monkeypatch):
    """Paid paraphrases, or a problem that became a test problem, must reach the notebooks behind."""
    ran, failing = [], ["ft_pytorch_qlora"]

    def execute(name, *_):
        ran.append(name)
        if name in failing:
            raise UserError("mend me")

    monkeypatch.setattr(runner, "_execute", execute)
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("FT_PROFILE", "")
    problems = tmp_path / "mine"
    problems.mkdir()

    def again(**parameters):
        ran.clear()
        with pytest.raises(UserError, match="mend me"):
            runner.run_notebooks("demo", parameters={"BENCHMARKS": str(problems)} | parameters, resume=True)
        return list(ran)

    assert again() == list(NOTEBOOKS[:3]) and again() == ["ft_pytorch_qlora"]
    (problems / "split.json").write_text("{}")
    assert again() == list(NOTEBOOKS[:3]) and again() == ["ft_pytorch_qlora"]
    assert again(MAX_CALLS=9) == list(NOTEBOOKS[:3]), "what follows on a notebook that ran anew"
    failing.clear()
    ran.clear()
    runner.run_notebooks("demo", parameters={"BENCHMARKS": str(problems), "MAX_CALLS": 9}, resume=True)
    assert ran == ["ft_pytorch_qlora"]


class Scripted:
    """Answers with what it was given, one list a call."""

    def __init__(self, *answers):
        self.left = list(answers)

    def generate(self, conversations, on_done=None):
        return self.left.pop(0)

    def sample(self, conversations, count):
        return [[":- q(1)."] * count for _ in conversations]


def test_the_steps_that_the_solver_refused_are_watched_until_they_are_mended(monkeypatch):
    pages = []
    monkeypatch.setattr(studio, "_place", lambda shown: lambda: pages.append(shown()))
    requests = [StepRequest([], f"Step {number}.", "q(1).\n", solve=True) for number in (1, 2, 3)]
    steps = studio.watch(
        Scripted(["p :- q(1).", "p(X).", ":- q(1)."], ["p(X) :- q(X).", ":- q(1)."]), requests, k=3
    )
    assert [step.ok for step in steps] == [True, True, False]
    assert "Step 1." not in pages[-1] and "unsafe" in pages[-1] and "UNSATISFIABLE" in pages[-1]
    assert "3 steps: 1 without objection at once, 1 of the other 2 mended" in pages[-1]
