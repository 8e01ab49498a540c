"""The report of a conversion: what was made, verified and dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

from scripts.asp.encoding import Step
from scripts.asp.splitting import split_step
from scripts.data.left_out import LeftOut
from scripts.data.rows import Row

COUNTED = ("split", "kind", "style", "naming", "noise", "names", "corruption")
"""The properties by which the report counts rows.

`names`: whether the predicates have `its own` names or `others`, or the problem is `retold`.
"""


@dataclass
class Report:
    """Counts of what was made, verified and dropped.

    Attributes:
        rows: The number of rows for each combination of the properties in `COUNTED`.
        dropped: How often something was dropped, by reason.
        verified: How often the solver verified something, by what it was.
        findings: Findings of the reader of encodings: dicts with `problem`, `line`, `kind`, `text`.
        left_out: Problems and files that cannot be used, and why.
        steps: The number of steps with an instruction: of one statement, of several, and those of several
            that can be split.
    """

    rows: Counter[tuple] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    findings: list[dict] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Add the counts and findings of another report."""
        self.rows.update(other.rows)
        self.dropped.update(other.dropped)
        self.verified.update(other.verified)
        self.findings += other.findings
        self.left_out += other.left_out
        self.steps.update(other.steps)

    def count_steps(self, steps: Iterable[Step]) -> None:
        """Count the steps of an encoding that have an instruction."""
        for step in steps:
            self.steps["of one statement" if len(step.statements) == 1 else "of several statements"] += 1
            self.steps["of several statements, can be split"] += bool(split_step(step))

    def count_row(self, row: Row) -> None:
        """Count one row by its meta data."""
        names = "others" if "vocabulary" in row["meta"] else "its own"
        meta = row["meta"] | {"names": "retold" if "retelling" in row["meta"] else names}
        self.rows[tuple(meta.get(name, "") for name in COUNTED)] += 1

    def as_json(self) -> ReportCounts:
        """Return the counts as `report.json` has them."""
        rows = [
            dict(zip(COUNTED, combination, strict=True)) | {"rows": number}
            for combination, number in sorted(self.rows.items(), key=str)
        ]
        return {
            "rows": rows,
            "dropped": dict(sorted(self.dropped.items())),
            "proofs": dict(sorted(self.verified.items())),
            "findings": self.findings,
            "left_out": [entry.as_json() for entry in self.left_out],
            "steps": dict(sorted(self.steps.items())),
        }


class ReportCounts(TypedDict):
    """The counts in `report.json`."""

    rows: list[dict]
    """One dict for each combination of the properties in `COUNTED` that occurs, with their number as `rows`.
    """
    dropped: dict[str, int]
    """How often something was dropped, by reason."""
    proofs: dict[str, int]
    """How often the solver verified something."""
    findings: list[dict]
    """Findings of the reader of encodings: `problem`, `line`, `kind`, `text`."""
    left_out: list[dict]
    """Problems and files that cannot be used, one entry for each reason: `problem`, `file`, `line`, `what`,
    `remedy`.
    """
    steps: dict[str, int]
    """The number of steps: of one statement, of several statements, and those of these that can be split."""


class ConversionReport(ReportCounts, total=False):
    """All of `report.json`."""

    seed: int
    problems: dict[str, int]
    """The number of problems of each split that were converted."""
    generated: int
    """The number of generated problems among them."""
    twins: list[dict]
    """The groups of twins and near-twins, if no split.json decides: their ids as `problems`, and `split`."""
    shapes: dict[str, dict[str, float]]
    """How many validation rules there are, and the shares whose shape training shows: the numbers of
    `shapes.Coverage`, for `all` rules and by construct.
    """
    sha256: dict[str, str]
    """The SHA-256 of the file of each split."""
    tokens: dict[str, dict[str, int]]
    """For each split the numbers of `encoded_rows.Counts`; only if a tokenizer is given."""
