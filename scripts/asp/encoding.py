"""An annotated encoding as clingo's own parser sees it: statements, comments, and the steps they make together.

Comments become instructions, the statements under them the code. Nothing is dropped in silence: what had no
instruction, what shared one and which comments were left over stands in `Encoding.findings`. Offsets count bytes,
as clingo's positions do. Source text goes to the parser only after `asp_solver.refusal` let it pass.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from clingo.ast import AST, ASTType

from scripts.asp.syntax import Statement, parse
from utils_ft import UserError


@dataclass(frozen=True)
class Step:
    """An instruction and the statements that implement it. Without an instruction the code is simply given."""

    instruction: str
    statements: tuple[Statement, ...]
    line: int

    @property
    def code(self) -> str:
        return "\n".join(statement.code for statement in self.statements)


@dataclass(frozen=True)
class Finding:
    """Something in a file that a person should know: its line, a kind for counting, and the text concerned."""

    line: int
    kind: str
    text: str


@dataclass(frozen=True)
class Encoding:
    """The steps of a program in order, and what reading it found."""

    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]

    @property
    def given(self) -> str:
        """The code without an instruction: part of every step's context, never an answer."""
        return "\n".join(step.code for step in self.steps if not step.instruction)

    @property
    def instructed(self) -> tuple[Step, ...]:
        """The steps that have an instruction."""
        return tuple(step for step in self.steps if step.instruction)

    @property
    def program(self) -> str:
        """The whole program, comments left out."""
        return "\n".join(step.code for step in self.steps)


def trees_of(code: str) -> list[AST]:
    """The statements of `code` as trees, comments left out."""
    return [tree for tree in parse(code) if tree.ast_type != ASTType.Comment]


# --- spans ------------------------------------------------------------------------------------------------------


class _Source:
    """A text with clingo's positions turned into byte offsets."""

    def __init__(self, text: str):
        self.data = text.encode()
        self.starts = [0]
        for match in re.finditer(b"\n", self.data):
            self.starts.append(match.end())

    def span(self, tree: AST) -> tuple[int, int]:
        begin, end = tree.location.begin, tree.location.end
        return self.starts[begin.line - 1] + begin.column - 1, self.starts[end.line - 1] + end.column - 1

    def line(self, offset: int) -> int:
        return bisect_right(self.starts, offset)


_STRING = re.compile(rb'"(?:[^"\\\n]|\\[\\n"])*"')
_CLOSING = re.compile(rb"\}\s*\.")


def _statements(
    source: _Source, trees: list[AST], comments: list[tuple[int, int]]
) -> Iterator[tuple[int, int, list[AST]]]:
    """Begin, end and trees of each statement. clingo places the elements of `#minimize`, not the directive."""
    code = bytearray(source.data)
    for begin, end in comments:
        _blank(code, begin, end)
    for string in _STRING.finditer(bytes(code)):
        _blank(code, *string.span())
    found: list[tuple[int, int, list[AST]]] = []
    for tree in trees:
        begin, end = source.span(tree)
        if found and begin < found[-1][1]:  # a further element of the statement before
            found[-1][2].append(tree)
            continue
        if tree.ast_type == ASTType.Minimize and not code.startswith(b":~", begin):
            before = found[-1][1] if found else 0
            begin = max(code.rfind(word, before, begin) for word in (b"#minimi", b"#maximi"))
            end = _CLOSING.search(code, end).end()
        found.append((begin, end, [tree]))
    yield from found


def _blank(data: bytearray, begin: int, end: int) -> None:
    """Overwrite a piece of `data` with spaces; lines stay."""
    data[begin:end] = re.sub(rb"[^\n]", b" ", data[begin:end])


def _code(source: _Source, begin: int, end: int, comments: list[tuple[int, int]], trees: list[AST]) -> str:
    """The text from `begin` to `end` with the `comments` inside it cut out, and the lines they leave empty.

    They stay where the statement means something else without: clingo takes `#show %* a comment *% p/1.` for a term.
    """
    whole = source.data[begin:end].decode()
    first, last = bisect_right(comments, (begin, begin)), bisect_right(comments, (end, end))
    if first == last:
        return whole
    pieces, position = [], begin
    for a, b in comments[first:last]:
        pieces += [source.data[position:a], b" "]
        position = b
    pieces.append(source.data[position:end])
    lines = (line.rstrip() for line in b"".join(pieces).decode().split("\n"))
    code = "\n".join(line for line in lines if line)
    try:
        return code if trees_of(code) == trees else whole
    except RuntimeError:
        return whole


# --- steps ------------------------------------------------------------------------------------------------------


def _comment_text(raw: str) -> str:
    """What a comment says, without its marks; empty for a banner (`%-----`)."""
    lines = re.sub(r"%\*|\*%", "", raw).split("\n") if raw.startswith("%*") else [raw.removeprefix("#!")]
    text = " ".join(line.strip().lstrip("%*").strip() for line in lines)
    text = re.sub(r"\s+", " ", re.sub(r"[-=*#~_%]{3,}", " ", text)).strip()
    return text if re.search(r"\w", text) else ""


def _is_code(text: str) -> bool:
    """Whether a comment is a statement that somebody switched off."""
    if not text.endswith(".") or not re.search(r":-|:~|[({]", text):
        return False
    try:
        return bool(trees_of(text))
    except RuntimeError:
        return False


@dataclass
class _Draft:
    statement: Statement
    begin: int
    end: int
    end_line: int
    leading: list[str] = field(default_factory=list)
    trailing: list[str] = field(default_factory=list)


def read_encoding(text: str, where: str = "encoding.lp") -> Encoding:
    """Read an annotated program. UserError with file, line and clingo's words where clingo cannot parse it.

    A comment block directly above a statement is its instruction, a comment behind or inside a statement is joined to
    it; statements that follow without a blank line share the instruction above. A block that another block follows
    after a blank line is a heading: it instructs nothing and is reported.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        nodes = parse(text)
    except RuntimeError as error:
        position = re.search(r":(\d+):", str(error))
        raise UserError(
            f"clingo cannot parse it\n  {error}".replace("\n", "\n  "),
            where=where,
            line=int(position[1]) if position else None,
            remedy="mend the statement at that position",
        ) from None
    source = _Source(text)
    comment_nodes = [node for node in nodes if node.ast_type == ASTType.Comment]
    comments = [source.span(node) for node in comment_nodes]
    spans = list(_statements(source, [node for node in nodes if node.ast_type != ASTType.Comment], comments))
    drafts = [
        _Draft(
            Statement(_code(source, begin, end, comments, trees), source.line(begin), tuple(trees)),
            begin,
            end,
            source.line(end),
        )
        for begin, end, trees in spans
    ]
    findings = [*_unparsed(source, spans, comments)]
    above: list[tuple[int, int, str]] = []  # line, last line and text of each comment of the block being read
    current: _Draft | None = None

    def release(kind: str) -> None:
        findings.extend(Finding(line, kind, text) for line, _, text in above)
        above.clear()

    events = [(draft.begin, draft.end, draft) for draft in drafts]
    events += [(begin, end, node) for (begin, end), node in zip(comments, comment_nodes, strict=True)]
    for begin, end, event in sorted(events, key=lambda event: event[:2]):
        if isinstance(event, _Draft):
            event.leading = [text for _, _, text in above]
            above.clear()
            current = event
            continue
        line, said = source.line(begin), _comment_text(event.value)
        if not said:
            findings.append(Finding(line, "banner", event.value.strip()))
        elif _is_code(said):
            findings.append(Finding(line, "commented-out code", said))
        elif current and begin < current.end:
            current.trailing.append(said)
            findings.append(Finding(line, "comment inside a statement, joined to its instruction", said))
        elif current and line == current.end_line:
            current.trailing.append(said)
            findings.append(Finding(line, "comment behind a statement, joined to its instruction", said))
        else:
            if above and line > above[-1][1] + 1:
                release("heading, instructs no statement")
            above.append((line, source.line(end), said))
    release("comment without a statement")
    return Encoding(
        tuple(_steps(drafts, findings)), tuple(sorted(findings, key=lambda finding: finding.line))
    )


def _steps(drafts: list[_Draft], findings: list[Finding]) -> Iterator[Step]:
    group: list[_Draft] = []
    said = ""
    for draft in drafts:
        own = " ".join(draft.leading + draft.trailing)
        if not own and said and draft.statement.line <= group[-1].end_line + 1:
            group.append(draft)
            continue
        if group:
            yield _step(said, group, findings)
        group, said = [draft], own
    if group:
        yield _step(said, group, findings)


def _step(instruction: str, group: list[_Draft], findings: list[Finding]) -> Step:
    statements = tuple(draft.statement for draft in group)
    first = statements[0]
    if not instruction:
        findings.append(Finding(first.line, "statement without an instruction", first.code))
    elif len(statements) > 1:
        findings.append(
            Finding(first.line, f"{len(statements)} statements share one instruction", instruction)
        )
    return Step(instruction, statements, first.line)


def _unparsed(source: _Source, spans: list, comments: list[tuple[int, int]]) -> Iterator[Finding]:
    """Text that is neither comment nor part of a statement in the tree (`#minimize{}.` leaves no trace there)."""
    rest = bytearray(source.data)
    for begin, end in [*comments, *((span[0], span[1]) for span in spans)]:
        _blank(rest, begin, end)
    for number, line in enumerate(rest.split(b"\n"), 1):
        if line.strip():
            yield Finding(
                number, "no trace in the syntax tree, left out", line.decode(errors="replace").strip()
            )


# --- looking into trees -----------------------------------------------------------------------------------------
