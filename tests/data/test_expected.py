"""Expected answer sets: what a file may say, and problems that have them in place of an encoding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.data.checks import check_problem
from scripts.data.expected import expected, read_expected
from scripts.data.problems import read_problems
from utils_ft import UserError


def written(folder: Path, content: object) -> Path:
    """A file with this content."""
    file = folder / "one.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_atoms_are_read_as_clingo_prints_them(tmp_path: Path) -> None:
    content = {"shown": ["b/0"], "answer_sets": [["a(2, x)", 'a(1,"x y")', "-c"], []]}
    found = read_expected(written(tmp_path, content))
    assert found.shown == ("-c/0", "a/2", "b/0")
    assert found.answer_sets == {("-c", 'a(1,"x y")', "a(2,x)"), ()}
    assert expected(found.as_json()["answer_sets"], found.shown) == found
    assert read_expected(written(tmp_path, [["a(1)"], ["a(2)"]])).shown == ("a/1",)
    terms = ["a(-1)", "a(-b)", "a(-f(1))", "a(#inf,#sup)", "a((1,),(b,c),())", 'a("1/0 - \u00e9 \\" (")']
    [found] = read_expected(written(tmp_path, [terms])).answer_sets
    assert found == tuple(sorted(terms))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 100_000,
        {"sets": []},
        {"answer_sets": ["a(1)"]},
        {"answer_sets": [["a(X)"]]},
        {"answer_sets": [["a(1"]]},
        {"answer_sets": [[1]]},
        {"answer_sets": [["1"]]},
        {"answer_sets": [["a" + "(b" * 5000 + ")" * 5000]]},
        {"answer_sets": [["a((-2147483647-1)/(-1))"]]},  # clingo's process would end
        {"answer_sets": [["a(1-1)"]]},
        {"answer_sets": [["a(1)", "a(|1|)"]]},
        {"answer_sets": [["a(\u00e9)"]]},
        {"answer_sets": [["a(1)"]], "shown": ["a"]},
        {"answer_sets": [], "shown": []},
        7,
    ],
)
def test_what_is_no_file_of_answer_sets_is_one_message(tmp_path: Path, content: object) -> None:
    with pytest.raises(UserError) as caught:
        read_expected(written(tmp_path, content))
    assert caught.value.where.name == "one.json" and "answer_sets" in caught.value.remedy


def test_a_problem_may_have_answer_sets_in_place_of_an_encoding(tmp_path: Path, solver) -> None:
    folder = tmp_path / "family" / "coin"
    (folder / "instances").mkdir(parents=True)
    (folder / "problem.md").write_text("Toss a coin.")
    with pytest.raises(UserError, match=r"has no encoding\.lp"):
        read_problems(tmp_path)
    written(folder / "instances", [["heads"], ["tails"]])
    [problem] = read_problems(tmp_path)
    assert problem.instances == {"one": ""} and problem.expected["one"].shown == ("heads/0", "tails/0")
    digest = problem.digest
    with pytest.raises(UserError, match=r"has no encoding\.lp"):
        _ = problem.encoding
    assert [fault.what for fault in check_problem(problem, solver).faults] == [
        "the problem has no encoding.lp"
    ]
    written(folder / "instances", [["heads"]])
    assert read_problems(tmp_path)[0].digest != digest
