"""Switched-off code: lines of comments that are statements of clingo or of an older syntax.

The syntax of a line decides, not clingo's parser: it knows no statement of lparse, gringo 3 or DLV, and no
half of a statement. Words that stand side by side are prose: no statement has them, except behind `not` or a
directive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<directive>#[a-z_]+\+?)|(?P<word>[_\']*[A-Za-z][\w\']*|\d\w*)|(?P<neck>:-|:~|<-)'
    r"|(?P<sign>[-+*/\\^&?~|@:;,.=<>!(){}\[\]_$])|(?P<space>\s+)|(?P<other>.)"
)
_OLD_DIRECTIVE = re.compile(r"^\s*(?:hide|const|compute|domain|external|weight|function)\s+(?=[\w{])")
_STARTS = re.compile(
    r"^\s*#(?:show|hide|const|minimi[sz]e|maximi[sz]e|program|external|include|script|domain|base|cumulative|volatile"
    r"|forget|import|project|defined|edge|heuristic|theory|compute|maxint|begin_lua|end_lua|end)\b"
)
_STARTS_SCRIPT = re.compile(r"^\s*#(?:script|begin_lua)\b")
_NECK = re.compile(r":-|:~")
_END = re.compile(r"\.\s*(?:\[[^\]]*\]\s*)?$")
_OPEN = re.compile(r"(?:[,;:({\[=<>|+*/-]|:-|:~|\bnot)\s*$")
_LEAD = re.compile(r"^\W*(?:[^\W\d]+[ :,.=-]+){1,3}?(?=[-{]?\s*[a-z_]\w*\s*\(|:-|:~|\{|#\w)", re.UNICODE)
_WIDEST = 2000
"""A longer line is prose."""


def switched_off(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each run of lines that is a switched-off statement, or several.

    Arguments:
        lines: The lines of a comment without its marks.
    """
    index = endless = 0
    while index < len(lines):
        end = index
        if len(lines[index]) <= _WIDEST and lines[index].strip():
            if _STARTS_SCRIPT.match(lines[index]):
                end = next((at + 1 for at in range(index, len(lines)) if "#end" in lines[at]), index + 1)
            elif _is_statement_with_prose(lines[index]) or _is_fragment(lines[index]):
                end = index + 1
            elif index >= endless:
                end, endless = _whole_statement(lines, index)
            if end == index:
                end = _begun_statement(lines, index)
        if end > index:
            yield index, end
        index = max(end, index + 1)


def _whole_statement(lines: Sequence[str], begin: int) -> tuple[int, int]:
    """The end of the statement that begins at line `begin`, or `begin` if none does.

    The second number is that of a line up to which no whole statement can begin.
    """
    open_brackets, marked = 0, False
    for index in range(begin, len(lines)):
        line = _without_note(lines[index])
        if not line.strip() or _is_prose(line):
            return begin, index
        open_brackets += _open_brackets(line)
        marked = marked or _has_code_marks(line)
        if _END.search(line) and open_brackets <= 0:
            return (index + 1, index) if marked else (begin, index)
        if not _OPEN.search(line) and open_brackets <= 0 and not _goes_on(lines, index + 1):
            return begin, index
    return begin, len(lines)


def _begun_statement(lines: Sequence[str], begin: int) -> int:
    """The end of a statement without its end that begins at line `begin`, or `begin` if none does."""
    if _is_prose(_without_note(lines[begin])) or not _NECK.search(lines[begin]):
        return begin
    end = begin + 1
    while end < len(lines) and lines[end].strip() and _OPEN.search(_without_note(lines[end - 1])):
        if _is_prose(_without_note(lines[end])):
            break
        end += 1
    return end


def _is_fragment(line: str) -> bool:
    """Whether a line is a part of a list in a statement: terms with commas between them, and a semicolon."""
    return line.count(",") >= 2 and line.rstrip().endswith(";") and not _is_prose(line)


def _goes_on(lines: Sequence[str], index: int) -> bool:
    """Whether a line begins with what continues a statement."""
    return index < len(lines) and re.match(r"\s*(?::-|:~|[,;:.|}\])]|[<>=!]=?)", lines[index]) is not None


def _is_statement_with_prose(line: str) -> bool:
    """Whether a line is a statement with a few words before it, or any words behind it."""
    line = _without_note(line)
    if not re.search(r":-|:~|#\w", line) or not _is_prose(line):
        return False
    for match in islice(re.finditer(r"\.(?:\s|$)", line), 5):
        if (code := line[: match.end()]) and not _is_prose(code) and re.search(r":-|:~|^\s*#\w", code):
            return True
    lead = _LEAD.match(line)
    rest = line[lead.end() :] if lead else ""
    return bool(rest) and ":-" in rest and not _is_prose(rest)


def _without_note(line: str) -> str:
    """A line without the comment behind its code."""
    masked = re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda match: "_" * len(match[0]), line)
    mark = masked.find("%")
    return line[:mark] if mark > 0 else line


def _is_prose(text: str) -> bool:
    """Whether two words stand side by side, or a character is none of the language."""
    if len(text) > _WIDEST:
        return True
    text = _OLD_DIRECTIVE.sub("", text)
    previous = ""
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "other":
            return True
        if kind == "space":
            continue
        if kind in ("word", "string"):
            if previous and previous not in ("not", "v") and token not in ("v", "not"):
                return True
            previous = token
        else:
            previous = ""
    return False


def _has_code_marks(text: str) -> bool:
    """Whether a text without prose is a statement, and not a word or a list of names."""
    if re.search(r":-|:~|<-", text) or _STARTS.search(text) or _OLD_DIRECTIVE.search(text):
        return True
    return bool(re.search(r"[a-z_]\w*\(.*\)|\{.*\}", text, re.DOTALL))


def _open_brackets(text: str) -> int:
    """How many more brackets open than close."""
    text = re.sub(r'"(?:[^"\\\n]|\\.)*"', "", text)
    return sum(text.count(left) - text.count(right) for left, right in ("()", "{}", "[]"))
