"""The choice among several samples: the checks that they pass, then a vote by answer sets (Shi et al.,
2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from scripts.asp.solver import Request, Solver
from scripts.inference.attempts import SOLVE_SECONDS, Attempt, check
from scripts.inference.requests import StepRequest, TextGenerator
from scripts.lm import prompts

VOTE_SETS = 256
"""Answer sets of one program, at most, by which the vote compares samples. With more it compares the code."""


@dataclass
class Pending:
    """A step that the repair loop is writing.

    Attributes:
        index: Its place among the requests of the loop.
        request: The request.
        prompt: The prompt of this round: the request's own, or a repair.
        previous: The attempt that this round repairs; None in the first round.
        attempt: The attempt of this round; None until the solver has checked it.
    """

    index: int
    request: StepRequest
    prompt: list[prompts.Message]
    previous: Attempt | None = None
    attempt: Attempt | None = None

    @property
    def unchanged(self) -> bool:
        """Whether the attempt repeats the code that it should repair."""
        return self.previous is not None and self.attempt.code == self.previous.code


def choose_among_samples(
    generator: TextGenerator, pending: Sequence[Pending], count: int, solver: Solver
) -> None:
    """Draw `count` samples for each step and set its attempt to the best of them and its greedy attempt.

    The attempts of the highest rank form groups with equal answer sets; the largest group wins. Of equally
    large groups the one with the greedy attempt wins, except if that attempt repeats the code that it
    should repair.
    """
    if not pending:
        return
    sampled = generator.sample([step.prompt for step in pending], count)
    requests = [step.request for step in pending for _ in range(count)]
    checked = check(requests, [text for texts in sampled for text in texts], solver)
    candidates = [
        _candidates(step, checked[place * count : (place + 1) * count]) for place, step in enumerate(pending)
    ]
    meanings = _meanings(pending, candidates, solver)
    for step, attempts in zip(pending, candidates, strict=True):
        # Without all its answer sets, an attempt votes only for the same code.
        keys = [meanings.get((step.request.context, found.code), found.code) for found in attempts]
        step.attempt = _most_common(attempts, keys)


def _candidates(step: Pending, samples: Sequence[Attempt]) -> list[Attempt]:
    """The attempts of the highest rank, the greedy one first; without it where it repeats what it should
    repair.
    """
    attempts = [step.attempt, *samples]
    highest = max(attempt.rank for attempt in attempts)
    top = [attempt for attempt in attempts if attempt.rank == highest]
    if step.unchanged:
        top = [attempt for attempt in top if attempt.code != step.attempt.code] or [step.attempt]
    return top


def _meanings(
    pending: Sequence[Pending], candidates: Sequence[Sequence[Attempt]], solver: Solver
) -> dict[tuple[str, str], Hashable]:
    """By context and code: the answer sets of the program so far, for the code that grounds and has few
    enough.
    """
    programs = dict.fromkeys(
        (step.request.context, attempt.code)
        for step, attempts in zip(pending, candidates, strict=True)
        if len(attempts) > 1
        for attempt in attempts
        if attempt.outcome.passes
    )
    outcomes = solver.run(
        Request(context + code, solve=True, answer_sets=VOTE_SETS, cpu_seconds=SOLVE_SECONDS)
        for context, code in programs
    )
    return {
        program: outcome.answer_sets
        for program, outcome in zip(programs, outcomes, strict=True)
        if outcome.answer_sets is not None
    }


def _most_common(attempts: Sequence[Attempt], keys: Sequence[Hashable]) -> Attempt:
    """The first attempt whose key is the most common one."""
    votes = Counter(keys)
    return max(zip(attempts, keys, strict=True), key=lambda pair: votes[pair[1]])[0]
