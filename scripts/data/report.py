"""The report of a conversion: what was made, verified and dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

COUNTED = (
    "split",
    "kind",
    "style",
    "naming",
    "noise",
    "names",
    "corruption",
)  # what the report counts rows by


@dataclass
class Report:
    """Counts of what was made, proved and dropped, as the notebook and `report.json` show them."""

    rows: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    proofs: Counter = field(default_factory=Counter)
    findings: list[dict] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count what another report counts as well."""
        self.rows.update(other.rows)
        self.dropped.update(other.dropped)
        self.proofs.update(other.proofs)
        self.findings += other.findings

    def as_json(self) -> dict:
        rows = [
            dict(zip((*COUNTED, "rows"), (*k, n), strict=True)) for k, n in sorted(self.rows.items(), key=str)
        ]
        return {
            "rows": rows,
            "dropped": dict(sorted(self.dropped.items())),
            "proofs": dict(sorted(self.proofs.items())),
            "findings": self.findings,
        }
