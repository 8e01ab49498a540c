"""What the README and its companions say of the code is true."""

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from scripts.data.problems import read_problem, read_problems
from scripts.evaluation.evaluate import evaluate_once
from scripts.evaluation.items import RepairItem
from scripts.evaluation.settings import EvaluationSettings
from scripts.lm.smoke_model import smoke_model
from utils_ft import BENCHMARKS, ROOT

PAGES = {
    page: (ROOT / page).read_text(encoding="utf-8")
    for page in ("README.md", "CONTRIBUTING.md", "docs/evaluation.md", "docs/data.md", "docs/results.md")
}
README, CONTRIBUTING, EVALUATION = (
    PAGES[page] for page in ("README.md", "CONTRIBUTING.md", "docs/evaluation.md")
)


def test_the_counts_are_those_of_the_shipped_problems():
    problems = read_problems()
    assert f"<br>{len(problems)} problems)" in README
    counted = f"{len(problems)} problems in {len({problem.family for problem in problems})} families"
    assert counted in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# --- the map ----------------------------------------------------------------------------------------------------


def floors():
    """Module → floor, from the README's map."""
    block = README.split("<!-- map:begin -->")[1].split("<!-- map:end -->")[0]
    found = {}
    for line in block.splitlines():
        if row := re.match(r"\| (\d+) \| (.+?) \|", line):
            for name in re.findall(r"`([\w.]+)`", row[2]):
                found[name.removesuffix(".py")] = int(row[1])
    return found


def imports():
    """Module → the modules of the project that it imports."""
    found = {}
    for file in sorted((ROOT / "scripts").glob("*.py")):
        if file.stem == "__init__":
            continue
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "scripts":
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scripts."):
                names.add(node.module.split(".")[1])
        found[file.stem] = names
    return found


def test_the_map_names_every_module_and_no_other():
    assert set(floors()) - {"utils_ft"} == set(imports())


def test_a_module_imports_only_from_floors_below_its_own():
    floor = floors()
    wrong = [
        f"{name} (floor {floor[name]}) imports {other} (floor {floor[other]})"
        for name, others in imports().items()
        for other in others
        if floor[other] >= floor[name]
    ]
    assert not wrong


# --- commands ---------------------------------------------------------------------------------------------------

TEXT = "\n".join(PAGES.values())
OPTION = r"(?<!\S)--[a-z][\w-]+"


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (scripts\.\w+)", TEXT))))
def test_every_command_explains_itself_and_knows_the_options_it_is_given(module):
    def options(*part: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-m", module, *part, "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0 and "Usage" in done.stdout
        return set(re.findall(r"--[a-z][\w-]+", done.stdout))

    known = {(): options()}
    for line in re.findall(rf"-m {module}((?:[^\n`]*\\\n)*[^\n`#]*)", TEXT):
        part = tuple(
            re.findall(r"\A ([a-z]+)(?= )", line)
        )  # of a command with several, such as `bench train`
        if part not in known:
            known[part] = options(*part)
        assert set(re.findall(OPTION, line)) <= known[part]


@pytest.mark.parametrize("line", re.findall(r"(?m)^hf .*$", README))
def test_the_hubs_own_command_knows_what_it_is_given(line):
    words = [word for word in line.split() if re.fullmatch(r"[a-z]+", word)]
    tool = Path(sys.executable).with_name("hf")
    done = subprocess.run([tool, *words[1:], "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and f"Usage: {' '.join(words)} " in done.stdout
    assert set(re.findall(OPTION, line)) <= set(re.findall(r"--[a-z][\w-]+", done.stdout))


def test_every_make_target_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", TEXT)):
        assert re.search(rf"(?m)^{target}:", makefile), target


# --- places -----------------------------------------------------------------------------------------------------


def anchors(text):
    """The anchors that the headings of a page get on the web."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"(?m)^#+ (.+)$", text)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


PLACES = re.findall(r"(?ms)^\d+\. `([\w./]+)`:(.*?)(?=^\d+\. |^$)", CONTRIBUTING)


def test_every_place_to_touch_is_named():
    assert len(PLACES) >= 20 and {path for path, _ in PLACES} >= {
        "scripts/augmentations.py",
        "scripts/providers.py",
        "scripts/chat.py",
    }


@pytest.mark.parametrize(("path", "words"), PLACES)
def test_what_is_to_be_touched_is_where_it_is_said_to_be(path, words):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not [name for name in re.findall(r"`([^`]+)`", words) if name not in text]


@pytest.mark.parametrize("file", sorted(set(re.findall(r"tests/\w+\.py", CONTRIBUTING))))
def test_the_tests_to_run_are_there(file):
    assert (ROOT / file).exists()


# --- the scores -------------------------------------------------------------------------------------------------


def test_every_key_of_an_evaluation_is_explained(tmp_path):
    problem = read_problem(BENCHMARKS / "scheduling" / "scene_order", "scheduling")
    result = evaluate_once(
        tmp_path / "scores.json", smoke_model(tmp_path / "smoke"), [problem], EvaluationSettings(parts=())
    )
    said = set(re.findall(r"`(\w+)`", EVALUATION))
    assert {*result, *result["settings"], *(field.name for field in fields(RepairItem))} <= said
    assert {
        "parse",
        "ground",
        "equivalent",
        "fixed",
        "n",
        "fenced",
        "held_out_families",
        "seen_families",
    } <= said
