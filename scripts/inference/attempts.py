"""Attempts at a step, and what the solver says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.asp.feedback import solver_message
from scripts.asp.gate import code_only
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.lm import prompts

NO_CODE = "error: there is no code"


SOLVE_SECONDS = 0.5  # processor time to find an answer set; a program that needs longer counts as satisfiable


@dataclass(frozen=True)
class StepRequest:
    """A step to be written: the conversation to answer, its instruction, the program text before it.

    `solve`: the context has an answer set, and the step must leave it one.
    """

    messages: list[prompts.Message]
    instruction: str
    context: str
    solve: bool = False


@dataclass(frozen=True)
class Attempt:
    """One answer: as it came, its code, whether a fence was stripped, clingo's outcome, the complaint ("" where there is none).

    `satisfiable` is None where nobody asked or the solver did not find out in time.
    """

    output: str
    code: str
    fenced: bool
    outcome: Outcome
    message: str
    satisfiable: bool | None = None

    @property
    def rank(self) -> tuple[bool, ...]:
        """How far the solver gets with it; the greater the better."""
        parses = self.outcome.verdict not in (Verdict.SYNTAX, Verdict.REFUSED)
        return not self.message, has_code(self.code), self.outcome.passes, parses


@dataclass
class StepResult:
    """A step as it was written: each try. The one that the solver gets furthest with stands, the later of equals."""

    instruction: str
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def last(self) -> Attempt:
        """The try that stands."""
        return self.after(len(self.attempts))

    @property
    def code(self) -> str:
        return self.last.code

    @property
    def ok(self) -> bool:
        return not self.last.message

    def after(self, k: int) -> Attempt:
        """The try that stands after `k` repairs."""
        return max(reversed(self.attempts[: k + 1]), key=lambda found: found.rank)


OnAttempt = Callable[[int, StepResult], None]
"""Number of a step and the step so far, after each try."""


def has_code(code: str) -> bool:
    """Whether there is anything but comments and blanks."""
    return bool(code_only(code).strip())


def is_satisfiable(programs: Sequence[str], solver: Solver) -> list[bool | None]:
    """Whether each program has an answer set; None where it is not found out in time."""
    requests = [Request(program, solve=True, first=True, cpu_seconds=SOLVE_SECONDS) for program in programs]
    return [
        outcome.verdict is not Verdict.UNSATISFIABLE if outcome.passes else None
        for outcome in solver.run(requests)
    ]


def check(requests: Sequence[StepRequest], outputs: Sequence[str], solver: Solver) -> list[Attempt]:
    """What the solver says of each output in the context of its step."""
    cleaned = [prompts.code_of(output) for output in outputs]
    outcomes = list(
        solver.run(Request(ask.context + code) for ask, (code, _) in zip(requests, cleaned, strict=True))
    )
    complaints = [
        solver_message(outcome, ask.context) if has_code(code) else NO_CODE
        for ask, (code, _), outcome in zip(requests, cleaned, outcomes, strict=True)
    ]
    solved = [index for index, ask in enumerate(requests) if ask.solve and not complaints[index]]
    satisfiable: dict[int, bool | None] = dict(
        zip(
            solved,
            is_satisfiable([requests[index].context + cleaned[index][0] for index in solved], solver),
            strict=True,
        )
    )
    for index, found in satisfiable.items():
        if found is False:
            complaints[index] = solver_message(Outcome(Verdict.UNSATISFIABLE))
    return [
        Attempt(output, *clean, outcome, words, satisfiable.get(index))
        for index, (output, clean, outcome, words) in enumerate(
            zip(outputs, cleaned, outcomes, complaints, strict=True)
        )
    ]
