"""The solver in the loop for any number of steps at once: write, check in context, repair with the training's own prompt.

A step counts as accepted when the solver has nothing against it in its context. Of several samples the solver keeps
what it gets furthest with, and of those the one whose answer sets most of them share; the greedy one counts first.
Where a repair changes nothing, samples are drawn even if one answer would do: the greedy one would be the same again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from scripts.asp.feedback import solver_message
from scripts.asp.solver import Outcome, Request, Solver, Verdict, code_only
from scripts.inference.generator import Generator
from scripts.lm import prompts

NO_CODE = "error: there is no code"
VOTE_SETS = 256  # answer sets at the most by which two samples are compared
OTHERS = 1  # samples in place of a repair that changes nothing: a try costs two answers at the most
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


def write_steps(
    generator: Generator,
    requests: Sequence[StepRequest],
    k: int,
    solver: Solver,
    samples: int = 1,
    drafts: Sequence[str] | None = None,
    on_attempt: OnAttempt | None = None,
    on_done: Callable[[int], None] | None = None,
) -> list[StepResult]:
    """Write all steps, with up to `k` repairs each where the solver complains.

    `drafts`, where there are any, are the first answers, written already. `on_done` hears how many more first answers are there.
    """
    written = [StepResult(ask.instruction) for ask in requests]
    failing = list(range(len(requests)))
    for attempt in range(k + 1):
        before = [written[index].attempts[-1] if attempt else None for index in failing]
        asked = [
            prompts.repair(requests[index].instruction, last.code, last.message)
            if last
            else requests[index].messages
            for index, last in zip(failing, before, strict=True)
        ]
        outputs = drafts if drafts and not attempt else generator.answers(asked, None if attempt else on_done)
        attempts = check([requests[index] for index in failing], outputs, solver)
        unchanged = _unchanged(attempts, before)
        again = [place for place, same in enumerate(unchanged) if samples > 1 or same]
        best = _best(
            generator,
            [requests[failing[place]] for place in again],
            [asked[place] for place in again],
            [attempts[place] for place in again],
            [unchanged[place] for place in again],
            samples - 1 or OTHERS,
            solver,
        )
        for place, found in zip(again, best, strict=True):
            attempts[place] = found
        still = []
        for index, found, stuck in zip(
            failing, attempts, _unchanged(attempts, before), strict=True
        ):  # stuck: the sample is no better
            written[index].attempts.append(found)
            if on_attempt:
                on_attempt(index, written[index])
            if found.message and not stuck:
                still.append(index)
        failing = still
        if not failing:
            break
    return written


def _unchanged(attempts: Sequence[Attempt], before: Sequence[Attempt | None]) -> list[bool]:
    """Which tries have the code of the one they should repair."""
    return [
        last is not None and found.code == last.code for found, last in zip(attempts, before, strict=True)
    ]


def _best(
    generator: Generator,
    requests: Sequence[StepRequest],
    asked: Sequence[list[prompts.Message]],
    attempts: Sequence[Attempt],
    unchanged: Sequence[bool],
    count: int,
    solver: Solver,
) -> list[Attempt]:
    """In place of each try the best of it and `count` samples more: what the solver gets furthest with, by a vote.

    Of those that get equally far, the largest group that means the same wins (Shi et al., 2022, vote by execution); of
    equally large ones the try itself, but anything else where it is `unchanged`, a repair that repeats what it repairs.
    """
    if not requests:
        return []
    sampled = [text for texts in generator.samples(asked, count) for text in texts]
    checked = check([ask for ask in requests for _ in range(count)], sampled, solver)
    groups = []
    for index, greedy in enumerate(attempts):
        found = [greedy, *checked[index * count : (index + 1) * count]]
        top = [each for each in found if each.rank == max(other.rank for other in found)]
        if unchanged[index]:
            top = [each for each in top if each.code != greedy.code] or [greedy]
        groups.append(top)
    meanings = _meanings(requests, groups, solver)
    return [
        _most_agreed(group, [meanings.get((ask.context, found.code), found.code) for found in group])
        for ask, group in zip(requests, groups, strict=True)
    ]


def _meanings(
    requests: Sequence[StepRequest], groups: Sequence[Sequence[Attempt]], solver: Solver
) -> dict[tuple[str, str], Hashable]:
    """The answer sets of the program so far with each code that passes, by context and code; where they are all found."""
    wanted = list(
        dict.fromkeys(
            (ask.context, found.code)
            for ask, group in zip(requests, groups, strict=True)
            if len(group) > 1
            for found in group
            if found.outcome.passes
        )
    )
    requests = (
        Request(context + code, solve=True, answer_sets=VOTE_SETS, cpu_seconds=SOLVE_SECONDS)
        for context, code in wanted
    )
    return {
        pair: outcome.answer_sets
        for pair, outcome in zip(wanted, solver.run(requests), strict=True)
        if outcome.answer_sets is not None
    }


def _most_agreed(group: Sequence[Attempt], meanings: Sequence[Hashable]) -> Attempt:
    """The first try of the largest group that means the same; of equally large ones the first."""
    votes = Counter(meanings)
    return max(zip(group, meanings, strict=True), key=lambda pair: votes[pair[1]])[0]
