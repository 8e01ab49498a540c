"""The choice among several samples: checks passed, then a vote by answer sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from scripts.asp.solver import Request, Solver
from scripts.inference.attempts import SOLVE_SECONDS, Attempt, StepRequest, check
from scripts.inference.generator import Generator
from scripts.lm import prompts

VOTE_SETS = 256  # answer sets at the most by which two samples are compared


OTHERS = 1  # samples in place of a repair that changes nothing: a try costs two answers at the most


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
    sampled = [text for texts in generator.sample(asked, count) for text in texts]
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
