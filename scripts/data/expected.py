"""Expected answer sets of an instance, as JSON beside it: `instances/NAME.json` for `instances/NAME.lp`.

    {"shown": ["colour/2"], "answer_sets": [["colour(a,red)", "colour(b,blue)"], ["colour(a,blue)"]]}

The list has all answer sets of the instance (all optimal ones, if the problem optimises something), on the
shown predicates. It is empty for an instance without an answer set. `shown` may be left out if the predicates
of the atoms are all that are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clingo

from utils_ft import UserError, parse_json, read_text

_SIGNATURE = re.compile(r"-?_*[a-z]\w*/\d+")
_REMEDY = 'write {"shown": ["p/1"], "answer_sets": [["p(1)"], ["p(2)"]]}'
_LONGEST = 10_000  # characters of an atom, far above any atom and far below what crashes clingo's parser
_PRINTED = re.compile(
    r"""(?:"(?:[^"\\\n]|\\[\\n"])*+"|(?:(?<![\w)"'])-)?(?:\#inf|\#sup|[\w']++)|[(),\s])++""", re.ASCII
)
"""What clingo prints: names, numbers, strings and tuples. clingo would compute operators, and a division that
overflows ends the process."""


@dataclass(frozen=True)
class Expected:
    """The answer sets that an instance must have.

    Attributes:
        shown: The predicates on which answer sets are compared, as `name/arity`, sorted.
        answer_sets: The atoms of each answer set, sorted, as clingo prints them.
    """

    shown: tuple[str, ...]
    answer_sets: frozenset[tuple[str, ...]]

    def as_json(self) -> dict:
        """The content of the JSON file."""
        return {"shown": list(self.shown), "answer_sets": sorted(map(list, self.answer_sets))}


def expected(answer_sets: Iterable[Iterable[str]], shown: Iterable[str] = ()) -> Expected:
    """The expected answer sets with these atoms. ValueError if a text is no atom."""
    read = [[_atom(text) for text in atoms] for atoms in answer_sets]
    found = {signature for atoms in read for _, signature in atoms}
    return Expected(
        tuple(sorted({*shown, *found})),
        frozenset(tuple(sorted({atom for atom, _ in atoms})) for atoms in read),
    )


def read_expected(file: Path) -> Expected:
    """Read a file of expected answer sets. UserError if it is not one."""
    try:
        content = parse_json(read_text(file), file, remedy=_REMEDY)
        if isinstance(content, list):
            content = {"answer_sets": content}
        shown = content.get("shown", [])
        if wrong := [name for name in shown if not _SIGNATURE.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no predicate with its number of arguments")
        found = expected(_lists(content["answer_sets"]), shown)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"not a file of expected answer sets ({error})",
            where=file,
            line=getattr(error, "lineno", None),
            remedy=_REMEDY,
        ) from None
    if not found.shown:
        raise UserError(
            "neither `shown` nor an atom says on which predicates answer sets are compared",
            where=file,
            remedy=_REMEDY,
        )
    return found


def _lists(value: Any) -> list[list[str]]:
    """`value`, if it is a list of lists of texts."""
    if not isinstance(value, list) or not all(isinstance(atoms, list) for atoms in value):
        raise ValueError("`answer_sets` is no list of lists")
    return value


def _atom(text: str) -> tuple[str, str]:
    """An atom as clingo prints it, and its predicate as `name/arity`."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no text")
    if len(text) > _LONGEST or text.count("(") + text.count("-") > 100:
        raise ValueError("an atom is too long")
    if not _PRINTED.fullmatch(text):
        raise ValueError(f"{text!r} is no atom as clingo prints it")
    try:
        symbol = clingo.parse_term(text, logger=lambda *_: None)
        name = f"{'' if symbol.positive else '-'}{symbol.name}"
        assert symbol.name
    except (RuntimeError, AssertionError):
        raise ValueError(f"{text!r} is no atom") from None
    return str(symbol), f"{name}/{len(symbol.arguments)}"
