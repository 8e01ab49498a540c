"""The gate before clingo's parser: what a text may not contain."""

from __future__ import annotations

import re

# What clingo's lexer takes as one opaque piece: a string (only these three escapes; anything else is no string), the
# start of a block comment, a comment to the end of the line (`#!` starts one too).
_OPAQUE = re.compile(r'"(?:[^"\\\n]|\\[\\n"])*"|%\*|(?:%|#!)[^\n]*')


_IN_BLOCK = re.compile(r"%\*|\*%|%[^\n]*")  # block comments nest, and a `%` in one hides the rest of its line


_OUTSIDE = re.compile(r"#(?:include|script)")


_ASPIF = re.compile(r"asp\s+\d")  # the header of clingo's ground format, which has a lexer of its own


def code_only(program: str) -> str:
    """`program` with its strings and comments blanked, as clingo's lexer tells them from code; positions stay."""
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
    """Why `program` may not reach clingo, or "". Strings and comments may say what they like."""
    try:
        program.encode()
    except UnicodeEncodeError as error:
        return _refused(program, error.start, "the text is not valid UTF-8")
    if "\0" in program:
        return _refused(program, program.index("\0"), "a NUL byte is not allowed in a program")
    if _ASPIF.match(program):
        return _refused(program, 0, "a ground program (aspif) is not allowed, write rules")
    if _OUTSIDE.search(program) and (found := _OUTSIDE.search(code_only(program))):
        return _refused(
            program, found.start(), f"{found[0]} is not allowed, a program may not reach outside itself"
        )
    return ""


def _refused(program: str, index: int, why: str) -> str:
    """A message in clingo's form: line and column (bytes, from 1) of `index`, then why."""
    before = program[:index]
    column = len(before[before.rfind("\n") + 1 :].encode(errors="replace")) + 1
    return f"<block>:{before.count(chr(10)) + 1}:{column}-{column + 1}: error: {why}"
