"""The shipped collection: every problem passes the checks, and the split follows its rule."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from scripts.asp.constructs import construct_table
from scripts.data.checks import check_problem
from scripts.data.problems import read_collection
from scripts.data.settings import STYLES
from scripts.data.twins import canonical, twins
from utils_ft import BENCHMARKS, content_hash

COLLECTION = read_collection()
PROBLEMS = COLLECTION.problems


@pytest.mark.parametrize("family", sorted({problem.family for problem in PROBLEMS}))
def test_every_shipped_problem_passes_the_checks(solver, family):
    for problem in PROBLEMS:
        if problem.family == family:
            checked = check_problem(problem, solver)
            assert not checked.faults, "\n".join(map(str, checked.faults))
            assert checked.load_bearing == checked.statements >= 6
            assert all(count <= 2000 for count in checked.answer_sets)


def test_the_collection_is_large_and_complete():
    families = Counter(problem.family for problem in PROBLEMS)
    assert len(PROBLEMS) >= 500 and len(families) >= 40 and min(families.values()) >= 8
    assert sum(bool(problem.paraphrases) for problem in PROBLEMS) >= 208
    for problem in PROBLEMS:
        assert 2 <= len(problem.instances) <= 5, problem.id
        assert 4 <= len(problem.encoding.steps) <= 40, problem.id
        assert tuple(problem.paraphrases) in (STYLES, ()), problem.id
        for style in problem.paraphrases:
            text = (problem.folder / "paraphrases" / f"{style}.md").read_text(encoding="utf-8")
            assert text.startswith(f"---\nstyle: {style}\nsource: hand-written\n---\n"), (problem.id, style)
            assert not problem.paraphrases[style].startswith("---")


def test_no_two_shipped_problems_are_twins():
    assert twins(PROBLEMS) == []


def test_every_construct_is_in_at_least_eight_problems():
    table = construct_table(problem.encoding for problem in PROBLEMS)
    assert len(table) >= 27
    assert {name: count for name, count in table.items() if count < 8} == {"#edge": 1}


def test_the_numbers_in_the_readme_of_the_collection_are_right():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    counts = {name: int(count) for name, count in re.findall(r"\| ([^|`\d][^|`]*?) \| (\d+) (?=\|)", text)}
    assert counts == dict(construct_table(problem.encoding for problem in PROBLEMS))
    statements = sum(len(step.statements) for problem in PROBLEMS for step in problem.encoding.steps)
    instances = sum(len(problem.instances) for problem in PROBLEMS)
    families = Counter(problem.family for problem in PROBLEMS)
    problems = f"{len(PROBLEMS)} problems in {len(families)} families"
    assert f"{problems}, {statements} rules, {instances} instances" in text
    sides = Counter(COLLECTION.splits.values())
    assert f"{sides['train']} train, {sides['valid']} valid, {sides['test']} test" in text
    for family, count in families.items():
        assert re.search(rf"\| `{family}`: [^|]+ \| {count} \|", text), family


def test_the_split_follows_its_rule():
    fixed = json.loads((BENCHMARKS / "split.json").read_text(encoding="utf-8"))
    splits = COLLECTION.splits
    assert sorted(fixed["test_families"]) == ["configuration", "emergencies", "museums", "routing"]
    for family in {problem.family for problem in PROBLEMS}:
        ids = sorted((problem.id for problem in PROBLEMS if problem.family == family), key=content_hash)
        if family in fixed["test_families"]:
            expected = ["test"] * len(ids)
        elif len(ids) == 8:
            expected = ["test", "valid", *["train"] * 6]
        else:  # families that were added later: in training only
            expected = ["train"] * len(ids)
        assert [splits[name] for name in ids] == expected, family


def test_no_text_and_no_encoding_is_in_two_splits():
    splits_of: dict[str, set[str]] = {}
    for problem in PROBLEMS:
        texts = [re.sub(r"\W+", " ", text).lower() for text in problem.descriptions().values()]
        for text in (canonical(problem.encoding), *texts):
            splits_of.setdefault(text, set()).add(COLLECTION.splits[problem.id])
    assert all(len(splits) == 1 for splits in splits_of.values())
