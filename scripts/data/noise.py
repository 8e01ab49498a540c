"""Noise: an instruction in lower case and without punctuation."""

from __future__ import annotations

import re

_OPERAND = r"(?:\d+|[^\W\d_]\d*)"  # a number or a variable
# An operator between two operands, or between a longer name and an operand; the sign of a number.
_MATHS = (
    rf"(?<=[\w)`])\s*(?:[-+*/=<>]|\.\.|!=|<=|>=)\s*(?={_OPERAND}(?![\w'])|\(\w)"
    r"|(?<=\b[^\W\d_])\s*(?:[+*=<>]|!=|<=|>=)\s*(?=\w)"
    r"|(?<![\w)-])-(?=\d)"
)


def noisy(instruction: str) -> str:
    """Return the instruction in lower case and without punctuation.

    Formulas such as `T-1`, `X != Y` and `1..n` keep their operators, and names keep their underscores:
    without them the instruction would mean something else.
    """
    text = re.sub(
        rf"(?P<maths>(?a:{_MATHS}))|[^\w\s]", lambda match: match["maths"] or " ", instruction.lower()
    )
    text = re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", " ", text)
    return re.sub(r"\s+", " ", text).strip()
