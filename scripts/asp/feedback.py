"""The context of a step, and the solver message for a step in its context.

Training rows and the repair loop use the same two functions, so a model sees the same messages in both.
clingo gets context and code as one text: the line in a message counts from the beginning of the context.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence

from scripts.asp.gate import code_only
from scripts.asp.solver import Outcome, Verdict
from scripts.asp.syntax import Statement, predicates, trees_of
from scripts.asp.worker import brief

UNSATISFIABLE = "UNSATISFIABLE"
"""The solver message for a program without an answer set."""

_UNDEFINED = re.compile(r"info: atom does not occur in any rule head:\s+-?([a-z_]\w*)(\(.*\))?$", re.DOTALL)
_NAME = re.compile(r"\b_*[a-z][\w']*")
_BEFORE_BRACKET = re.compile(r"\b(_*[a-z][\w']*)\(")
_CODE = re.compile(r"`[^`\n]*`|(?s:```.*?```)")
_FACT = r"-?[a-z_][\w']*\((?:[\w\s,\"'-]|\.\.)*+\)[^\S\n]*\.(?!\.)"
_FACT_LINES = re.compile(rf"(?:\A|(?<=\.\n))(?:[^\S\n]*{_FACT}(?:[^\S\n]*{_FACT})*+[^\S\n]*\n)++", re.ASCII)
_FACT_PARTS = re.compile(r"-?([a-z_][\w']*)\(([^)]*)\)", re.ASCII)


def context_of(facts: str, given: str, history: Sequence[str]) -> str:
    """Return the program before a step as one text.

    Arguments:
        facts: The text of an instance, or "".
        given: The given code: statements without an instruction.
        history: The rules of the steps before this one.
    """
    parts = [part.strip("\n") for part in (facts, given, *history)]
    return "".join(f"{part}\n" for part in parts if part)


def solver_message(outcome: Outcome, context: str = "", named: Collection[str] | None = None) -> str:
    """Return the solver message for a step, or "" if the solver accepts it.

    Arguments:
        outcome: The outcome of `context` and the step's code as one program.
        context: The program before the step.
        named: The names of the predicates that the prompt shows (`named_predicates`), if they are known.

    Returns:
        clingo's first errors as printed; or `UNSATISFIABLE` for a solved outcome without an answer set; or
        clingo's first notes on atoms that occur in no rule head, if `context` has their predicate, but only
        with other numbers of arguments, or if neither `context` nor `named` has it. It is never "" for an
        outcome that does not pass, and never much longer than 1,000 characters.
    """
    if outcome.verdict is Verdict.UNSATISFIABLE:
        return UNSATISFIABLE
    if not outcome.passes:
        return outcome.message
    undefined = [
        (note, atom[1], arity(atom[2] or "")) for note in outcome.notes if (atom := _UNDEFINED.search(note))
    ]
    if not undefined:
        return ""
    known = _arities(context)

    def is_error(name: str, arity: int) -> bool:
        if name in known:
            return arity not in known[name]
        return named is not None and name not in named

    return brief([note for note, name, arity in undefined if is_error(name, arity)])


def named_predicates(text: str) -> set[str]:
    """Return the names that a text, such as a description, may use as those of predicates.

    These are the words before an opening bracket and the words in Markdown code (`` `p/2` ``, `` `p` ``).
    """
    return {
        *_BEFORE_BRACKET.findall(text),
        *(word for code in _CODE.findall(text) for word in _NAME.findall(code)),
    }


def _arities(context: str) -> dict[str, set[int]]:
    """The numbers of arguments that each predicate has in `context`."""
    arities: dict[str, set[int]] = {}
    context = _read_facts(context, arities)
    with contextlib.suppress(RuntimeError):  # clingo may accept a context only together with the step
        for name, arity in predicates(Statement(context, 1, tuple(trees_of(context)))):
            arities.setdefault(name.lstrip("-"), set()).add(arity)
    return arities


def _read_facts(context: str, arities: dict[str, set[int]]) -> str:
    """Add the arities of simple facts, and return the context without them.

    An instance may have a hundred thousand facts. To read each of its syntax trees would take minutes.
    """
    rest, position = [], 0
    for lines in _FACT_LINES.finditer(code_only(context, string='"')):
        for name, arguments in set(_FACT_PARTS.findall(lines[0])):
            arities.setdefault(name, set()).add(arguments.count(",") + bool(arguments.strip()))
        rest.append(context[position : lines.start()])
        position = lines.end()
    return "".join([*rest, context[position:]])


def arity(arguments: str) -> int:
    """The number of arguments in `(…)`. clingo cannot parse this text again: it may contain names like
    `#Anon0`.
    """
    depth, commas = 0, 0
    for character in code_only(arguments):
        depth += (character == "(") - (character == ")")
        commas += character == "," and depth == 1
    return commas + 1 if arguments else 0
