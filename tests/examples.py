"""Rows and problems that several test files write: training rows about map colouring, a problem's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from scripts.data.problems import Problem, read_problem
from scripts.lm.prompts import conversation
from utils_ft import BENCHMARKS


def colouring_row(number: int, steps: int = 3) -> dict:
    """A conversation about map `number` with 1 to 3 steps, as a row of a JSONL file."""
    rules = [
        (f"Give node {number} exactly one colour.", f"{{ colour({number}, C) : hue(C) }} = 1."),
        ("Two adjacent nodes never share a colour.", ":- edge(X, Y), colour(X, C), colour(Y, C)."),
        ("Show the colours.", "#show colour/2."),
    ]
    messages = conversation(f"Colour a map, case {number}.", rules[:steps])
    return {"messages": messages, "meta": {"kind": "conversation"}}


def write_rows(folder: Path, **splits: Iterable[dict]) -> Path:
    """Write `<folder>/<split>.jsonl` for each split, as in `write_rows(folder, train=rows)`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def write_problem(folder: Path, description: str, encoding: str, **instances: str) -> Path:
    """Write a problem's files into `folder`, instances as in `one="p(1)."`. Returns the folder."""
    (folder / "instances").mkdir(parents=True)
    (folder / "problem.md").write_text(description, encoding="utf-8")
    (folder / "encoding.lp").write_text(encoding, encoding="utf-8")
    for name, facts in instances.items():
        (folder / "instances" / f"{name}.lp").write_text(facts, encoding="utf-8")
    return folder


def shipped_problem(name: str) -> Problem:
    """Read the problem `<family>/<name>` of the shipped collection."""
    return read_problem(BENCHMARKS / name, name.partition("/")[0])
