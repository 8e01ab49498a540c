"""What all importers share: imported problems, written in the layout of a collection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.data.expected import Expected
from utils_ft import UserError, check_writable, new_folder, parse_json, read_text, write_json, write_text


@dataclass(frozen=True)
class ImportedProblem:
    """A problem of another set.

    Attributes:
        id: `family/name`.
        description: The description, with the output contract.
        encoding: The gold program, or "".
        instances: The facts of each instance, by name.
        expected: The expected answer sets of instances, by name; needed without a gold program.
    """

    id: str
    description: str
    encoding: str = ""
    instances: dict[str, str] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)


FAMILIES = ("aspuzzle", "aspuzzle_steps", "savanty")
"""The families of all importers."""


def write_collection(problems: Sequence[ImportedProblem], out: Path) -> None:
    """Write problems as a folder that `evaluate --benchmarks` reads. It replaces an older one.

    UserError if the folder has anything else than imported problems, which would be lost, or if the id of a
    problem is not `family/name`.
    """
    for entry in out.iterdir() if out.is_dir() else ():
        if entry.name not in FAMILIES or not any(entry.rglob("problem.md")):
            raise UserError(
                "this is no imported problem, and would be lost", where=entry, remedy="name a new folder"
            )
    for problem in problems:
        _check_id(problem.id)
    check_writable(out, folder=True)
    with new_folder(out) as draft:
        for problem in problems:
            folder = draft / problem.id
            write_text(folder / "problem.md", problem.description.strip() + "\n")
            if problem.encoding:
                write_text(folder / "encoding.lp", problem.encoding.strip() + "\n")
            for name, facts in problem.instances.items():
                write_text(folder / "instances" / f"{name}.lp", facts.strip() + "\n")
            for name, found in problem.expected.items():
                write_json(folder / "instances" / f"{name}.json", found.as_json())


def _check_id(text: str) -> None:
    """UserError unless `text` is `family/name`: another path could lead out of the folder."""
    family, _, name = text.partition("/")
    if not re.fullmatch(r"\w[\w .-]*", name) or family not in FAMILIES:
        raise UserError(
            f"{text!r} cannot be the name of a problem",
            remedy="in the set, name it with letters, digits, `_`, `-` and `.`",
        )


def json_objects(folder: Path, needed: Sequence[str], remedy: str) -> Iterator[tuple[Path, dict]]:
    """The JSON files of a folder that hold an object with the keys `needed`, by name.

    UserError if a file is no JSON, or if there is none with these keys.
    """
    found = False
    for file in sorted(folder.glob("*.json")):
        content = parse_json(read_text(file), file, remedy="fetch the set again")
        if isinstance(content, dict) and all(key in content for key in needed):
            found = True
            yield file, content
    if not found:
        keys = " and ".join(f"`{key}`" for key in needed)
        raise UserError(f"there is no JSON file with {keys}", where=folder, remedy=remedy)
