"""The context of a step, and the solver message for a step in its context.

Training rows and the repair loop use the same two functions, so a model sees the same messages in both.
clingo gets context and code as one text: the line in a message counts from the beginning of the context.
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

UNSATISFIABLE = "UNSATISFIABLE"
"""The solver message for a program without an answer set."""

_UNDEFINED = re.compile(r"info: atom does not occur in any rule head:\s+-?([a-z_]\w*)(\(.*\))?$", re.DOTALL)


def context_of(facts: str, given: str, history: Sequence[str]) -> str:
    """Return the program before a step as one text.

    Arguments:
        facts: The text of an instance, or "".
        given: The given code: statements without an instruction.
        history: The rules of the steps before this one.
    """
    parts = [part.strip("\n") for part in (facts, given, *history)]
    return "".join(f"{part}\n" for part in parts if part)


def solver_message(outcome: Outcome, context: str = "") -> str:
    """Return the solver message for a step, or "" if the solver accepts it.

    Arguments:
        outcome: The outcome of `context` and the step's code as one program.
        context: The program before the step.

    Returns:
        clingo's errors as printed; or `UNSATISFIABLE` for a solved outcome without an answer set; or clingo's
        notes on atoms that occur in no rule head, if `context` has their predicate, but only with other
        numbers of arguments.
    """
    if outcome.verdict is Verdict.UNSATISFIABLE:
        return UNSATISFIABLE
    if not outcome.passes:
        return outcome.message
    undefined = [
        (note, atom[1], _arity(atom[2] or "")) for note in outcome.notes if (atom := _UNDEFINED.search(note))
    ]
    if not undefined:
        return ""
    known = _arities(context)
    return "\n".join(note for note, name, arity in undefined if name in known and arity not in known[name])


def _arities(context: str) -> dict[str, set[int]]:
    """The numbers of arguments that each predicate has in `context`."""
    arities: dict[str, set[int]] = {}
    with contextlib.suppress(UserError):  # clingo may accept a context only together with the step
        for step in read_encoding(context).steps:
            for statement in step.statements:
                for name, arity in predicates(statement):
                    arities.setdefault(name.lstrip("-"), set()).add(arity)
    return arities


def _arity(arguments: str) -> int:
    """The number of arguments in `(…)`. clingo cannot parse this text again: it may contain names like
    `#Anon0`.
    """
    depth, commas = 0, 0
    for character in code_only(arguments):
        depth += (character == "(") - (character == ")")
        commas += character == "," and depth == 1
    return commas + 1 if arguments else 0
