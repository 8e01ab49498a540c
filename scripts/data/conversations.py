"""Conversation rows: a problem step by step, in several styles, namings and predicate renamings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, product
from random import Random

from scripts.data.gold import Variant
from scripts.data.in_view import needed_predicates, turns_in_view
from scripts.data.noise import noisy
from scripts.data.predicate_renaming import rename_predicates_in_text, variable_names
from scripts.data.renamed_problems import RenamedProblem, VariableRenamer
from scripts.data.report import Report
from scripts.data.rows import Row
from scripts.data.settings import ConversionSettings
from scripts.data.variable_renaming import rename_in_text
from scripts.data.wordings import draw_wording
from scripts.lm import prompts

Wordings = Mapping[str, Mapping[str, str]]
"""Paraphrased instructions: for each style, from an instruction to its paraphrase."""


@dataclass(frozen=True)
class _Variation:
    """How a conversation is written.

    Attributes:
        style: The style of the description.
        naming: The names of the variables.
        noise: Whether the instructions have noise.
        draw: The seed for the wordings of the instructions; None for the original wordings.
    """

    style: str
    naming: str
    noise: bool
    draw: int | None = None


def conversation_rows(
    problems: Sequence[RenamedProblem],
    renamer: VariableRenamer,
    settings: ConversionSettings,
    rng: Random,
    wordings: Wordings | None = None,
) -> Iterator[Row]:
    """Yield up to `settings.conversations` conversations of one problem.

    The first is the problem as it is. The others are drawn from all combinations of style and naming; a share
    has noise. The retellings and the predicate renamings take turns. A retelling has one description and one
    wording of each instruction: if it has had all namings already, its turn goes to the problem as it is. A
    conversation ends before the first step whose rule needs a predicate that is not in view.

    Arguments:
        problems: The problem as it is, then its retellings and its predicate renamings.
        renamer: Gives the variants under other variable names. Its report counts the steps that are left out.
        settings: How many conversations, and the styles, namings and noise.
        rng: Draws the combinations.
        wordings: Paraphrased instructions.
    """
    descriptions = problems[0].problem.descriptions()
    styles = [style for style in descriptions if style == "original" or style in settings.styles]
    variations = _draw_variations(styles, settings, rng)
    for variation, renamed in _turns(variations, problems, settings.namings):
        row = _conversation(variation, renamed, renamer, (wordings or {}).get(variation.style, {}))
        if _cut_to_view(row, renamed, renamer.report):
            yield row


def _cut_to_view(row: Row, renamed: RenamedProblem, report: Report) -> bool:
    """End a conversation before the first step that needs a predicate that is not in view.

    Returns whether a step is left. The report counts the steps that are cut off.
    """
    needed = [needed_predicates(step) for step in renamed.problem.encoding.instructed]
    turns = turns_in_view(row["messages"], needed)
    if turns < len(needed):
        report.dropped["step: its rule, or one before it, needs a predicate that is not in view"] += (
            len(needed) - turns
        )
        del row["messages"][1 + 2 * turns :]
    return turns > 0


def _turns(
    variations: Sequence[_Variation], problems: Sequence[RenamedProblem], namings: Sequence[str]
) -> Iterator[tuple[_Variation, RenamedProblem]]:
    """Yield each variation with a problem, each pair once: with few combinations some are drawn twice.

    A retelling that has had the naming of its turn gets another one.
    """
    seen: set[tuple[_Variation, RenamedProblem]] = set()
    for variation, renamed in zip(variations, cycle(problems), strict=False):
        turns = [(variation, renamed)]
        if renamed.retelling:
            plain = replace(variation, style="original", draw=None)
            turns = [(replace(plain, naming=naming), renamed) for naming in (plain.naming, *namings)]
            turns.append((variation, problems[0]))
        turn = next((turn for turn in turns if turn not in seen), None)
        if turn:
            seen.add(turn)
            yield turn


def _draw_variations(styles: Sequence[str], settings: ConversionSettings, rng: Random) -> list[_Variation]:
    """Draw the variations: the original, then combinations without noise, then a share with noise."""
    first, *others = product(styles, settings.namings)
    without_noise, with_noise = others or [first], [first, *others]
    rng.shuffle(without_noise)
    rng.shuffle(with_noise)
    noisy_rows = round(settings.conversations * settings.noise)
    clean_rows = max(0, settings.conversations - 1 - noisy_rows)
    variations = [
        _Variation(*first, noise=False),
        *(_Variation(*each, noise=False) for each in islice(cycle(without_noise), clean_rows)),
        *(_Variation(*each, noise=True) for each in islice(cycle(with_noise), noisy_rows)),
    ]
    if settings.wordings:
        variations[1:] = [replace(variation, draw=rng.getrandbits(32)) for variation in variations[1:]]
    return variations[: settings.conversations]


def _conversation(
    variation: _Variation, renamed: RenamedProblem, renamer: VariableRenamer, wording: Mapping[str, str]
) -> Row:
    """The row of one conversation."""
    variant = renamer.variant(renamed, variation.naming)
    if variation.draw is not None:
        wording = _drawn_wordings(renamed.source or renamed, variation.draw) | dict(wording)
    instructions = _instructions(renamed, variant, wording)
    if variation.noise:
        instructions = [noisy(instruction) or instruction for instruction in instructions]
    codes = [code for _, code in variant.steps]
    description = prompts.describe(renamed.problem.descriptions()[variation.style], variant.given)
    return {
        "messages": prompts.conversation(description, list(zip(instructions, codes, strict=True))),
        "meta": renamed.meta
        | {
            "kind": "conversation",
            "style": variation.style,
            "naming": variant.naming,
            "noise": variation.noise,
        }
        | ({} if variation.draw is None else {"wordings": "drawn"}),
    }


def _drawn_wordings(problem: RenamedProblem, seed: int) -> dict[str, str]:
    """A wording for each instruction that has several."""
    wordings, rng = problem.problem.wordings, Random(seed)
    drawn = {instruction: draw_wording(instruction, wordings, rng) for instruction in wordings}
    return {instruction: text for instruction, text in drawn.items() if text != instruction}


def _instructions(renamed: RenamedProblem, variant: Variant, wording: Mapping[str, str]) -> list[str]:
    """The instructions of a variant. A paraphrase gets the variant's predicate and variable names as well."""
    source = renamed.source or renamed
    stay = variable_names(source.problem) | renamed.kept if renamed.source else ()
    instructions = []
    for index, (instruction, _) in enumerate(source.original.steps):
        paraphrase = wording.get(instruction)
        if paraphrase is None:
            instructions.append(variant.steps[index][0])
            continue
        text = rename_predicates_in_text(paraphrase, renamed.names, stay)
        instructions.append(rename_in_text(text, variant.names[index]) if variant.names else text)
    return instructions
