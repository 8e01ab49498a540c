"""Names in view: whether a model can read the names that it has to write.

A name is in view if it stands as a word in a text before its first use: in the description, the given code,
an instruction or an earlier answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from scripts.asp.encoding import Step
from scripts.asp.syntax import predicates
from scripts.data.problems import Problem
from scripts.lm import prompts

_WORD = re.compile(r"[^\W\d]\w*")
_PRIMED = re.compile(r"[^\W\d][\w']*'")  # a name may end with primes


def words(text: str) -> set[str]:
    """Return the words of a text, as names of predicates are spelled."""
    return {*_WORD.findall(text), *_PRIMED.findall(text)}


def needed_predicates(step: Step) -> set[str]:
    """Return the names of the predicates of a step."""
    return {name.lstrip("-") for statement in step.statements for name, _ in predicates(statement)} - {""}


def turns_in_view(messages: Sequence[prompts.Message], needed: Sequence[set[str]]) -> int:
    """Return how many answers of a conversation need only names that are in view.

    They are counted up to the first answer that needs another name.

    Arguments:
        messages: The conversation: the system message, then the instruction and the answer of each step.
        needed: The names that each answer needs.
    """
    shown = words(messages[0]["content"])
    for turn, names in enumerate(needed):
        instruction, answer = messages[2 * turn + 1 : 2 * turn + 3]
        shown |= words(instruction["content"])
        if not names <= shown:
            return turn
        shown |= words(answer["content"])
    return len(needed)


def out_of_view(problem: Problem, names: Iterable[str]) -> set[str]:
    """Return those of `names` that some step uses before they are in view, with some description."""
    names, encoding, missing = set(names), problem.encoding, set()
    for description in problem.descriptions().values():
        shown = words(prompts.describe(description, encoding.given))
        for step in encoding.instructed:
            shown |= words(step.instruction)
            used = words(step.code)
            missing |= (used & names) - shown
            shown |= used
    return missing


def unnamed_predicates(problem: Problem) -> list[tuple[int, str]]:
    """Return the predicates that a rule needs before they are in view, each with the line of its step."""
    shown = words(prompts.describe(problem.description, problem.encoding.given))
    found = []
    for step in problem.encoding.instructed:
        shown |= words(step.instruction)
        found += [(step.line, name) for name in sorted(needed_predicates(step) - shown)]
        shown |= words(step.code)
    return found
