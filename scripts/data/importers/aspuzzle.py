"""The importer of jolyonb/aspuzzle: grid puzzles with rules, solved instances and commented programs.

Each kind of puzzle is a problem of the family `aspuzzle`, and each of its JSON files an instance. The entries
of a file become facts: the cells of a grid `grid(R,C,V)`, a list `row_clues(I,V)`, a number `star_count(N)`.
Its solutions become the expected answer sets, so these problems are scored as programs in one answer.

Each program is a problem of the family `aspuzzle_steps`, scored step by step. Its clues become an instance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.data.expected import Expected, expected
from scripts.data.importers.layout import ImportedProblem, json_objects
from utils_ft import UserError, read_text, show_path

FAMILY = "aspuzzle"
_ABOUT = ("puzzle_type", "grid_type", "url", "source", "solutions")
"""Entries of a file that are no part of the puzzle."""

_LEFT_OUT = re.compile(r"^## (?:Example|Variation|Link).*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"\b[a-z_]\w*=")
_CLUES = re.compile(r"^% =+ Clues =+\n(.*?)(?=^% =|^#show)", re.DOTALL | re.MULTILINE)
_FACT = re.compile(r"(?:[a-z]\w*\(.*\)\.|%.*)?")
_REMEDY = "fetch https://github.com/jolyonb/aspuzzle and name its folder"


def read_aspuzzle(source: Path) -> list[ImportedProblem]:
    """The puzzles in a checkout of aspuzzle: `puzzles/*.json`, `rules/*.md` and `solver_scripts/*.lp`.

    A puzzle that has no rules or cannot be read is left out with a message.

    Raises:
        UserError: The folder is no such checkout, or none of its puzzles is left.
    """
    kinds: dict[str, dict[str, dict]] = {}
    problems = []
    for file, content in json_objects(source / "puzzles", ("puzzle_type", "solutions"), _REMEDY):
        kind = str(content["puzzle_type"]).lower()
        if fault := _fault(content) or _without_rules(source, kind):
            print(f"left out, {fault}: {show_path(file)}", flush=True)
            continue
        kinds.setdefault(kind, {})[file.stem] = content
        program = source / "solver_scripts" / f"{file.stem}.lp"
        if program.exists():
            problems.append(_steps(read_text(program), file.stem, _rules(source, kind)))
    if not kinds:
        raise UserError("no puzzle of this folder can be read", where=source / "puzzles", remedy=_REMEDY)
    return [*(_problem(kind, kinds[kind], _rules(source, kind)) for kind in sorted(kinds)), *problems]


def _fault(puzzle: Mapping[str, Any]) -> str:
    """Why no facts or no solutions can be made from the entries of a file, or ""."""
    try:
        keys = [key for key in puzzle if key not in _ABOUT]
        keys += [name for key in keys if isinstance(puzzle[key], dict) for name in puzzle[key]]
        if wrong := [key for key in keys if not re.fullmatch(r"[a-z]\w*", key, re.ASCII)]:
            return f"{wrong[0]!r} is no predicate"
        if not re.fullmatch(r"\w[\w -]*", str(puzzle["puzzle_type"])):
            return f"{puzzle['puzzle_type']!r} is no kind of puzzle"
        list(_facts(puzzle)), list(_shapes(puzzle)), _solutions(puzzle)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        return f"it cannot be read ({error})"
    return ""


def _without_rules(source: Path, kind: str) -> str:
    """That a kind of puzzle has no rules, or ""."""
    return "" if (source / "rules" / f"{kind}.md").exists() else f"it has no rules/{kind}.md"


def _rules(source: Path, kind: str) -> str:
    """The rules of a puzzle, without pictures and links."""
    text = read_text(source / "rules" / f"{kind}.md", remedy=_REMEDY)
    return re.sub(r"\n{3,}", "\n\n", _LEFT_OUT.sub("", text)).strip()


def _steps(program: str, name: str, rules: str) -> ImportedProblem:
    """A program with its comments as instructions; its clues are the instance if they are facts alone."""
    instances = {}
    clues = _CLUES.search(program)
    if clues and all(_FACT.fullmatch(line) for line in clues[1].splitlines()):
        instances = {name: clues[1]}
        program = program.replace(clues[0], "")
    return ImportedProblem(f"{FAMILY}_steps/{name}", rules, program, instances)


def _problem(kind: str, puzzles: Mapping[str, dict], rules: str) -> ImportedProblem:
    """A kind of puzzle: rules, and an instance with its solutions for each file."""
    facts = {name: list(_facts(puzzle)) for name, puzzle in puzzles.items()}
    first = {fact.partition("(")[0]: fact for texts in facts.values() for fact in reversed(texts)}
    shapes = {shape for puzzle in puzzles.values() for shape in _shapes(puzzle)}
    description = [
        rules,
        "## Input\n\nRows and columns count from 1, from the top left. Empty cells and missing clues have no "
        "fact. The first facts of an instance:",
        "\n".join(f"- `{fact}`" for fact in first.values()),
        "## Output\n\nA cell is the term `cell(R,C)`: row R, column C. Each answer set is a solution. Shown:",
        "\n".join(f"- `{shape}`" for shape in sorted(shapes)),
    ]
    return ImportedProblem(
        f"{FAMILY}/{kind}",
        "\n\n".join(description),
        instances={name: "\n".join(texts) for name, texts in facts.items()},
        expected={name: _solutions(puzzle) for name, puzzle in puzzles.items()},
    )


def _facts(puzzle: Mapping[str, Any]) -> Iterator[str]:
    """The entries of a puzzle as facts."""
    grid = puzzle.get("grid")
    if isinstance(grid, list) and grid:
        yield f"rows({len(grid)})."
        yield f"cols({len(grid[0])})."
    for key, value in puzzle.items():
        if key in _ABOUT:
            continue
        if isinstance(value, dict):
            yield from (f"{name}({_term(entry)})." for name, entry in value.items())
        elif isinstance(value, list):
            for number, entry in enumerate(value, 1):
                cells = [entry] if not isinstance(entry, list) and key != "grid" else list(entry)
                for column, cell in enumerate(cells, 1):
                    place = f"{number},{column}" if key == "grid" else str(number)
                    if cell not in (".", None):
                        yield f"{key}({place},{_term(cell)})."
        else:
            yield f"{key}({_term(value)})."


def _term(value: Any) -> str:
    """A value as a term: a number, or a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return str(int(value))
    return json.dumps(str(value), ensure_ascii=False)


def _solutions(puzzle: Mapping[str, Any]) -> Expected:
    """The solutions of a puzzle as expected answer sets: their atoms without the names of arguments."""
    sets = [
        [_FIELD.sub("", atom) for atoms in solution.values() for atom in atoms]
        for solution in puzzle["solutions"]
    ]
    return expected(sets, {predicate for solution in puzzle["solutions"] for predicate in solution})


def _shapes(puzzle: Mapping[str, Any]) -> Iterator[str]:
    """How the atoms of the solutions look: with the names of the arguments in place of their values."""
    for solution in puzzle["solutions"]:
        for atoms in solution.values():
            if atoms:
                named = re.sub(r"(\w+)=(?=\w+\()", "", atoms[0])
                yield re.sub(r'(\w+)=("[^"]*"|[^,()]+)', lambda match: match[1].upper(), named)
