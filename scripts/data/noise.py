"""Input noise: an instruction in lower case and without punctuation."""

from __future__ import annotations

import re

_OPERAND = r"(?:\d+|[^\W\d_]\d*)"  # a number or a variable


_MATHS = (  # operators between operands, or of a longer name and an operand, and the sign of a number
    rf"(?<=[\w)`])\s*(?:[-+*/=<>]|\.\.|!=|<=|>=)\s*(?={_OPERAND}(?![\w'])|\(\w)|(?<=\b[^\W\d_])\s*(?:[+*=<>]|!=|<=|>=)\s*(?=\w)"
    r"|(?<![\w)-])-(?=\d)"
)


def noisy(instruction: str) -> str:
    """The instruction in lower case without punctuation; what is mathematics stays, and underscores inside names.

    `T-1`, `X != Y` and `1..n` without their signs would say something else, and nobody types them so.
    """
    text = re.sub(
        rf"(?P<maths>(?a:{_MATHS}))|[^\w\s]", lambda match: match["maths"] or " ", instruction.lower()
    )
    text = re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", " ", text)
    return re.sub(r"\s+", " ", text).strip()
