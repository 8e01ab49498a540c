"""The gate: the check of a text before clingo's parser reads it.

It refuses what could read files or run code (`#include`, `#script`, clingo's ground format), parts that are
never grounded (`#program` other than `base`), and what clingo's parser cannot take: NUL bytes, text that is
not valid UTF-8, more than `LONGEST` characters, more than `DEEPEST` levels of brackets and operators. Its
time is linear in the length of the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 8 * 2**20
"""Characters of a program, at most."""

DEEPEST = 100
"""Levels of brackets and operators of a statement, at most. Recursion over many more crashes a process."""

_STRING_START = re.compile(r'"(?:[^"\\\n]++|\\[\\n"])*+')
# Tokens of clingo's lexer that hide what is in them: a string (it knows only these three escapes; a text with
# another escape is no string), the start of a block comment, and a comment to the end of the line (`#!`
# starts one too). Then a quote that starts no string: clingo reports it and reads on behind it.
_COMMENT = re.compile(r"%\*|(?:%|#!)[^\n]*+")
_OPAQUE = re.compile(rf'{_STRING_START.pattern}"|{_COMMENT.pattern}|"')
_IN_BLOCK = re.compile(r"%\*|\*%|%[^\n]*+")  # block comments nest; a `%` in one hides the rest of its line
_OUTSIDE = re.compile(r"#(?:include|script)")
_PART = re.compile(r"#program(?![A-Za-z0-9_])(?!\s*base\s*\.)")
_ASPIF = re.compile(r"asp\s+\d")  # the header of clingo's ground format, which has a lexer of its own
_THEORY = re.compile(r"#theory(?![A-Za-z0-9_])")
_IN_THEORY = re.compile(r'["{}.]')

_QUOTE = 'lexer error, unexpected "'

_FLAT = re.compile(r"""\([\w\s,;"']*+\)""")  # brackets that contain no others and no operator
_STRUCTURE = re.compile(r"([^()\[\]{}|+\-*/\\&?^~.]*+)([()\[\]{}|+\-*/\\&?^~]|\.++|\Z)")
_SEPARATOR = re.compile(r"[,;:<>=!]")


@dataclass(frozen=True)
class Rejection:
    """Why a text may not be given to clingo.

    Attributes:
        message: The reason, in the form of clingo's messages.
        syntax: Whether it is a syntax error, which clingo would report as well.
    """

    message: str
    syntax: bool = False


def code_only(program: str, string: str = "") -> str:
    """Return `program` with spaces in place of its strings and comments, as clingo's lexer separates them
    from code.

    The length and the line breaks stay the same, so a position in the result is a position in `program`.

    Arguments:
        program: The text.
        string: A character with which each string begins, in place of its first space.
    """
    pieces, position = [], 0
    for begin, end in _opaque(program):
        hidden = program[begin:end]
        if hidden != '"':
            blank = re.sub(r"[^\n]", " ", hidden) if "\n" in hidden else " " * len(hidden)
            mark = string if hidden[0] == '"' else ""
            pieces += [program[position:begin], mark, blank[len(mark) :]]
            position = end
    return "".join([*pieces, program[position:]])


def refusal(program: str, parts: bool = False) -> str:
    """Return the message of `rejection`, or "" if `program` may be given to clingo."""
    found = rejection(program, parts)
    return found.message if found else ""


def rejection(program: str, parts: bool = False) -> Rejection | None:
    """Return why `program` may not be given to clingo, or None if it may.

    Strings and comments may contain anything.

    Arguments:
        program: The text.
        parts: Whether `#program` may name any part: true where the text is only read, and never grounded.
    """
    if len(program) > LONGEST:
        return _refused("", 0, f"the text has {len(program):,} characters, more than {LONGEST:,}")
    try:
        program.encode()
    except UnicodeEncodeError as error:
        return _refused(program, error.start, "the text is not valid UTF-8")
    if "\0" in program:
        return _refused(program, program.index("\0"), "a NUL byte is not allowed in a program")
    if _ASPIF.match(program):
        return _refused(program, 0, "a ground program (aspif) is not allowed, write rules")
    code = code_only(program, string='"')
    if directive := _OUTSIDE.search(code):
        why = f"{directive[0]} is not allowed, a program may not reach outside itself"
        return _refused(program, directive.start(), why)
    if not parts and (part := _PART.search(code)):
        why = "#program is not allowed except for the part base, no other part is ever grounded"
        return _refused(program, part.start(), why)
    if (quote := _quote_in_theory(code)) is not None:
        return Rejection(_at(program, quote, _QUOTE), syntax=True)
    if _too_deep(_FLAT.sub("0", code)) is None or (place := _too_deep(code)) is None:
        return None
    if (
        quote := next(_stray_quotes(program), place)
    ) < place:  # what seems to be nested is the inside of a string
        return Rejection(_at(program, quote, _QUOTE), syntax=True)
    why = f"nested more than {DEEPEST} levels deep: too many operators and parentheses in one statement"
    return _refused(program, place, why)


def _stray_quotes(program: str) -> Iterator[int]:
    """Yield the places of quotes that start no string."""
    return (begin for begin, end in _opaque(program) if end == begin + 1 and program[begin] == '"')


def _opaque(program: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each string, each comment, and each quote that starts no string.

    Of the quotes up to the place at which clingo sees that there is no string, only the first is found.
    """
    position = no_string_before = 0
    while True:
        token = (
            _COMMENT.search(program, position, no_string_before)
            if position < no_string_before
            else _OPAQUE.search(program, position)
        )
        if token is None:
            if position >= no_string_before:
                return
            position = no_string_before
        elif token[0] == '"':  # clingo would fail at the same place for each quote up to there
            yield token.span()
            position, no_string_before = token.end(), _STRING_START.match(program, token.start()).end()
        else:
            position = _end(program, token, position < no_string_before)
            yield token.start(), position


def _end(program: str, token: re.Match, cut: bool) -> int:
    """The end of a string or comment. The search was `cut` short where a line comment may go on."""
    if token[0] != "%*":
        line_end = program.find("\n", token.end()) if cut else token.end()
        return line_end if line_end >= 0 else len(program)
    end, depth = token.end(), 1
    while depth and (mark := _IN_BLOCK.search(program, end)):
        depth += {"%*": 1, "*%": -1}.get(mark[0], 0)
        end = mark.end()
    return len(program) if depth else end


def _quote_in_theory(code: str) -> int | None:
    """The first quote in a theory definition, or None.

    There clingo's lexer knows no strings: it reports the quote and reads on, so a quote could hide code from
    the gate. A definition ends at the period behind its braces.
    """
    position = 0
    while theory := _THEORY.search(code, position):
        depth, position = 0, theory.end()
        while mark := _IN_THEORY.search(code, position):
            position = mark.end()
            if mark[0] == '"':
                return mark.start()
            if mark[0] == "." and depth <= 0:
                break
            depth += {"{": 1, "}": -1}.get(mark[0], 0)
        else:
            return None
    return None


def _too_deep(code: str) -> int | None:
    """The place at which a statement is nested more than `DEEPEST` levels, or None.

    A level is an open bracket of any kind or an operator of the term so far. So no syntax tree has many more
    levels than are counted here.
    """
    below = operators = bars = 0  # levels outside of the innermost bracket, and in it; open `|` in it
    outer: list[tuple[int, int]] = []
    after_operand = False  # a `|` after an operand closes another, or separates two atoms
    for token in _STRUCTURE.finditer(code):
        run, mark = token.group(1, 2)
        if not mark:  # the end of the text
            break
        if _SEPARATOR.search(run):
            operators = bars
        if text := run.rstrip():
            after_operand = not _SEPARATOR.match(text[-1])
        is_bar = mark == "|"
        if mark in "([{":
            outer.append((operators, bars))
            below, operators, bars = below + operators + 1, 0, 0
        elif mark in ")]}":
            operators, bars = outer.pop() if outer else (0, 0)
            below -= operators + 1 if below else 0
        elif mark == "." or is_bar and after_operand and not bars:
            bars = bars if outer else 0
            operators = bars
        elif is_bar and after_operand:
            bars -= 1
        else:
            operators += 1
            bars += is_bar
        after_operand = mark in ")]}" or is_bar and after_operand and operators > 0
        if below + operators > DEEPEST:
            return token.start(2)
    return None


def _refused(program: str, index: int, why: str) -> Rejection:
    return Rejection(_at(program, index, why))


def _at(program: str, index: int, why: str) -> str:
    """A message in clingo's form: line and column (in bytes, from 1) of `index`, then `why`."""
    before = program[:index]
    column = len(before[before.rfind("\n") + 1 :].encode(errors="replace")) + 1
    return f"<block>:{before.count(chr(10)) + 1}:{column}-{column + 1}: error: {why}"
