"""Twins: problems that are the same up to names, order and layout."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.data.problems import read_problem
from scripts.data.twins import twins
from scripts.data.variable_renaming import rename
from tests.data.colouring import ENCODING, TEXT, write_colouring


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
    assert twins([original, twin]) == [(original, twin)]
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
    assert twins([original, same_text]) == [(original, same_text)]
