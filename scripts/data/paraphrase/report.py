"""The report of a paraphrasing run: how each task ended, and tables of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from scripts.data.problems import Problem

STATUSES = ("made", "cached", "shipped", "dropped", "failed", "open")
"""How a task ends.

- made: The run got faithful paraphrases.
- cached: The faithful paraphrases were stored before the run.
- shipped: They are hand-written.
- dropped: No answer was faithful.
- failed: There was no answer.
- open: The run stopped before the task was finished.
"""


@dataclass(frozen=True)
class TaskResult:
    """How one task ended.

    Attributes:
        family: The family of the problem.
        problem: The name of the problem.
        style: The style of the paraphrase.
        kind: `description` or `instructions`.
        status: One of `STATUSES`.
        texts: The faithful paraphrases, by their original.
        lost: The number of texts without a faithful paraphrase.
        retried: The requests of this run beyond the first.
        tokens: The tokens spent in this run.
        why: Why something was lost, or "".
    """

    family: str
    problem: str
    style: str
    kind: str
    status: str
    texts: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    retried: int = 0
    tokens: int = 0
    why: str = ""

    @property
    def id(self) -> str:
        """The id of the problem."""
        return f"{self.family}/{self.problem}"


@dataclass(frozen=True)
class ParaphraseReport:
    """What a run did.

    Attributes:
        provider: The provider.
        model: Its model.
        chosen: Why this provider was chosen.
        stopped: Why the run ended early, or "".
        calls: The requests of this run.
        tokens: The tokens spent in this run; in a dry run an estimate.
        results: The result of each task.
    """

    provider: str
    model: str
    chosen: str
    stopped: str
    calls: int
    tokens: int
    results: tuple[TaskResult, ...]

    @property
    def has_failed(self) -> bool:
        """Whether a model was asked, and no text of any task got a faithful paraphrase."""
        statuses = {result.status for result in self.results}
        return self.provider != "shipped" and bool(statuses) and statuses <= {"failed", "dropped"}

    def summary(self) -> list[dict]:
        """Return a record for each kind and style, with `kind`, `style` and these numbers.

        One for each of `STATUSES`: the tasks that ended so. `retried`: the requests beyond the first.
        `texts`, `lost`: the paraphrases made, and those missing. `tokens`: the tokens spent.
        """
        groups: dict[tuple[str, str], Counter] = {}
        for result in self.results:
            counts = groups.setdefault((result.kind, result.style), Counter())
            counts[result.status] += 1
            counts["retried"] += result.retried
            counts["texts"] += len(result.texts)
            counts["lost"] += result.lost
            counts["tokens"] += result.tokens
        columns = (*STATUSES, "retried", "texts", "lost", "tokens")
        return [
            {"kind": kind, "style": style} | {name: counts[name] for name in columns}
            for (kind, style), counts in sorted(groups.items())
        ]

    def losses(self) -> list[dict]:
        """Return a record for each task that lost something: `problem`, `kind`, `style`, `status`, `why`."""
        return [
            {
                "problem": result.id,
                "kind": result.kind,
                "style": result.style,
                "status": result.status,
                "why": result.why,
            }
            for result in self.results
            if result.why and result.status != "open"
        ]

    def descriptions(self, problem: Problem) -> dict[str, str]:
        """Return the description of a problem by style: `original`, then the paraphrases of this run."""
        paraphrases = {
            result.style: result.texts[problem.description]
            for result in self.results
            if result.id == problem.id
            and result.kind == "description"
            and problem.description in result.texts
        }
        return {"original": problem.description} | paraphrases

    def as_json(self) -> dict:
        """Return the content of a run's `report.json`: the attributes, the summary and the losses."""
        return {
            "provider": self.provider,
            "model": self.model,
            "stopped": self.stopped,
            "calls": self.calls,
            "tokens": self.tokens,
            "summary": self.summary(),
            "losses": self.losses(),
        }
