"""Attempts at a step: the answer of a model, its code, and what the solver says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from scripts.asp.feedback import UNSATISFIABLE, named_predicates, solver_message
from scripts.asp.gate import code_only
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.inference.requests import StepRequest, Unanswered
from scripts.lm import prompts

NO_CODE = "error: there is no code"
"""The solver message for an answer without code."""

SOLVE_SECONDS = 0.5
"""Processor seconds to find one answer set. A program that needs longer counts as satisfiable."""


@dataclass(frozen=True)
class Attempt:
    """One answer to a step, with the solver's verdict.

    Attributes:
        output: The text that the model wrote.
        code: The code in it.
        fenced: Whether a Markdown fence was removed to get the code.
        outcome: The solver's outcome for the code in its context, grounded but not solved.
        message: The solver message, "" if the solver accepts the code.
        satisfiable: Whether the program so far has an answer set. None if the request does not ask for it,
            or if the solver found no answer in time.
    """

    output: str
    code: str
    fenced: bool
    outcome: Outcome
    message: str
    satisfiable: bool | None = None

    @property
    def accepted(self) -> bool:
        """Whether there is code and the solver accepts it: its verdict passes and there is no message."""
        return has_code(self.code) and self.outcome.passes and not self.message

    @property
    def rank(self) -> tuple[bool, ...]:
        """The checks that the attempt passes: accepted, has code, grounds, parses.

        A greater tuple is better.
        """
        parses = self.outcome.verdict not in (Verdict.SYNTAX, Verdict.REFUSED)
        return self.accepted, has_code(self.code), self.outcome.passes, parses


@dataclass
class StepResult:
    """A step with all attempts at it, in their order."""

    instruction: str
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def best(self) -> Attempt:
        """The attempt with the highest rank; the later one of equals."""
        return self.after(len(self.attempts))

    @property
    def code(self) -> str:
        """The code of the best attempt."""
        return self.best.code

    @property
    def ok(self) -> bool:
        """Whether the solver accepts the best attempt."""
        return self.best.accepted

    def after(self, k: int) -> Attempt:
        """The best attempt of the first answer and `k` repairs."""
        return max(reversed(self.attempts[: k + 1]), key=lambda attempt: attempt.rank)


OnAttempt = Callable[[int, StepResult], None]
"""Gets the number of a step and its result so far, after each attempt."""


def has_code(code: str) -> bool:
    """Whether the text has anything but comments and blanks."""
    return bool(code_only(code).strip())


def is_satisfiable(programs: Sequence[str], solver: Solver) -> list[bool | None]:
    """Whether each program has an answer set; None if the solver finds no answer within `SOLVE_SECONDS`."""
    requests = [Request(program, solve=True, first=True, cpu_seconds=SOLVE_SECONDS) for program in programs]
    return [
        outcome.verdict is not Verdict.UNSATISFIABLE if outcome.passes else None
        for outcome in solver.run(requests)
    ]


def check(requests: Sequence[StepRequest], outputs: Sequence[str], solver: Solver) -> list[Attempt]:
    """Check one output for each request, in its context."""
    codes = [prompts.code_of(output) for output in outputs]
    programs = [request.context + code for request, (code, _) in zip(requests, codes, strict=True)]
    outcomes = solver.run(Request(program) for program in programs)
    attempts = []
    for request, output, (code, fenced), outcome in zip(requests, outputs, codes, outcomes, strict=True):
        outcome = _continues(request.context, code) or outcome
        if isinstance(output, Unanswered):
            message = output.reason
        else:
            message = _message(request, outcome) if has_code(code) else NO_CODE
        attempts.append(Attempt(output, code, fenced, outcome, message))
    to_solve = [index for index, request in enumerate(requests) if request.solve and attempts[index].accepted]
    found = is_satisfiable([programs[index] for index in to_solve], solver)
    for index, satisfiable in zip(to_solve, found, strict=True):
        message = UNSATISFIABLE if satisfiable is False else ""
        attempts[index] = replace(attempts[index], message=message, satisfiable=satisfiable)
    return attempts


def _message(request: StepRequest, outcome: Outcome) -> str:
    """The solver message for code that was written for `request`.

    A predicate that no rule defines is an error if the prompt shows others, but not this one.
    """
    named = named_predicates("\n".join(message["content"] for message in request.messages))
    return solver_message(outcome, request.context, named or None)


def _continues(context: str, code: str) -> Outcome | None:
    """The outcome of code that would change the statement before it, or None.

    `[true]` is no statement, but behind `#external a.` clingo accepts it.
    """
    if not code_only(code).lstrip().startswith("["):
        return None
    line = context.count("\n") + 1
    return Outcome(Verdict.SYNTAX, f"<block>:{line}:1-2: error: syntax error, unexpected [")
