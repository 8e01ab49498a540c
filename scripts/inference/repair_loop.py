"""The solver in the loop for any number of steps at once: write, check in context, repair with the training's own prompt.

A step counts as accepted when the solver has nothing against it in its context. Of several samples the solver keeps
what it gets furthest with, and of those the one whose answer sets most of them share; the greedy one counts first.
Where a repair changes nothing, samples are drawn even if one answer would do: the greedy one would be the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.asp.solver import Solver
from scripts.inference.attempts import Attempt, OnAttempt, StepRequest, StepResult, check
from scripts.inference.generator import Generator
from scripts.inference.voting import OTHERS, _best
from scripts.lm import prompts


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
        outputs = drafts if drafts and not attempt else generator.generate(asked, None if attempt else on_done)
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
