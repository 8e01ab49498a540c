"""Problems that a run leaves out because they cannot be used: each with file, line and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from utils_ft import UserError, show_path


@dataclass(frozen=True)
class LeftOut:
    """One reason why a problem, or a file of it, is left out. A problem may have several.

    Attributes:
        problem: The id of the problem.
        fault: What is wrong, with file, line and remedy.
    """

    problem: str
    fault: UserError

    def as_json(self) -> dict:
        """The reason as a report has it."""
        where = None if self.fault.where is None else show_path(self.fault.where)
        return {
            "problem": self.problem,
            "file": where,
            "line": self.fault.line,
            "what": self.fault.what,
            "remedy": self.fault.remedy,
        }

    @classmethod
    def from_json(cls, record: dict) -> LeftOut:
        """The reason that `as_json` wrote."""
        place = {"where": record["file"], "line": record["line"], "remedy": record["remedy"]}
        return cls(record["problem"], UserError(record["what"], **place))


def left_out(problem: str, faults: Iterable[UserError]) -> list[LeftOut]:
    """Return an entry for each fault of a problem."""
    return [LeftOut(problem, fault) for fault in faults]


def listing(entries: Sequence[LeftOut]) -> str:
    """Return all entries as one text: the number of problems, then each fault; "" if there is none."""
    if not entries:
        return ""
    number = len({entry.problem for entry in entries})
    head = f"{number} problem{'s' * (number > 1)} left out:"
    return "\n".join([head, *(str(entry.fault) for entry in entries)])


def nothing_left(entries: Sequence[LeftOut], what: str = "no problem can be used") -> UserError:
    """Return the error for a run of which nothing is left. It lists all faults."""
    if not entries:
        return UserError(what)
    return UserError(f"{what}; {listing(entries)}", remedy="correct at least one of them")
