"""What paraphrasing leaves behind: data/paraphrases/<family>/<problem>/<style>.md, and the report of a run.

The hand-written ones stay with their problem. A generated one names the text that it paraphrases by a hash, so that
it counts for that wording of the problem only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.data.problems import STYLES, Problem, without_front_matter
from utils_ft import DATA, UserError, content_hash, read_text, write_json, write_text

PARAPHRASES = DATA / "paraphrases"

# --- the report -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """How a task ended: `made`, `cached`, `shipped`, `dropped`, `failed`, or `open` where the run stopped before it."""

    family: str
    problem: str
    style: str
    kind: str
    status: str
    texts: dict[str, str] = field(default_factory=dict)  # original to paraphrase, those that passed the gate
    lost: int = 0  # parts that never passed
    retried: int = 0  # requests of this run beyond the first: an unfaithful answer, or none
    tokens: int = 0  # spent in this run
    why: str = ""

    @property
    def id(self) -> str:
        return f"{self.family}/{self.problem}"


@dataclass(frozen=True)
class Report:
    """What a run did. `summary()` and `losses()` are lists of records: pandas makes tables of them."""

    provider: str
    model: str
    chosen: str  # why this provider
    stopped: str  # why the run ended early, or empty
    calls: int
    tokens: int
    rows: tuple[Row, ...]

    def summary(self) -> list[dict]:
        """One record for each kind and style: how many tasks ended in each way, the texts got and lost, the tokens."""
        groups: dict[tuple[str, str], Counter] = {}
        for row in self.rows:
            count = groups.setdefault((row.kind, row.style), Counter())
            count.update(
                {
                    row.status: 1,
                    "retried": row.retried,
                    "texts": len(row.texts),
                    "lost": row.lost,
                    "tokens": row.tokens,
                }
            )
        columns = (
            "made",
            "cached",
            "shipped",
            "dropped",
            "failed",
            "open",
            "retried",
            "texts",
            "lost",
            "tokens",
        )
        return [
            {"kind": kind, "style": style} | {name: count[name] for name in columns}
            for (kind, style), count in sorted(groups.items())
        ]

    def losses(self) -> list[dict]:
        """One record for each task that lost something, and why; those that the run never came to are not lost."""
        return [
            {"problem": row.id, "kind": row.kind, "style": row.style, "status": row.status, "why": row.why}
            for row in self.rows
            if row.why and row.status != "open"
        ]

    def tones(self, problem: Problem) -> dict[str, str]:
        """The description of a problem as it was written, and in each tone that was made."""
        made = {
            row.style: row.texts[problem.description]
            for row in self.rows
            if row.id == problem.id and row.kind == "description" and problem.description in row.texts
        }
        return {"original": problem.description} | made


# --- the files --------------------------------------------------------------------------------------------------


def write_paraphrase(
    problem: Problem, style: str, text: str, source: str, model: str, folder: Path = PARAPHRASES
) -> Path:
    """Write a description in a style, with its origin in the front matter; the file."""
    head = {"style": style, "source": source, "model": model, "of": content_hash(problem.description)}
    lines = "".join(f"{name}: {value}\n" for name, value in head.items())
    return write_text(folder / problem.family / problem.name / f"{style}.md", f"---\n{lines}---\n{text}\n")


def write_instructions(
    problem: Problem,
    style: str,
    texts: dict[str, str],
    source: str,
    model: str,
    folder: Path = PARAPHRASES,
) -> Path:
    """Write instructions in a style, from the original to its paraphrase; the file."""
    file = folder / problem.family / problem.name / f"{style}.instructions.json"
    return write_json(file, {"style": style, "source": source, "model": model, "instructions": texts})


def load_paraphrases(problem: Problem, folder: Path = PARAPHRASES) -> dict[str, str]:
    """The generated descriptions of a problem by style; those of an earlier wording of the problem are left out."""
    found = {}
    for style in STYLES:
        file = folder / problem.family / problem.name / f"{style}.md"
        if file.exists() and f"\nof: {content_hash(problem.description)}\n" in (text := read_text(file)):
            found[style] = without_front_matter(text).strip()
    return found


def load_instructions(problem: Problem, folder: Path = PARAPHRASES) -> dict[str, dict[str, str]]:
    """The generated instructions of a problem: by style, from the original to its paraphrase."""
    found = {}
    for style in STYLES:
        file = folder / problem.family / problem.name / f"{style}.instructions.json"
        if file.exists():
            try:
                found[style] = dict(json.loads(read_text(file))["instructions"])
            except (KeyError, TypeError, ValueError):
                raise UserError(
                    "not a file of instructions", where=file, remedy="remove it and paraphrase again"
                ) from None
    return found


def with_paraphrases(problems: Sequence[Problem], folder: Path = PARAPHRASES) -> list[Problem]:
    """The problems with the generated descriptions in place of the hand-written ones of the same style."""
    return [
        replace(problem, paraphrases=problem.paraphrases | load_paraphrases(problem, folder))
        for problem in problems
    ]
