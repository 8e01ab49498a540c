"""Steps of several statements: which of them can be split, because each statement has words of its own."""

from __future__ import annotations

import re

from scripts.asp.comments import has_words
from scripts.asp.encoding import Step

_ITEM = re.compile(r"(?:^|(?<=\s))(?:[-•*]|\(?\d{1,2}[.)]|\(?[a-h]\))\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\Wa-z_]|[\"'`(])|\s*;\s+")
_STEM = 4
"""The letters that two words must share at their beginning to be the same word."""


def split_step(step: Step) -> tuple[Step, ...]:
    """Return a step as one step for each of its statements, or () if it cannot be split.

    It can if its instruction has as many list items or sentences as statements, in their order, and each of
    them names something of its statement.
    """
    number = len(step.statements)
    if number < 2:
        return ()
    for pattern in (_ITEM, _SENTENCE):
        parts = [part.strip() for part in pattern.split(step.instruction) if part.strip()]
        pairs = list(zip(parts, step.statements, strict=False))
        if len(parts) == number and all(has_words(part) and _names(part, one.code) for part, one in pairs):
            return tuple(Step(part, (statement,), statement.line) for part, statement in pairs)
    return ()


def _names(text: str, code: str) -> bool:
    """Whether a word of a text is a name of the code, or begins as one does."""
    names = {name.lower() for name in re.findall(r"[a-zA-Z]{2,}", code)} - {"not"}
    words = {word.lower() for word in re.findall(r"[^\W\d_]{2,}", text)}
    stems = {name[:_STEM] for name in names if len(name) >= _STEM}
    return bool(words & names) or any(word[:_STEM] in stems for word in words)
