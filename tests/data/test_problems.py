"""Reading a folder of problems and its split."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from scripts.data.checks import check_problem
from scripts.data.problems import held_out_families, read_collection, read_problems, split_of
from tests.data.colouring import ENCODING, TEXT, write_colouring
from utils_ft import UserError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"test": ["a/b"]}', "a/b is not in this folder"),
        ('{"test_families": ["nonsense"]}', "nonsense is not in this folder"),
        ("{,}", "split.json:1: not JSON"),
        ("[]", "split.json: the file has no JSON object"),
        ('{"test": ["f/p"], "valid": ["f/p"]}', "f/p is both valid and test"),
        ('{"test_families": ["f"], "valid": ["f/p"]}', "f/p is both valid and test"),
    ],
)
def test_a_wrong_split_file_is_a_user_error(tmp_path, text, words):
    write_colouring(tmp_path / "f" / "p")
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(UserError, match=re.escape(words)):
        read_collection(tmp_path)


def test_a_collection_has_splits_and_held_out_families(tmp_path):
    for name in ("f/one", "f/two", "g/three", "g/four"):
        write_colouring(tmp_path / name)
    (tmp_path / "split.json").write_text('{"valid": ["f/one"], "test_families": ["g"]}')
    collection = read_collection(tmp_path)
    assert collection.splits == {"f/one": "valid", "f/two": "train", "g/four": "test", "g/three": "test"}
    assert [problem.id for problem in collection.of_split("test")] == ["g/four", "g/three"]
    assert collection.of_split("all") == collection.problems
    assert collection.held_out_families == held_out_families(collection.problems) == {"g"}


def test_without_a_split_file_a_hash_decides_and_no_split_is_empty(problems, tmp_path):
    splits = split_of(problems, tmp_path)
    assert Counter(splits.values()).keys() == {"train", "valid", "test"}
    assert splits == split_of(problems[::-1], tmp_path)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: None, "there is no problem in this folder"),
        (
            lambda root: write_colouring(root / "f" / "p").joinpath("problem.md").unlink(),
            "the problem has no problem.md",
        ),
        (
            lambda root: write_colouring(root / "f" / "p").joinpath("encoding.lp").unlink(),
            "the problem has no encoding.lp",
        ),
        (
            lambda root: write_colouring(root / "f" / "p").joinpath("problem.md").write_bytes(b"a\n\xff"),
            "problem.md:2: not UTF-8 text",
        ),
    ],
)
def test_a_folder_that_cannot_be_read_is_a_user_error(tmp_path, prepare, words):
    prepare(tmp_path)
    with pytest.raises(UserError, match=re.escape(words)):
        read_problems(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_problems(tmp_path / "nowhere")


def test_two_problems_with_one_id_are_refused(tmp_path):
    for part in ("a", "b"):
        write_colouring(tmp_path / part / "graphs" / "paths")
    with pytest.raises(
        UserError, match=r"b/graphs/paths: the problem has the name graphs/paths, as \S*a/graphs/paths has"
    ):
        read_problems(tmp_path)


def test_the_predecessors_layout_is_read_as_well(tmp_path, solver):
    for name in ("ASP.txt", "ASP.lp"):
        folder = tmp_path / name.replace(".", "_") / "graph_colouring"
        folder.mkdir(parents=True)
        (folder / "NL.txt").write_text(TEXT)
        (folder / name).write_text(ENCODING + "\n% The graph.\nnode(1..3). edge(1,2). edge(2,3).\n")
        (problem,) = read_problems(folder.parent)
        assert (problem.name, problem.description, problem.instances) == (
            "graph_colouring",
            TEXT.strip(),
            {"": ""},
        )
        assert len(problem.encoding.instructed) == 5
        checked = check_problem(problem, solver)
        assert checked.answer_sets == (2,)
        assert {fault.what.split(":")[0] for fault in checked.faults} == {
            "the problem has no instances",
        }
