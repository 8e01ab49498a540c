"""Twins: problems that are the same up to names, order and layout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.data.problems import Problem, read_collection, read_problem
from scripts.data.twins import Twins, check_split, groups_of_twins, near_twins, twins
from scripts.data.variable_renaming import rename
from tests.data.colouring import ENCODING, TEXT, write_colouring
from tests.examples import write_problem
from utils_ft import UserError


def renamed_twin(problem, root: Path):
    """The same problem in other names, another order and another layout, under another description."""
    swaps = {
        "paint": "wear",
        "node": "guest",
        "edge": "dislikes",
        "colour": "hat",
        "red": "cap",
        "green": "bonnet",
    }
    steps = [rename("", step.code, "canonical").code.replace(" :- ", ":-") for step in problem.encoding.steps]
    encoding = "\n".join(f"% Rule.\n{code}\n" for code in steps[::-1])
    text = "Another story about hats.\n" + problem.description
    for old, new in swaps.items():
        encoding, text = re.sub(rf"\b{old}\b", new, encoding), re.sub(rf"\b{old}\b", new, text)
    return read_problem(write_colouring(root, text=text, encoding=encoding), "f")


def test_twins_are_found_under_other_names_order_and_layout(tmp_path):
    original = read_problem(write_colouring(tmp_path / "f" / "colouring"), "f")
    twin = renamed_twin(original, tmp_path / "f" / "hats")
    assert twins([original, twin]) == [Twins(original, twin, "encoding")]
    other = read_problem(
        write_colouring(
            tmp_path / "f" / "other", text="Other.", encoding=ENCODING.replace("paint(Y,C)", "paint(Y,D)")
        ),
        "f",
    )
    assert twins([original, other]) == []
    same_text = read_problem(
        write_colouring(tmp_path / "f" / "text", text=TEXT.upper(), encoding="% A.\na.\n"), "f"
    )
    assert twins([original, same_text]) == [Twins(original, same_text, "description")]


PLANKS = (
    "p(X): X is a plank, cut(X): X is cut.",
    "{ cut(X) } :- p(X).\n% At most one.\n:- cut(X), cut(Y), X < Y.",
)


def write_planks(folder: Path, text: str = PLANKS[0], encoding: str = PLANKS[1]) -> Path:
    return write_problem(folder, text, f"% Any plank may be cut.\n{encoding}\n", a="p(1..3).\n")


def test_a_problem_that_is_there_twelve_times_is_on_one_side_of_the_split(tmp_path):
    for number in range(1, 13):
        write_planks(tmp_path / "shipyard" / f"yard{number}")
    splits = read_collection(tmp_path).splits
    assert len(splits) == 12 and len(set(splits.values())) == 1


def near(root: Path, name: str, **texts: str) -> Problem:
    """Colouring with other texts."""
    return read_problem(write_colouring(root / "f" / name, **texts), "f")


def test_near_twins_differ_in_a_number_a_statement_or_a_few_words(tmp_path):
    longer = ENCODING + "\n% No loop.\n:- edge(X,X).\n\n% At least one is red.\n:- not paint(1,red).\n"
    original = near(tmp_path, "one", encoding=longer)
    story = "Here every word of the story is another one, and it is about regions on a map of the moon."
    same = {
        "number": near(tmp_path, "number", text=story, encoding=longer.replace("(1,red)", "(2,red)")),
        "statement": near(
            tmp_path, "statement", text="Another.", encoding=longer.replace("edge(X,X)", "edge(1,X)")
        ),
    }
    for problem in same.values():
        assert near_twins([original, problem]) == [Twins(original, problem, "encoding", near=True)]
        assert not twins([original, problem])
    words = near(tmp_path, "words", text=story.replace("moon", "world"), encoding="% A.\nnode(1).\n")
    assert near_twins([same["number"], words]) == [Twins(same["number"], words, "description", near=True)]
    other = near(tmp_path, "other", text="Other.", encoding="% A.\n{ node(1) }.\n")
    groups = groups_of_twins([original, other, *same.values(), words])
    assert [{problem.name for problem in group} for group in groups] == [
        {"one", "number", "statement", "words"},
        {"other"},
    ]


def test_the_side_of_a_problem_does_not_depend_on_its_name(tmp_path):
    sides = set()
    for name in ("a", "b", "c", "d"):
        write_planks(tmp_path / name / "family" / name)
        sides |= set(read_collection(tmp_path / name).splits.values())
    assert len(sides) == 1


def test_a_split_file_that_separates_twins_is_an_error(tmp_path):
    for name in ("one", "two"):
        write_planks(tmp_path / "f" / name)
    (tmp_path / "split.json").write_text('{"test": ["f/two"]}')
    collection = read_collection(tmp_path)
    with pytest.raises(
        UserError, match=r"split\.json: the split separates twins:\n  f/two \(test\) has the same"
    ):
        check_split(collection.problems, collection.splits, collection.split_file)


def test_an_encoding_that_clingo_cannot_parse_is_compared_as_text(tmp_path):
    broken = "% A.\na :- b c.\n"
    pair = [near(tmp_path, name, text=f"About {name}.", encoding=broken) for name in ("one", "two")]
    assert twins(pair) == [Twins(*pair, "encoding")]
