"""The reader of commented encodings: it turns a program and its comments into steps.

A comment becomes an instruction; the statements below it become its rule. The reader drops nothing silently:
statements without an instruction, statements that share one, and comments that instruct nothing are listed in
`Encoding.findings`. clingo's parser gives the positions of statements and comments. All offsets count bytes,
as clingo's positions do.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from clingo.ast import AST, ASTType

from scripts.asp.syntax import Statement, not_parsed, parse, trees_of

_STRING = re.compile(rb'"(?:[^"\\\n]|\\[\\n"])*"')
_CLOSING = re.compile(rb"\}\s*\.")


@dataclass(frozen=True)
class Step:
    """An instruction and the statements below it. A step without an instruction is given code.

    Attributes:
        instruction: The text of the comments, or "".
        statements: The statements.
        line: The line of the first statement, from 1.
    """

    instruction: str
    statements: tuple[Statement, ...]
    line: int

    @property
    def code(self) -> str:
        """The statements as one text: the step's rule."""
        return "\n".join(statement.code for statement in self.statements)


@dataclass(frozen=True)
class Finding:
    """A place in a file that a person should look at.

    Attributes:
        line: The line, from 1.
        kind: What it is, in the same words each time.
        text: The comment or the code.
    """

    line: int
    kind: str
    text: str


@dataclass(frozen=True)
class Encoding:
    """The steps of a program in their order, and the findings of its reader by line."""

    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]

    @property
    def given(self) -> str:
        """The given code: the statements without an instruction. It is in the context of every step."""
        return "\n".join(step.code for step in self.steps if not step.instruction)

    @property
    def instructed(self) -> tuple[Step, ...]:
        """The steps that have an instruction."""
        return tuple(step for step in self.steps if step.instruction)

    @property
    def program(self) -> str:
        """The whole program without its comments."""
        return "\n".join(step.code for step in self.steps)


def read_encoding(text: str, where: str = "encoding.lp") -> Encoding:
    """Read a commented program.

    - The comments directly above a statement are its instruction.
    - A comment behind or inside a statement is added to the statement's instruction.
    - Statements that follow without a blank line share the instruction above them.
    - Comments that are followed by a blank line and other comments are a heading. They instruct nothing.

    Arguments:
        text: The program.
        where: The name of its file, for messages.

    Raises:
        UserError: clingo cannot parse the program. The error has the line and clingo's message.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        nodes = parse(text)
    except RuntimeError as error:
        raise not_parsed(error, where) from None
    return _Reader(_Source(text), nodes).read()


class _Source:
    """A text in UTF-8, with clingo's positions as byte offsets."""

    def __init__(self, text: str):
        self.data = text.encode()
        self._line_starts = [0, *(match.end() for match in re.finditer(b"\n", self.data))]

    def span(self, tree: AST) -> tuple[int, int]:
        """Begin and end of a tree."""
        return self._offset(tree.location.begin), self._offset(tree.location.end)

    def _offset(self, position) -> int:
        return self._line_starts[position.line - 1] + position.column - 1

    def line(self, offset: int) -> int:
        """The line of an offset, from 1."""
        return bisect_right(self._line_starts, offset)


@dataclass
class _Comment:
    """A comment: where it stands, and its text without its marks (empty for a banner like `%-----`)."""

    raw: str
    begin: int
    end: int
    line: int
    end_line: int
    text: str


@dataclass
class _Draft:
    """A statement, where it stands, and the texts of its comments."""

    statement: Statement
    begin: int
    end: int
    end_line: int
    comments: list[str] = field(default_factory=list)


class _Reader:
    """Reads the statements and comments of a source in their order and assigns each comment to a statement.

    Attributes:
        above: The comments since the last statement: the instruction of the next one.
        current: The last statement, or None.
        findings: The findings so far.
    """

    def __init__(self, source: _Source, nodes: Sequence[AST]):
        self.comments = [_comment(source, node) for node in nodes if node.ast_type == ASTType.Comment]
        comment_spans = [(comment.begin, comment.end) for comment in self.comments]
        trees = [node for node in nodes if node.ast_type != ASTType.Comment]
        self.drafts = [
            _Draft(
                Statement(_code(source, begin, end, comment_spans, own), source.line(begin), tuple(own)),
                begin,
                end,
                source.line(end),
            )
            for begin, end, own in _statements(source, trees, comment_spans)
        ]
        statement_spans = [(draft.begin, draft.end) for draft in self.drafts]
        self.findings = list(_unparsed(source, [*comment_spans, *statement_spans]))
        self.above: list[_Comment] = []
        self.current: _Draft | None = None

    def read(self) -> Encoding:
        """Read everything."""
        for item in sorted([*self.drafts, *self.comments], key=lambda item: (item.begin, item.end)):
            if isinstance(item, _Draft):
                self._read_statement(item)
            else:
                self._read_comment(item)
        self._report_above("comment without a statement")
        steps = tuple(self._steps())
        return Encoding(steps, tuple(sorted(self.findings, key=lambda finding: finding.line)))

    def _read_statement(self, draft: _Draft) -> None:
        draft.comments = [comment.text for comment in self.above]
        self.above.clear()
        self.current = draft

    def _read_comment(self, comment: _Comment) -> None:
        if not comment.text:
            self._report(comment.line, "banner", comment.raw.strip())
        elif _is_code(comment.text):
            self._report(comment.line, "commented-out code", comment.text)
        elif self.current and comment.begin < self.current.end:
            self.current.comments.append(comment.text)
            self._report(comment.line, "comment inside a statement, joined to its instruction", comment.text)
        elif self.current and comment.line == self.current.end_line:
            self.current.comments.append(comment.text)
            self._report(comment.line, "comment behind a statement, joined to its instruction", comment.text)
        else:
            if self.above and comment.line > self.above[-1].end_line + 1:
                self._report_above("heading, instructs no statement")
            self.above.append(comment)

    def _report(self, line: int, kind: str, text: str) -> None:
        self.findings.append(Finding(line, kind, text))

    def _report_above(self, kind: str) -> None:
        for comment in self.above:
            self._report(comment.line, kind, comment.text)
        self.above.clear()

    def _steps(self) -> Iterator[Step]:
        """Yield the steps.

        Statements on the next line, without comments of their own, join the step before.
        """
        group: list[_Draft] = []
        instruction = ""
        for draft in self.drafts:
            own = " ".join(draft.comments)
            if not own and instruction and draft.statement.line <= group[-1].end_line + 1:
                group.append(draft)
                continue
            if group:
                yield self._step(instruction, group)
            group, instruction = [draft], own
        if group:
            yield self._step(instruction, group)

    def _step(self, instruction: str, group: list[_Draft]) -> Step:
        statements = tuple(draft.statement for draft in group)
        first = statements[0]
        if not instruction:
            self._report(first.line, "statement without an instruction", first.code)
        elif len(statements) > 1:
            self._report(first.line, f"{len(statements)} statements share one instruction", instruction)
        return Step(instruction, statements, first.line)


def _comment(source: _Source, node: AST) -> _Comment:
    begin, end = source.span(node)
    return _Comment(node.value, begin, end, source.line(begin), source.line(end), _without_marks(node.value))


def _without_marks(raw: str) -> str:
    """The text of a comment without `%`, `%*` and lines of dashes; "" if no letter or digit is left."""
    lines = re.sub(r"%\*|\*%", "", raw).split("\n") if raw.startswith("%*") else [raw.removeprefix("#!")]
    text = " ".join(line.strip().lstrip("%*").strip() for line in lines)
    text = re.sub(r"\s+", " ", re.sub(r"[-=*#~_%]{3,}", " ", text)).strip()
    return text if re.search(r"\w", text) else ""


def _is_code(text: str) -> bool:
    """Whether the text of a comment is a statement that somebody commented out."""
    if not text.endswith(".") or not re.search(r":-|:~|[({]", text):
        return False
    try:
        return bool(trees_of(text))
    except RuntimeError:
        return False


def _statements(
    source: _Source, trees: Sequence[AST], comments: Sequence[tuple[int, int]]
) -> list[tuple[int, int, list[AST]]]:
    """Return begin, end and trees of each statement.

    For `#minimize` clingo gives the positions of its elements, so the begin and end of the directive are
    searched.
    """
    code = bytearray(source.data)
    for begin, end in comments:
        _blank(code, begin, end)
    for string in _STRING.finditer(bytes(code)):
        _blank(code, *string.span())
    statements: list[tuple[int, int, list[AST]]] = []
    for tree in trees:
        begin, end = source.span(tree)
        last_end = statements[-1][1] if statements else 0
        if statements and begin < last_end:  # another element of the last statement
            statements[-1][2].append(tree)
            continue
        if tree.ast_type == ASTType.Minimize and not code.startswith(b":~", begin):
            begin = max(code.rfind(word, last_end, begin) for word in (b"#minimi", b"#maximi"))
            end = _CLOSING.search(code, end).end()
        statements.append((begin, end, [tree]))
    return statements


def _blank(data: bytearray, begin: int, end: int) -> None:
    """Overwrite `data` from `begin` to `end` with spaces; line breaks stay."""
    data[begin:end] = re.sub(rb"[^\n]", b" ", data[begin:end])


def _code(
    source: _Source, begin: int, end: int, comments: list[tuple[int, int]], trees: Sequence[AST]
) -> str:
    """Return the text from `begin` to `end` without its comments and without the lines that are empty then.

    If the text means something else without its comments, it is returned with them: clingo reads
    `#show %* a comment *% p/1.` as the term p/1, and `#show p/1.` as a signature.
    """
    whole = source.data[begin:end].decode()
    first, last = bisect_right(comments, (begin, begin)), bisect_right(comments, (end, end))
    if first == last:
        return whole
    pieces, position = [], begin
    for comment_begin, comment_end in comments[first:last]:
        pieces += [source.data[position:comment_begin], b" "]
        position = comment_end
    pieces.append(source.data[position:end])
    lines = (line.rstrip() for line in b"".join(pieces).decode().split("\n"))
    code = "\n".join(line for line in lines if line)
    try:
        return code if trees_of(code) == list(trees) else whole
    except RuntimeError:
        return whole


def _unparsed(source: _Source, spans: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """Yield the text outside of all `spans`: clingo has no tree for `#minimize{}.`"""
    rest = bytearray(source.data)
    for begin, end in spans:
        _blank(rest, begin, end)
    for number, line in enumerate(rest.split(b"\n"), 1):
        if line.strip():
            text = line.decode(errors="replace").strip()
            yield Finding(number, "no trace in the syntax tree, left out", text)
