"""What the pages say about the code is true: counts, links, places to change, keys of an evaluation."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from scripts.evaluation.evaluate import evaluate_once
from scripts.evaluation.items import RepairItem
from scripts.evaluation.settings import EvaluationSettings
from tests.test_commands import PAGES
from utils_ft import ROOT

MARKDOWN = sorted(name for name in PAGES if name.endswith(".md"))
README, CONTRIBUTING = PAGES["README.md"], PAGES["CONTRIBUTING.md"]


def test_the_counts_are_those_of_the_shipped_problems(problems):
    rules = sum(len(step.statements) for problem in problems for step in problem.encoding.steps)
    instances = sum(len(problem.instances) for problem in problems)
    families = len({problem.family for problem in problems})
    assert f"{len(problems)} problems, {rules:,} rules, {instances:,} instances" in README
    assert f"{len(problems)} problems in {families} families" in PAGES["CHANGELOG.md"]


def test_the_readme_is_short_and_begins_with_an_example():
    lines = README.splitlines()
    assert len(lines) <= 150
    example = [number for number, line in enumerate(lines, 1) if ":- touches(R, S)" in line]
    assert example and example[0] <= 15


def test_the_readme_links_every_notebook_and_every_page():
    for folder, ending in (("notebooks", "ipynb"), ("docs", "md")):
        names = {f"{folder}/{file.name}" for file in (ROOT / folder).glob(f"*.{ending}")}
        assert names and not {name for name in names if f"]({name})" not in README}


def anchors(text):
    """The anchors that the headings of a page get on the web."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"(?m)^#+ (.+)$", text)
    }


@pytest.mark.parametrize("page", MARKDOWN)
def test_every_link_has_a_target(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", MARKDOWN)
def test_every_picture_has_an_alternative_text_and_one_for_each_theme_if_there_are_two(page):
    shown = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", PAGES[page])
    for text, target in [*shown, *re.findall(r'<img\b[^>]*alt="([^"]*)"[^>]*src="([^"]*)"', PAGES[page])]:
        assert len(text) >= 20, f"{target} has no alternative text"
        dark = Path(target).with_stem(f"{Path(target).stem}-dark")
        assert not (ROOT / page).parent.joinpath(dark).exists() or f'srcset="{dark}"' in PAGES[page], dark
    assert PAGES[page].count("<img") == len(re.findall(r"<img\b[^>]*alt=", PAGES[page]))


@pytest.mark.parametrize("file", sorted((ROOT / "docs").glob("*.png")), ids=lambda file: file.name)
def test_a_picture_is_readable_on_a_light_and_on_a_dark_page(file):
    """It has a background of its own: no pixel is transparent."""
    from matplotlib.image import imread

    image = imread(file)
    assert image.shape[2] == 3 or image[:, :, 3].min() == 1


@pytest.mark.parametrize("page", MARKDOWN)
def test_every_path_in_code_marks_exists(page):
    folders = "scripts|tests|tools|docs|notebooks|runs|accelerate_configs"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", PAGES[page]):
        is_generated = path.startswith("runs/") and path != "runs/demo.sh"
        assert is_generated or (ROOT / path).exists(), path


PLACES = re.findall(r"(?ms)^\d+\. `([\w./]+)`:(.*?)(?=^\d+\. |^$)", CONTRIBUTING)


def test_every_place_to_change_is_found():
    assert len(PLACES) >= 20
    needed = {
        "scripts/data/corruptions.py",
        "scripts/data/paraphrase/providers.py",
        "scripts/lm/chat.py",
    }
    assert needed <= {path for path, _ in PLACES}


@pytest.mark.parametrize(("path", "words"), PLACES)
def test_a_place_to_change_has_the_names_that_are_given(path, words):
    text = (ROOT / path).read_text(encoding="utf-8")
    names = [name for name in re.findall(r"`([^`]+)`", words) if not name.startswith("utils_ft.")]
    assert not [name for name in names if name not in text]


@pytest.mark.parametrize("file", sorted(set(re.findall(r"tests/[\w/]+\.py", CONTRIBUTING))))
def test_the_tests_to_run_exist(file):
    assert (ROOT / file).exists()


def test_every_key_of_an_evaluation_is_explained(tmp_path, problems, smoke):
    [problem] = [problem for problem in problems if problem.id == "scheduling/scene_order"]
    result = evaluate_once(tmp_path / "scores.json", smoke, [problem], EvaluationSettings(parts=()))
    explained = set(re.findall(r"`(\w+)`", PAGES["docs/evaluation.md"]))
    assert {*result, *result["settings"], *(field.name for field in fields(RepairItem))} <= explained
    assert {"parse", "ground", "equivalent", "fixed", "n", "fenced"} <= explained
    assert {"held_out_families", "seen_families"} <= explained
