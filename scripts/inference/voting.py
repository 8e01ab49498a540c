"""The choice among several samples: the checks that they pass, then a vote by answer sets (Shi et al.,
2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
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
    ballots = [
        Ballot((step.request.context,), attempts) for step, attempts in zip(pending, candidates, strict=True)
    ]
    for step, attempt in zip(pending, elect(ballots, solver), strict=True):
        step.attempt = attempt


def _candidates(step: Pending, samples: Sequence[Attempt]) -> list[Attempt]:
    """The attempts of the highest rank, the greedy one first; without it where it repeats what it should
    repair.
    """
    top = of_highest_rank([step.attempt, *samples])
    if step.unchanged:
        top = [attempt for attempt in top if attempt.code != step.attempt.code] or [step.attempt]
    return top


def of_highest_rank(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that pass the most checks."""
    highest = max(attempt.rank for attempt in attempts)
    return [attempt for attempt in attempts if attempt.rank == highest]


@dataclass(frozen=True)
class Ballot:
    """The attempts at a step among which a vote chooses.

    Attributes:
        contexts: The program text before the step, once for each instance on which answer sets are compared.
        attempts: The attempts.
    """

    contexts: Sequence[str]
    attempts: Sequence[Attempt]

    def keys(self, meanings: Mapping[tuple[str, str], Hashable]) -> list[Hashable]:
        """What each attempt votes for: its answer sets in all contexts in which they are known.

        If they are known in none, it votes only for the same code.
        """
        found = [
            tuple(meanings.get((context, attempt.code)) for context in self.contexts)
            for attempt in self.attempts
        ]
        return [
            key if any(sets is not None for sets in key) else attempt.code
            for key, attempt in zip(found, self.attempts, strict=True)
        ]


def elect(ballots: Sequence[Ballot], solver: Solver) -> list[Attempt]:
    """The choice of each ballot: the first attempt of the largest group with equal answer sets."""
    meanings = _meanings(ballots, solver)
    return [_most_common(ballot.attempts, ballot.keys(meanings)) for ballot in ballots]


def _meanings(ballots: Sequence[Ballot], solver: Solver) -> dict[tuple[str, str], Hashable]:
    """By context and code: the answer sets of the program so far, for the code that grounds and has few
    enough.
    """
    programs = dict.fromkeys(
        (context, attempt.code)
        for ballot in ballots
        if len(ballot.attempts) > 1
        for attempt in ballot.attempts
        if attempt.outcome.passes
        for context in ballot.contexts
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
