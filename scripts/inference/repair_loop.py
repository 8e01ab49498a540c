"""The repair loop: write a step, check it in its context, and ask again with the solver message.

The repair prompt is the one of the training data: an independent turn, or the conversation of the step with
the attempt and the solver message. With several samples a step, the attempt that passes the
most checks stays, then a vote decides (`voting`). If a greedy repair repeats the broken code, one sample is
drawn in its place, because the same prompt would give the same answer again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.asp.solver import Solver
from scripts.inference.attempts import OnAttempt, StepResult, check
from scripts.inference.requests import OnDone, StepRequest, TextGenerator, Unanswered
from scripts.inference.voting import Pending, choose_among_samples
from scripts.lm import prompts

REDRAWN = 1
"""Samples in place of a repair that changes nothing. So one round costs two answers at most."""


@dataclass(frozen=True)
class LoopSettings:
    """`k`: repairs of a step, at most; 0 is the plain model.

    `samples`: answers in each round, the first one greedy.

    `repair`: one of `prompts.REPAIR_PROMPTS`.
    """

    k: int = 3
    samples: int = 1
    repair: str = "turn"

    @property
    def name(self) -> str:
        """The name in the scores: `k3`, `k3n4` with 4 samples, `k3c` with repairs in the conversation."""
        samples = f"n{self.samples}" if self.samples > 1 else ""
        return f"k{self.k}{samples}{'c' if self.repair == 'conversation' else ''}"

    @property
    def uses_solver(self) -> bool:
        """Whether the solver has an influence on what is written."""
        return self.k > 0 or self.samples > 1


def write_steps(
    generator: TextGenerator,
    requests: Sequence[StepRequest],
    settings: LoopSettings,
    solver: Solver,
    on_attempt: OnAttempt | None = None,
    on_done: OnDone | None = None,
) -> list[StepResult]:
    """Write all steps side by side, each with up to `settings.k` repairs.

    `on_done` counts the first answers.
    """
    results = [StepResult(request.instruction) for request in requests]
    pending = [Pending(index, request, request.messages) for index, request in enumerate(requests)]
    for number in range(settings.k + 1):
        outputs = _repairs(generator, pending) if number else _first_answers(generator, pending, on_done)
        attempts = check([step.request for step in pending], outputs, solver)
        for step, attempt in zip(pending, attempts, strict=True):
            step.attempt = attempt
        to_sample = [step for step in pending if settings.samples > 1 or step.unchanged]
        choose_among_samples(generator, to_sample, settings.samples - 1 or REDRAWN, solver)
        for step in pending:
            results[step.index].attempts.append(step.attempt)
            if on_attempt:
                on_attempt(step.index, results[step.index])
        pending = [_next_round(step, settings) for step in pending if _goes_on(step)]
        if not pending:
            break
    return results


def _goes_on(step: Pending) -> bool:
    """Whether a repair may help: the attempt failed, is another one than before, and the model was asked."""
    attempt = step.attempt
    return not (attempt.accepted or step.unchanged or isinstance(attempt.output, Unanswered))


def _first_answers(generator: TextGenerator, pending: Sequence[Pending], on_done: OnDone | None) -> list[str]:
    """The draft of each request, or else the greedy answer."""
    without = [step for step in pending if step.request.draft is None]
    if not without:
        return [step.request.draft for step in pending]
    answers = iter(generator.generate([step.prompt for step in without], on_done))
    return [next(answers) if step.request.draft is None else step.request.draft for step in pending]


def _repairs(generator: TextGenerator, pending: Sequence[Pending]) -> list[str]:
    """The greedy answers to the repair prompts."""
    return generator.generate([step.prompt for step in pending])


def _next_round(step: Pending, settings: LoopSettings) -> Pending:
    """The step with the prompt that repairs its attempt. No prompt has more than one attempt."""
    conversation = step.request.messages if settings.repair == "conversation" else None
    prompt = prompts.repair(step.request.instruction, step.attempt.code, step.attempt.message, conversation)
    return Pending(step.index, step.request, prompt, previous=step.attempt)
