"""Several samples of each step: how often one of them is right, and which one is chosen without gold."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.evaluation.grader import Answer, Grader, step_items
from scripts.evaluation.items import Item, SampleItem
from scripts.evaluation.settings import Part
from scripts.inference.attempts import Attempt, check
from scripts.inference.requests import Sampled, StepRequest, TextGenerator, Unanswered
from scripts.inference.voting import Ballot, elect, of_highest_rank

GROUP = 4
"""Problems whose samples are drawn and kept together: about 50 steps."""


def score_samples(generator: TextGenerator, graders: Sequence[Grader], count: int) -> list[Item]:
    """`count` random samples of every step of every problem, after the gold steps before it.

    Each is graded as a step is. `SampleItem.chosen_by` has the ways of choosing that take it; gold has no
    influence on them.
    """
    places = [(grader, index) for grader in graders for index in range(len(grader.steps))]
    requests = [request for grader in graders for request in grader.loop_requests()]
    texts = generator.sample([request.messages for request in requests], count)
    samples = _checked(requests, texts, graders)
    answers = [
        Answer(grader, index, request.instruction, attempt)
        for (grader, index), request, attempts in zip(places, requests, samples, strict=True)
        for attempt in attempts
    ]
    items = iter(step_items(Part("samples"), answers))
    choices = _choices(places, samples)
    return [
        SampleItem(
            **vars(next(items)),
            sample=number,
            log_probability=_log_probability(attempt),
            chosen_by=tuple(way for way, choice in chosen.items() if choice is attempt),
        )
        for attempts, chosen in zip(samples, choices, strict=True)
        for number, attempt in enumerate(attempts, 1)
    ]


def _checked(
    requests: Sequence[StepRequest], texts: Sequence[Sequence[str]], graders: Sequence[Grader]
) -> list[list[Attempt]]:
    """An attempt for each sample. Equal samples of a step are checked once."""
    distinct = list(dict.fromkeys((place, text) for place, some in enumerate(texts) for text in some))
    attempts = check(
        [requests[place] for place, _ in distinct], [text for _, text in distinct], graders[0].solver
    )
    found = dict(zip(distinct, attempts, strict=True))
    return [[_with_output(found[place, text], text) for text in some] for place, some in enumerate(texts)]


def _with_output(attempt: Attempt, text: str) -> Attempt:
    """A copy of an attempt for an equal sample, which may have another log-probability."""
    return Attempt(**vars(attempt) | {"output": text})


def _log_probability(attempt: Attempt) -> float | None:
    """The log-probability of a sample, if it is known."""
    return attempt.output.log_probability if isinstance(attempt.output, Sampled) else None


def _choices(
    places: Sequence[tuple[Grader, int]], samples: Sequence[Sequence[Attempt]]
) -> list[dict[str, Attempt]]:
    """For each step, the sample that each way of choosing takes."""
    solver = places[0][0].solver
    best = [of_highest_rank(attempts) for attempts in samples]
    votes = {
        "vote": [(grader.context(index),) for grader, index in places],
        "vote_instances": [grader.contexts(index) for grader, index in places],
    }
    elected = {
        way: elect([Ballot(*ballot) for ballot in zip(contexts, best, strict=True)], solver)
        for way, contexts in votes.items()
    }
    return [
        {"first": attempts[0], "checks": best[place][0]}
        | _likeliest(attempts, best[place])
        | {way: elected[way][place] for way in votes}
        for place, attempts in enumerate(samples)
    ]


def _likeliest(attempts: Sequence[Attempt], best: Sequence[Attempt]) -> dict[str, Attempt]:
    """The samples of the highest log-probability, of all and of the best ones; {} if they are not known."""
    if not all(isinstance(attempt.output, Sampled | Unanswered) for attempt in attempts):
        return {}
    ways = {"log_probability": attempts, "checks_log_probability": best}
    return {
        way: max(some, key=lambda attempt: _log_probability(attempt) or 0.0) for way, some in ways.items()
    }
