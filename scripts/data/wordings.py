"""Other wordings of instructions: `wordings.json` of a problem maps each instruction to a list of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from utils_ft import UserError, read_json

FILE = "wordings.json"

Wordings = Mapping[str, Sequence[str]]
"""From an instruction, as its comment has it, to its other wordings."""

_QUOTED = re.compile(r'"[^"\n]*"')


def read_wordings(folder: Path) -> dict[str, tuple[str, ...]]:
    """Read the wordings of the problem in `folder`; empty if it has none.

    Raises:
        UserError: The file is not a JSON object of lists of texts.
    """
    file = folder / FILE
    if not os.path.lexists(file):
        return {}
    remedy = 'write {"instruction": ["another wording", …], …}'
    found = read_json(file, remedy)
    lists = all(isinstance(texts, list) for texts in found.values())
    if not lists or not all(
        isinstance(text, str) and text.strip() for texts in found.values() for text in texts
    ):
        raise UserError("not an object of lists of texts", where=file, remedy=remedy)
    return {instruction: tuple(texts) for instruction, texts in found.items()}


def wording_faults(wordings: Wordings, instructions: Sequence[str], folder: Path) -> Iterator[UserError]:
    """Yield what is wrong with the wordings of a problem that has these `instructions`."""
    file = folder / FILE
    for instruction, texts in wordings.items():
        if instruction not in instructions:
            yield UserError(
                f"no instruction of the encoding reads {instruction!r}",
                where=file,
                remedy="copy the instruction from the comment, its lines joined by blanks",
            )
        quoted = set(_QUOTED.findall(instruction))
        for text in texts:
            if missing := sorted(quoted - set(_QUOTED.findall(text))):
                yield UserError(
                    f"a wording of {instruction!r} lacks {missing[0]}",
                    where=file,
                    remedy=f"add it to {text!r}",
                )


def draw_wording(instruction: str, wordings: Wordings, rng: Random) -> str:
    """Draw one of the wordings of an instruction, the original among them."""
    return rng.choice((instruction, *wordings.get(instruction, ())))
