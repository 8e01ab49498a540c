"""The gate: the check of a text before clingo's parser reads it.

It refuses what could read files or run code (`#include`, `#script`, clingo's ground format) and what clingo's
parser cannot take (NUL bytes, text that is not valid UTF-8).
"""

from __future__ import annotations

import re

# Tokens of clingo's lexer that hide what is in them: a string (it knows only these three escapes; a text with
# another escape is no string), the start of a block comment, and a comment to the end of the line (`#!`
# starts one too).
_OPAQUE = re.compile(r'"(?:[^"\\\n]|\\[\\n"])*"|%\*|(?:%|#!)[^\n]*')
_IN_BLOCK = re.compile(r"%\*|\*%|%[^\n]*")  # block comments nest, and a `%` in one hides the rest of its line
_OUTSIDE = re.compile(r"#(?:include|script)")
_ASPIF = re.compile(r"asp\s+\d")  # the header of clingo's ground format, which has a lexer of its own


def code_only(program: str) -> str:
    """Return `program` with spaces in place of its strings and comments, as clingo's lexer separates them
    from code.

    The length and the line breaks stay the same, so a position in the result is a position in `program`.
    """
    pieces, position = [], 0
    while token := _OPAQUE.search(program, position):
        pieces.append(program[position : token.start()])
        end, depth = token.end(), int(token[0] == "%*")
        while depth and (mark := _IN_BLOCK.search(program, end)):
            depth += {"%*": 1, "*%": -1}.get(mark[0], 0)
            end = mark.end()
        position = len(program) if depth else end
        pieces.append(re.sub(r"[^\n]", " ", program[token.start() : position]))
    return "".join([*pieces, program[position:]])


def refusal(program: str) -> str:
    """Return why `program` may not be given to clingo, in the form of clingo's messages, or "" if it may.

    Strings and comments may contain anything.
    """
    try:
        program.encode()
    except UnicodeEncodeError as error:
        return _refused(program, error.start, "the text is not valid UTF-8")
    if "\0" in program:
        return _refused(program, program.index("\0"), "a NUL byte is not allowed in a program")
    if _ASPIF.match(program):
        return _refused(program, 0, "a ground program (aspif) is not allowed, write rules")
    if _OUTSIDE.search(program) and (directive := _OUTSIDE.search(code_only(program))):
        return _refused(
            program,
            directive.start(),
            f"{directive[0]} is not allowed, a program may not reach outside itself",
        )
    return ""


def _refused(program: str, index: int, why: str) -> str:
    """Return a message in clingo's form: line and column (in bytes, from 1) of `index`, then `why`."""
    before = program[:index]
    column = len(before[before.rfind("\n") + 1 :].encode(errors="replace")) + 1
    return f"<block>:{before.count(chr(10)) + 1}:{column}-{column + 1}: error: {why}"
