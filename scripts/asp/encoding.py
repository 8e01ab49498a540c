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
from enum import Enum
from itertools import islice

from clingo.ast import AST, ASTType

from scripts.asp.comments import (
    Kind,
    Line,
    Words,
    has_words,
    is_closing,
    is_label,
    may_be_a_title,
    names_a_part,
    words_of,
)
from scripts.asp.syntax import Statement, not_parsed, parse, trees_of

_STRING = re.compile(rb'"(?:[^"\\\n]|\\[\\n"])*"')
_CLOSING = re.compile(rb"\}\s*\.")
_COST = re.compile(r":~|#(?:minimi[sz]e|maximi[sz]e)\b")
_SHOW = re.compile(r"#show\b")
_OF_COST = re.compile(
    r"\b(?:minim|maxim|optim|prefer|penal|cost|weigh|soft|weak|prio|reward|least|most|best|(?:few|cheap|short|low"
    r"|high|small|larg|great)est|avoid|try|objective|score|as \w+(?: \w+)* as)",
    re.IGNORECASE,
)
_OF_SHOW = re.compile(
    r"show|display|output|print|visib|project|hid(?:e|den)|result|answer|solution|anzeig|ausgabe|mostra|salida|affich",
    re.IGNORECASE,
)


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
    - A comment behind or inside a statement is added to the statement's instruction. It goes on below if
      the next line has nothing but a comment in the same column.
    - Statements that follow without a blank line share the instruction above them.
    - Comments that are followed by a blank line and other comments are a heading, as is a comment that opens
      the file and is followed by a blank line. They instruct nothing.
    - In a file whose comments stand below their statements, they instruct the statements above.
    - Licences, switched-off code, banners, names of parts and the like instruct nothing (`comments.Kind`).
    - Where the file does not show to which statement a comment belongs, it instructs nothing.

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

    def column(self, offset: int) -> int:
        """The column of an offset as an editor shows it, from 0."""
        begin = self._line_starts[self.line(offset) - 1]
        return len(self.data[begin:offset].decode(errors="replace").expandtabs())


@dataclass
class _Comment:
    """A comment as it stands in the text; `column` counts from 0, a tab goes to the next multiple of 8."""

    raw: str
    begin: int
    end: int
    line: int
    end_line: int
    column: int

    @property
    def lines(self) -> list[Line]:
        """Its lines with their numbers."""
        return [Line(self.line + index, raw) for index, raw in enumerate(self.raw.split("\n"))]


@dataclass(eq=False)
class _Draft:
    """A statement and where it stands, and the comments that may instruct it.

    Attributes:
        inside: The comments inside it.
        behind: The comments behind it, and those that go on below.
        instruction: The texts of its comments.
        heads: Whether its instruction stands above it, or below it in a file of that style. Then it may hold
            for the statements that follow, too.
    """

    statement: Statement
    begin: int
    end: int
    end_line: int
    inside: list[_Comment] = field(default_factory=list)
    behind: list[_Comment] = field(default_factory=list)
    instruction: list[str] = field(default_factory=list)
    heads: bool = False


@dataclass(eq=False)
class _Block:
    """Comments on adjacent lines, with no statement beside them.

    Attributes:
        comments: The comments.
        number: The number of the block in the file.
        before, after: The numbers of the statements before and after it, or None.
        last: The last line of what stands before it, or -1.
        following: The first line of what stands after it, or 0.
        words: What its text can instruct.
    """

    comments: list[_Comment]
    number: int
    before: int | None
    after: int | None = None
    last: int = -1
    following: int = 0
    words: Words = Words("")

    @property
    def lines(self) -> list[Line]:
        """Its lines."""
        return [line for comment in self.comments for line in comment.lines]

    @property
    def touches_above(self) -> bool:
        """Whether its text stands directly below a statement."""
        return self.before is not None and self.words.opens and self.comments[0].line <= self.last + 1

    @property
    def touches_below(self) -> bool:
        """Whether its text stands directly above a statement."""
        below = self.after is not None and self.following <= self.comments[-1].end_line + 1
        return below and (self.words.closes or not self.touches_above)


class _Reader:
    """Reads the statements and comments of a source in their order and assigns each comment to a statement.

    Attributes:
        drafts: The statements.
        blocks: The comments that stand beside no statement.
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
        self.blocks: list[_Block] = []

    def read(self) -> Encoding:
        """Read everything."""
        self._place_comments()
        style = self._read_blocks()
        for block in self.blocks:
            self._assign(block, style)
        for number in range(len(self.drafts)):
            self._read_own_comments(number)
        steps = tuple(self._steps())
        return Encoding(steps, tuple(sorted(self.findings, key=lambda finding: finding.line)))

    def _place_comments(self) -> None:
        """Sort the comments: inside a statement, behind it, or in a block."""
        number, last, open_block = -1, -1, False
        for item in sorted([*self.drafts, *self.comments], key=lambda item: (item.begin, item.end)):
            current = self.drafts[number] if number >= 0 else None
            if isinstance(item, _Draft):
                number += 1
                if self.blocks and self.blocks[-1].after is None:
                    self.blocks[-1].after, self.blocks[-1].following = number, item.statement.line
                last, open_block = item.end_line, False
            elif current and item.begin < current.end:
                current.inside.append(item)
            elif current and (item.line == current.end_line or self._goes_on(current, item, number)):
                current.behind.append(item)
                last = item.end_line
            elif open_block and item.line <= self.blocks[-1].comments[-1].end_line + 1:
                self.blocks[-1].comments.append(item)
            else:
                before = number if number >= 0 else None
                if self.blocks and self.blocks[-1].after is None:
                    self.blocks[-1].following = item.line
                self.blocks.append(_Block([item], len(self.blocks), before, last=last))
                open_block = True

    def _goes_on(self, current: _Draft, comment: _Comment, number: int) -> bool:
        """Whether a comment on a line of its own goes on with the comment behind the statement above it."""
        if not current.behind or comment.line != current.behind[-1].end_line + 1:
            return False
        first = current.behind[0]
        following = self.drafts[number + 1] if number + 1 < len(self.drafts) else None
        beside = following is not None and following.statement.line == comment.end_line
        return not beside and comment.column > 0 and abs(comment.column - first.column) <= 3

    def _read_blocks(self) -> Style:
        """Read the words of the blocks, report what cannot instruct, and return where the comments stand."""
        for block in self.blocks:
            block.words = words_of(block.lines, opening=block.number == 0 and block.before is None)
        style = _style(self.blocks, self.drafts)
        if style is Style.BELOW:
            for block in self.blocks:
                block.words = words_of(block.lines, block.number == 0 and block.before is None, True)
        for block in self.blocks:
            self._report_removed(block.words)
            if block.words.text and (kind := _kind_of_text(block.words.text)):
                self._report_block(block, kind)
                block.words = Words("")
        if style is Style.BELOW:
            self._report(1, Kind.BELOW, "")
        return style

    def _assign(self, block: _Block, style: Style) -> None:
        """Give the words of a block to a statement, or report why no statement gets them."""
        if not block.words.text:
            return
        kind: Kind | None
        number, kind = self._target(block, style)
        if kind:
            self._report_block(block, kind)
        else:
            self.drafts[number].instruction.append(block.words.text)
            self.drafts[number].heads = True

    def _target(self, block: _Block, style: Style) -> tuple[int, Kind | None]:
        """The statement that a block instructs, or why it instructs none."""
        above, below = block.touches_above, block.touches_below
        if block.after is None and not above:
            return 0, Kind.HEADING if block.following else Kind.UNATTACHED
        if block.before is None and not below:
            return 0, Kind.HEADING
        if above and below:
            kind = None if style in (Style.ABOVE, Style.BELOW) else Kind.UNCLEAR
        elif above:
            kind = None if style is Style.BELOW else Kind.REMARK if block.following else Kind.UNATTACHED
        elif below:
            kind = Kind.UNCLEAR if style is Style.BELOW else None
        else:
            kind = None if style is Style.LOOSE and self._is_section_of_one(block) else Kind.HEADING
        if kind is None and style is Style.BELOW:
            return self._first_of_run(block.before or 0), None
        if kind is None and (self._heads_a_section(block) or self._is_file_title(block)):
            kind = Kind.HEADING
        return block.after or 0, kind

    def _first_of_run(self, number: int) -> int:
        """The first of the statements that stand on adjacent lines and end with statement `number`."""
        while number and self._adjacent(number - 1, number) and not self.drafts[number - 1].behind:
            number -= 1
        return number

    def _adjacent(self, first: int, second: int) -> bool:
        """Whether no line stands between two statements."""
        return self.drafts[second].statement.line <= self.drafts[first].end_line + 1

    def _section(self, block: _Block, boxed: bool) -> range:
        """The statements from a block to the next one; to the next that is boxed, if `boxed`."""
        others = (
            other
            for other in islice(self.blocks, block.number + 1, None)
            if other.words.text and (other.words.boxed or not boxed)
        )
        nearest = next((other.after for other in others if other.after != block.after), None)
        return range(block.after or 0, len(self.drafts) if nearest is None else nearest)

    def _is_section_of_one(self, block: _Block, boxed: bool = False) -> bool:
        """Whether all statements up to the next block are one run without comments of their own."""
        section = self._section(block, boxed)
        runs = all(self._adjacent(number - 1, number) for number in section[1:])
        return runs and not (len(section) > 1 and any(self.drafts[number].behind for number in section))

    def _heads_a_section(self, block: _Block) -> bool:
        """Whether a block above a statement is the heading of several steps."""
        section = self._section(block, boxed=block.words.boxed)
        if block.words.boxed:
            texts = [other for other in self.blocks if other is not block and other.words.text]
            return not self._is_section_of_one(block, True) or any(other.after in section for other in texts)
        first, second = section.start, section.start + 1
        if self._is_a_title(block, section):
            return True
        if second not in section or not self._adjacent(first, second) or not self._has_words_behind(second):
            return False
        return self._has_words_behind(first) or names_a_part(block.words.text)

    def _is_a_title(self, block: _Block, section: range) -> bool:
        """Whether a few words stand above several runs of statements that begin with the same name."""
        if not may_be_a_title(block.words.text):
            return False
        head = _head(self.drafts[section.start])
        runs = [number for number in section[1:] if not self._adjacent(number - 1, number)]
        return bool(head and runs) and _head(self.drafts[runs[0]]) == head

    def _has_words_behind(self, number: int) -> bool:
        return bool(self._words_behind(self.drafts[number]).text)

    def _is_file_title(self, block: _Block) -> bool:
        """Whether a few words above the first statement name nothing in it: they are a title."""
        text = block.words.text
        if block.before is not None or not may_be_a_title(text):
            return False
        names = {
            name.lower() for name in re.findall(r"[a-zA-Z]{3,}", self.drafts[block.after or 0].statement.code)
        }
        words = {word.lower() for word in re.findall(r"[^\W\d_]{3,}", text)}
        return not any(word[:4] == name[:4] for word in words for name in names)

    def _words_behind(self, draft: _Draft) -> Words:
        words = words_of([line for comment in draft.behind for line in comment.lines])
        return Words("", removed=words.removed) if _kind_of_text(words.text) else words

    def _read_own_comments(self, number: int) -> None:
        """Add the comments inside and behind a statement to its instruction."""
        draft = self.drafts[number]
        parts = any(comment.line > draft.statement.line for comment in draft.inside)
        for comment in draft.inside:
            self._join(draft, comment.lines, Kind.PART if parts and not draft.instruction else Kind.INSIDE)
        if draft.behind:
            lines = [line for comment in draft.behind for line in comment.lines]
            owner, kind = self._owner(number), Kind.BEHIND
            if not draft.instruction:
                kind = Kind.PART if parts else Kind.UNCLEAR if self._is_in_a_list(number) else kind
            self._join(owner, lines, kind)

    def _is_in_a_list(self, number: int) -> bool:
        """Whether a statement is the first or the last of several facts of one predicate without comments."""
        ranges = (range(number - 2, number), range(number + 1, number + 3))
        return any(self._are_like(number, others) for others in ranges)

    def _are_like(self, number: int, others: range) -> bool:
        """Whether other statements beside statement `number` are facts like it, without comments."""
        if others[0] < 0 or others[-1] >= len(self.drafts):
            return False
        name = _head(self.drafts[number])
        run = [self.drafts[index] for index in sorted((number, *others))]
        plain = not any(
            draft.instruction or draft.inside or draft.behind
            for draft in run
            if draft is not self.drafts[number]
        )
        near = all(run[index + 1].statement.line <= run[index].end_line + 1 for index in (0, 1))
        facts = all(_head(draft) == name and ":-" not in draft.statement.code for draft in run)
        return bool(name) and plain and near and facts

    def _owner(self, last: int) -> _Draft:
        """The first statement on a line, if a comment behind the last one is the only comment on them."""
        first, line = last, self.drafts[last].end_line
        if self.drafts[last].instruction:
            return self.drafts[last]
        while first and self.drafts[first].statement.line == self.drafts[first - 1].end_line == line:
            first -= 1
        run = self.drafts[first:last]
        same = len({_head(draft) for draft in self.drafts[first : last + 1]}) == 1
        begun = run[1:] if same else run  # the first may have an instruction above the line
        commented = any(draft.inside for draft in run) or any(draft.instruction for draft in begun)
        return self.drafts[last if commented else first]

    def _join(self, draft: _Draft, lines: Sequence[Line], kind: Kind) -> None:
        words = words_of(lines)
        self._report_removed(words)
        if not words.text:
            return
        kind = _kind_of_text(words.text) or kind
        self._report(words.first, kind, words.text)
        if kind in (Kind.INSIDE, Kind.BEHIND):
            draft.instruction.append(words.text)

    def _report(self, line: int, kind: str, text: str) -> None:
        self.findings.append(Finding(line, kind, text))

    def _report_block(self, block: _Block, kind: Kind) -> None:
        self._report(block.words.first, kind, block.words.text)

    def _report_removed(self, words: Words) -> None:
        for line, kind in words.removed:
            self._report(line.number, kind, line.raw.strip())

    def _steps(self) -> Iterator[Step]:
        """Yield the steps."""
        group: list[_Draft] = []
        for draft in self.drafts:
            if group and self._shares(group, draft):
                group.append(draft)
                continue
            if group:
                yield self._step(group)
            group = [draft]
        if group:
            yield self._step(group)

    def _shares(self, group: Sequence[_Draft], draft: _Draft) -> bool:
        """Whether a statement without comments of its own shares the instruction of those before it.

        It does on the next line of an instruction that stands above, and on the same line of one that stands
        behind. A statement that minimizes or shows something after others of another kind does only if the
        instruction has a word of that, and a choice below a constraint does not.
        """
        first, last = group[0], group[-1]
        reach = last.end_line + 1 if first.heads else first.statement.line
        if not first.instruction or draft.instruction or draft.statement.line > reach:
            return False
        text, code = " ".join(first.instruction), draft.statement.code
        for form, words in ((_COST, _OF_COST), (_SHOW, _OF_SHOW)):
            if form.match(code) and not form.match(first.statement.code):
                return words.search(text) is not None
        return not (code.startswith("{") and last.statement.code.startswith(":-"))

    def _step(self, group: Sequence[_Draft]) -> Step:
        instruction = " ".join(group[0].instruction)
        statements = tuple(draft.statement for draft in group)
        step = Step(instruction, statements, statements[0].line)
        if not instruction:
            self._report(step.line, Kind.ALONE, statements[0].code)
        elif len(statements) > 1:
            self._report(step.line, f"{len(statements)} statements share one instruction", instruction)
        return step


class Style(Enum):
    """Where the comments of a file stand: above or below their statements, a blank line away, or unknown."""

    ABOVE = "above"
    BELOW = "below"
    LOOSE = "loose"
    UNKNOWN = "unknown"


def _style(blocks: Sequence[_Block], drafts: Sequence[_Draft]) -> Style:
    """Find out where the comments of a file stand, from those with a blank line on one side only."""
    worded = [block for block in blocks if block.words.text and not _kind_of_text(block.words.text)]
    above = [block for block in worded if block.touches_below and not block.touches_above]
    below = [block for block in worded if block.touches_above and not block.touches_below]
    between = [block for block in worded if block.touches_above and block.touches_below]
    inner_above = sum(block.before is not None for block in above)
    inner_below = sum(block.following > 0 for block in below)
    apart = [
        block
        for block in worded
        if block.before is not None and not block.touches_above | block.touches_below
    ]
    if len(below) >= 2 and len(below) >= 3 * inner_above:
        return (
            Style.BELOW
            if len(apart) < len(below) and not _speak_of_the_next(worded, drafts)
            else Style.UNKNOWN
        )
    if len(above) > 0 and len(above) >= 3 * inner_below and (inner_above or not below or not between):
        return Style.ABOVE
    if below or above:
        return Style.UNKNOWN
    return Style.ABOVE if between else Style.LOOSE


def _speak_of_the_next(blocks: Sequence[_Block], drafts: Sequence[_Draft]) -> bool:
    """Whether most blocks have more words of the statement below them than of the statement above them."""
    votes = 0
    for block in blocks:
        if block.before is not None and block.after is not None:
            above = _shared_names(block.words.text, drafts[block.before].statement.code)
            below = _shared_names(block.words.text, drafts[block.after].statement.code)
            votes += (below > above) - (above > below)
    return votes > 0


def _shared_names(text: str, code: str) -> int:
    """How many names of a statement a text has, by their first four letters."""
    stems = {word[:4].lower() for word in re.findall(r"[^\W\d_]{3,}", text)}
    return len(stems & {name[:4].lower() for name in re.findall(r"[a-zA-Z]{3,}", code)})


def _head(draft: _Draft) -> str:
    """The name in the head of a statement, or "" for a constraint or a directive."""
    name = re.match(r"[-\d\s{]*([a-z_]\w*)", draft.statement.code)
    return name[1] if name else ""


def _kind_of_text(text: str) -> Kind | None:
    """Why a text cannot instruct, or None."""
    if not text:
        return None
    if is_closing(text):
        return Kind.CLOSING
    if not has_words(text):
        return Kind.NO_WORDS
    return Kind.HEADING if is_label(text) else None


def _comment(source: _Source, node: AST) -> _Comment:
    begin, end = source.span(node)
    return _Comment(node.value, begin, end, source.line(begin), source.line(end), source.column(begin))


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
            yield Finding(number, Kind.UNPARSED, text)
