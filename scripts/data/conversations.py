"""Conversation rows: a problem step by step, in several styles and names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import cycle, islice, product
from random import Random

from scripts.data.gold import Variant
from scripts.data.noise import noisy
from scripts.data.predicate_renaming import rename_predicates_in_text, variable_names
from scripts.data.problems import STYLES
from scripts.data.renamed_problems import RenamedProblem
from scripts.data.rows import Row
from scripts.data.variable_renaming import rename_in_text
from scripts.lm import prompts

NOISE_SHARE = (
    0.25  # of the conversations: enough to be robust, while most instructions stay as people write them
)


def conversation_rows(
    told: Sequence[RenamedProblem],
    limit: int,
    rng: Random,
    wordings: dict[str, dict[str, str]] | None = None,
    styles: Collection[str] = STYLES,
    noise: float = NOISE_SHARE,
) -> Iterator[Row]:
    """Up to `limit` conversations of a problem: as it is first, then a draw over tones and namings, a share of it with noise.

    The vocabularies take turns. `wordings` has, by style, paraphrases of instructions where somebody made them.
    """
    descriptions = [
        style for style in told[0].problem.descriptions() if style == "original" or style in styles
    ]
    first, *rest = product(descriptions, told[0].namings)
    quiet, loud = rest or [first], [first, *rest]
    rng.shuffle(quiet)
    rng.shuffle(loud)
    noisy_rows = round(limit * noise)
    drawn = [
        (first, False),
        *((each, False) for each in islice(cycle(quiet), max(0, limit - 1 - noisy_rows))),
        *((each, True) for each in islice(cycle(loud), noisy_rows)),
    ][:limit]
    turns = zip(drawn, cycle(range(len(told))), strict=False)
    for ((style, naming), unclean), turn in dict.fromkeys(
        turns
    ):  # nothing twice, where there are few ways to tell it
        renamed_problem = told[turn]
        variant = renamed_problem.variant(naming)
        instructions = _told(renamed_problem, variant, (wordings or {}).get(style, {}))
        steps = [
            (noisy(instruction) or instruction if unclean else instruction, code)
            for instruction, (_, code) in zip(instructions, variant.steps, strict=True)
        ]
        description = prompts.describe(renamed_problem.problem.descriptions()[style], variant.given)
        yield {
            "messages": prompts.conversation(description, steps),
            "meta": renamed_problem.meta
            | {"kind": "conversation", "style": style, "naming": variant.naming, "noise": unclean},
        }


def _told(renamed_problem: RenamedProblem, variant: Variant, wording: dict[str, str]) -> Iterator[str]:
    """The instructions of a variant, each in another wording where there is one, its predicates and variables renamed along."""
    kept = variable_names(renamed_problem.source.problem) if renamed_problem.source else ()
    for index, (instruction, _) in enumerate((renamed_problem.source or renamed_problem).original.steps):
        other = wording.get(instruction)
        if other is None:
            yield variant.steps[index][0]
        else:
            other = rename_predicates_in_text(other, renamed_problem.names, kept)
            yield rename_in_text(other, variant.names[index]) if variant.names else other
