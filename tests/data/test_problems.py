"""Reading a folder of problems and its split."""

from __future__ import annotations

import errno
import os
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


def test_held_out_families_are_known_at_any_depth(tmp_path):
    """split.json lies in the folder that is read, wherever the families are below it."""
    for name in ("deep/f/one", "deep/g/two"):
        write_colouring(tmp_path / name)
    (tmp_path / "split.json").write_text('{"test_families": ["g"]}')
    assert held_out_families(read_collection(tmp_path).problems) == {"g"}


@pytest.mark.parametrize("path", ["..", ".", "../../x/f/.."])
def test_a_dotted_path_is_the_folder_that_it_means(tmp_path, monkeypatch, path):
    write_colouring(tmp_path / "x" / "f" / "p")
    monkeypatch.chdir(tmp_path / "x" / "f")
    names = {"..": "f/p", ".": "f/p", "../../x/f/..": "f/p"}
    assert [problem.id for problem in read_problems(path)] == [names[path]]
    monkeypatch.chdir(tmp_path / "x" / "f" / "p")
    assert [problem.id for problem in read_problems(".")] == ["p/p"]


def test_a_link_to_a_file_of_the_same_folder_is_followed(tmp_path):
    write_colouring(tmp_path / "f" / "p")
    shared = tmp_path / "f" / "shared.lp"
    shared.write_text("node(1). hue(red).")
    (tmp_path / "f" / "p" / "instances" / "link.lp").symlink_to(shared)
    [problem] = read_problems(tmp_path)
    assert problem.instances["link"] == shared.read_text()


def test_what_is_left_out_is_said(tmp_path):
    for name in ("one", "two", "three"):
        write_colouring(tmp_path / "f" / name)
    (tmp_path / "f" / "two" / "encoding.lp").write_text(" \n")
    (tmp_path / "f" / "four").symlink_to(tmp_path / "f" / "one")
    link = tmp_path / "f" / "three" / "problem.md"
    link.unlink()
    link.symlink_to("/etc/hostname")
    collection = read_collection(tmp_path)
    assert [problem.id for problem in collection.problems] == ["f/one"]
    said = {entry.problem: entry.fault.what for entry in collection.left_out}
    assert said == {
        "f/four": "the link leads to a folder",
        "f/three": "the link leads out of the folder of problems",
        "f/two": "the file is empty",
    }


def test_a_folder_without_rights_is_said(tmp_path, monkeypatch):
    """The superuser may read every folder, so the system's answer is made here."""
    for name in ("one", "two"):
        write_colouring(tmp_path / "f" / name)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("instances") and "two" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    collection = read_collection(tmp_path)
    assert [problem.id for problem in collection.problems] == ["f/one"]
    [entry] = collection.left_out
    assert entry.problem == "f/two" and "cannot be read (Permission denied)" in entry.fault.what


def test_the_split_is_described_in_one_line(tmp_path):
    for name in ("f/one", "g/two"):
        write_colouring(tmp_path / name)
    (tmp_path / "split.json").write_text('{"test_families": ["g"]}')
    words = read_collection(tmp_path).describe_split()
    assert words.startswith("split: 1 train, 0 valid, 1 test, held out: g (by ")
