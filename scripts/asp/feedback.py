"""What the solver says of one step in its context, in the words that training and inference both show the model.

A step is judged where it stands: instance facts, given code and the steps before it, then the code, as one text. So
a message's line counts from the start of that text, and anyone can feed `context + code` to clingo and read it again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from scripts.asp.encoding import read_encoding
from scripts.asp.gate import code_only
from scripts.asp.solver import Outcome, Verdict
from scripts.asp.syntax import predicates
from utils_ft import UserError

_UNDEFINED = re.compile(r"info: atom does not occur in any rule head:\s+-?([a-z_]\w*)(\(.*\))?$", re.DOTALL)


def context_of(facts: str, given: str, history: Sequence[str]) -> str:
    """The program text before a step: an instance, the code that came without instruction, the steps so far."""
    parts = [part.strip("\n") for part in (facts, given, *history)]
    return "".join(f"{part}\n" for part in parts if part)


def solver_message(outcome: Outcome, context: str = "") -> str:
    """The message to answer, or "" where the solver has nothing against the step.

    That is clingo's errors as printed; or its note that an atom occurs in no head, where `context` knows the predicate
    with another number of arguments only; or, of a solved outcome, that there is no answer set.
    """
    if outcome.verdict is Verdict.UNSATISFIABLE:
        return "UNSATISFIABLE"
    if not outcome.passes:
        return outcome.message
    undefined = [
        (note, found[1], _arity(found[2] or ""))
        for note in outcome.notes
        if (found := _UNDEFINED.search(note))
    ]
    if not undefined:
        return ""
    known: dict[str, set[int]] = {}
    with contextlib.suppress(UserError):  # a context that clingo takes with the step, but not alone
        for step in read_encoding(context).steps:
            for statement in step.statements:
                for name, arity in predicates(statement):
                    known.setdefault(name.lstrip("-"), set()).add(arity)
    return "\n".join(note for note, name, arity in undefined if name in known and arity not in known[name])


def _arity(arguments: str) -> int:
    """How many arguments stand in `(…)`, which is no term that clingo could parse again (`#Anon0`)."""
    depth, commas = 0, 0
    for character in code_only(arguments):
        depth += (character == "(") - (character == ")")
        commas += character == "," and depth == 1
    return commas + 1 if arguments else 0
