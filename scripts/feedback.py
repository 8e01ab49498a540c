"""What the solver says of one step in its context, in the words that training and inference both show the model.

A step is judged where it stands: instance facts, given code and the steps before it, then the code, as one text. So
a message's line counts from the start of that text, and anyone can feed `context + code` to clingo and read it again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scripts.asp_solver import Outcome, Verdict

_UNDEFINED = re.compile(r"info: atom does not occur in any rule head:\s+-?([a-z_]\w*)")


def context_of(facts: str, given: str, history: Sequence[str]) -> str:
    """The program text before a step: an instance, the code that came without instruction, the steps so far."""
    parts = [part.strip("\n") for part in (facts, given, *history)]
    return "".join(f"{part}\n" for part in parts if part)


def complaint(outcome: Outcome, context: str = "") -> str:
    """The message to answer, or "" where the solver has nothing against the step.

    That is clingo's errors as printed; or its note that an atom occurs in no head, where `context` does use that
    predicate (with another arity); or, of a solved outcome, that there is no answer set.
    """
    if outcome.verdict is Verdict.UNSATISFIABLE:
        return "UNSATISFIABLE"
    if not outcome.passes:
        return outcome.message
    return "\n".join(
        note for note in outcome.notes
        if (found := _UNDEFINED.search(note)) and re.search(rf"(?<![\w]){found[1]}\(", context)
    )
