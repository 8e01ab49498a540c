"""Comments as people write them: which of their lines can instruct, and which cannot.

A comment may be a banner, a heading, a licence, a command line, switched-off code, or an instruction. This
module looks at the text of a comment only. The reader of encodings looks at where the comment stands
(`scripts/asp/encoding.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scripts.asp.old_code import switched_off


class Kind(StrEnum):
    """What a finding of the reader is."""

    BANNER = "banner"
    CLOSING = "closing banner"
    EDITOR = "line for an editor or a shell"
    LICENCE = "licence"
    AUTHOR = "author, source or address"
    HEADER = "description of the file"
    CODE = "commented-out code"
    ABOVE_CODE = "comment on commented-out code"
    TO_DO = "reminder of the author"
    INPUT = "says that the input has something"
    NO_WORDS = "too few words to instruct"
    HEADING = "heading, instructs no statement"
    UNATTACHED = "comment without a statement"
    REMARK = "remark below a statement, instructs no statement"
    UNCLEAR = "the file does not show to which statement the comment belongs"
    PART = "comments on the parts of a statement without a comment on the whole"
    INSIDE = "comment inside a statement, joined to its instruction"
    BEHIND = "comment behind a statement, joined to its instruction"
    BELOW = "the comments of this file stand below their statements"
    ALONE = "statement without an instruction"
    UNPARSED = "no trace in the syntax tree, left out"


@dataclass(frozen=True)
class Line:
    """A line of a comment: its number in the file, and its text with the marks of the comment."""

    number: int
    raw: str


@dataclass(frozen=True)
class Words:
    """What is left of a comment.

    Attributes:
        text: The lines that can instruct, as one text, or "".
        first: The number of the first of these lines, or 0.
        removed: The other lines, with the reason.
        boxed: Whether a frame or a line of dashes marks the text as a heading.
        opens: Whether nothing but banners stands above the text in its comment.
        closes: Whether no line stands below the text in its comment.
    """

    text: str
    first: int = 0
    removed: tuple[tuple[Line, Kind], ...] = ()
    boxed: bool = False
    opens: bool = True
    closes: bool = True


_RULE = re.compile(r"[-=*#~_%]{3,}|[\u2500-\u257f\u2580-\u259f\u2010-\u2015]{2,}")
_FRAMED = re.compile(
    r"^(?:[-=*#~_%]{2,}|[\u2500-\u257f]{2,})\s*\S.*?\s*(?:[-=*#~_%]{2,}|[\u2500-\u257f]{2,})$"
)
_FOLD = re.compile(r"(?:\{\{\{|\}\}\})\d?")
_ARROWS = re.compile(r"^<{3,}|[<>]{3,}$")  # `GENERATE >>>>>` and `<<<<< GENERATE`
_MARKDOWN = re.compile(r"#{1,6}\s+(?=\S)")

_LICENCE = re.compile(
    r"\bcopyright\b|\(c\)\s*(?:19|20)\d\d|©|\bSPDX-|\ball rights reserved\b|\bpermission is hereby granted\b"
    r"|\b(?:licensed|released|distributed|published) under\b"
    r"|\bGNU (?:lesser |affero )?general public licen[cs]e\b"
    r"|\bwithout warranty\b|\bwithout (?:even the implied )?warrant|\bMIT licen[cs]e\b|\bapache licen[cs]e\b"
    r"|\bcreative commons\b|\bfree software\b|\bredistribut(?:e|ion)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\w.+-]+\s?(?:@|\[at\]|\(at\))\s?[\w-]+(?:\.[\w-]+)+")
_LINK = re.compile(r"(?:https?|ftp)://|\bwww\.\w")
_AUTHOR = re.compile(
    r"^[@\\]?(?:(?:original |main )?authors?|author\(s\)|creator|e-?mail|contact|maintainers?"
    r"|last (?:modified|changed|update[ds]?|edited)|matriculation.*|student (?:id|name|number)|students"
    r"|attributions?|acknowledge?ments?|autore?)\s*(?:[:=]|$)"
    r"|^\(?(?:written|created|developed|implemented|encoded|modified|adapted|prepared|generated)"
    r" (?:automatically |manually )?by\b|^\$(?:Id|Date|Rev|Author|Header)\b",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"^(?:file(?:\s?name)?|date|version|revision|created|modified|course|homework|assignment|exercise|project"
    r"|title|name|problem|description|source|reference|datum|fecha|usage|use|run|input|output)\s*[:=]"
    r"|\b(?:this|the) (?:lp |asp |clingo |logic )?(?:program|file|encoding|script|module|code)\b"
    r"|^(?:find an?|solve)\b|^[\w-]+\.(?:lp\d?|asp|clingo|gringo|txt|py)\b"
    r"|\b(?:encoding|program|solver|solution|implementation|formulation|formalization|model)"
    r" (?:of|for|to|by|in|using)\b"
    r"|\bsolver\b|\bASP\b|\bclingo\b|\banswer[- ]set\b|\blogic program",
    re.IGNORECASE,
)
_BY_NAME = re.compile(r"^by (?:[A-Z][\w.'-]*[ ,&]*(?:and )?)+\W*$")
_EDITOR = re.compile(
    r"-\*-.*-\*-|^(?:vi|vim|ex):|\b(?:mode|coding|fileencoding)\s*[:=]\s*[\w-]+;?\s*$"
    r"|^Local Variables:|^End:$"
    r"|^(?:\$|>)?\s*(?:\.?/?[\w./-]*(?:clingo|gringo|clasp|clingcon|clingo-dl|telingo|iclingo|oclingo|dlv2?|lparse"
    r"|smodels|asprin|python3?|\./\w+)\S*\s+(?:\S+\s+)*(?:\S+\.(?:lp|asp|py|txt|ilp|sm|dl|db)\b|-{1,2}\w|\d+\b).*)$"
    r"|^(?:SATISFIABLE|UNSATISFIABLE|OPTIMUM FOUND|UNKNOWN)$|^Answer:\s*\d+|^Optimization:\s*-?\d"
    r"|^(?:pylint|noqa|clingo|gringo|clingo-fmt|fmt|format|lint|spell-checker|cspell|TEST|RUN|CHECK)\s*:"
    r"|^(?:usage|how to run|to run|command line|invocation|verwendung|aufruf)\s*:",
    re.IGNORECASE,
)
_TO_DO = re.compile(
    r"^\W*(?:to-?\s?do|fix-?\s?me|xxx|tbd|(?:hack|wip|bug|debug|old|deprecated|obsolete|unused)\s*:)",
    re.IGNORECASE,
)
_DOUBT = re.compile(r"^\W*(?:[^\W_]+\W+){0,3}[^\W_]+\s*\?+\W*$")
"""A question of a few words."""
_TURNED_OFF = re.compile(
    r"^\W*(?:comment(?:ed)?\s+(?:out|this|in)|un-?comment|turned off|switched off|for debugging|debugging)\b",
    re.IGNORECASE,
)
_ON_THE_CODE = re.compile(
    r"\bth(?:is|ese|e (?:next|following|previous)) (?:lines?|rules?|constraints?|statements?)\b.*"
    r"\b(?:comment(?:ed)? out|redundant|un-?necessary|not (?:needed|necessary|required)|removed|omitted)\b"
    r"|\bthese (?:predicates|rules|facts|constraints|atoms) (?:are|were) (?:created|written|added|only)\b"
    r"|\b(?:what i did|i think|i guess|i'm not sure|not sure (?:if|whether|why|how))\b"
    r"|\bsomething (?:is )?wrong\b|\bcan be (?:smarter|improved|simplified|faster)\b"
    r"|(?:^|\s)[:;]-?[)(](?:\s|$)|^\W*for \w+\W*$"
    r"|^\W*(?:änderung(?:en)?\b|(?:new|changed?|edit(?:ed)?|modified|update)\s*:)",
    re.IGNORECASE,
)
"""A remark on the code, or on whether it is needed."""
_IN_THE_INPUT = re.compile(
    r"^\W*[a-z_]\w*(?:\(.*\)|/\d+)?\s+(?:(?:is|are|comes?|given)\s+)*(?:in|from|by)\s+(?:the\s+)?(?:input|instance)\W*$",
    re.IGNORECASE,
)
_OPENS_A_BLOCK = re.compile(r"^@\w+[^{}]*\{$")
"""A line of a documentation comment such as `@block Rooms {`."""
_CLOSING = re.compile(
    r"^\W*(?:(?:end|ende)(?: (?:of|von|der|des|here|part|section)\b|\W*$|[ :_-]\w+\W*$)|eof\W*$|fin\W*$|</)",
    re.IGNORECASE,
)

_LABELS = frozenset(
    """a an and or of the for with in to part section block area step phase stage no number generate
    generation generator generating guess guessing choose choice choices define defining definition
    definitions defined test tests testing check checks checking display displaying show showing shows
    output outputs print input inputs data instance instances fact facts rule rules constraint
    constraints hard soft weak strong integrity domain domains predicate predicates auxiliary aux helper
    helpers help utility utilities utils main program encoding optimize optimise optimization
    optimisation optimizing minimize minimise minimization maximize maximise maximization objective
    objectives function functions constant constants parameter parameters variable variables initial
    initialization initialisation init setup configuration config goal goals result results solution
    solutions statement statements background knowledge base problem specific common misc miscellaneous
    additional extra example examples header headers projection derived derive
    deterministic nondeterministic directives directive options option declarations declaration axioms
    axiom inertia inertial frame effects preconditions precondition symmetry breaking search space
    candidate candidates specification specifications""".split()
)
_SMALL_WORDS = frozenset(
    "a an the to of in on at by up down from for and or with as only still now so".split()
)
"""`down to 72` says nothing about a statement."""
_SAYS = re.compile(
    r"\b(?:may|must|can|cannot|shall|should|will|is|are|has|have|gets?|each|every|any|all|no|not|exactly|only)\b",
    re.IGNORECASE,
)
"""A word of a statement; titles have none."""
_STOPS = re.compile(r"[.!?。！？:]\s*[)\"'”’]*$")
_CALL = re.compile(r"[-~]?\b[a-z_]['\w]*\([^()]*\)|[-~]?\b[a-z_]['\w]*/\d+\b")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD = re.compile(r"(?<![\w.])[^\W\d_]{2,}(?!\w)")  # no part of a name such as `max_size`


def words_of(lines: Sequence[Line], opening: bool = False, first_code: bool = False) -> Words:
    """Return what can instruct in the lines of one comment, or of several that stand on adjacent lines.

    Arguments:
        lines: The lines of the comment.
        opening: Whether it opens the file: then it may describe the file.
        first_code: Whether text above switched-off code is kept, and text below it is not.
    """
    texts = [_without_marks(line.raw) for line in lines]
    marks: list[Kind | None] = [_kind_of_line(line, text) for line, text in zip(lines, texts, strict=True)]
    free = [text for text, mark in zip(texts, marks, strict=True) if mark is None]
    if kind := _kind_of_all(texts, free if opening else ()):
        return Words("", removed=tuple((line, kind) for line in lines if line.raw.strip(" %*")))
    for begin, end in switched_off([_bare(line.raw) for line in lines]):
        marks[begin:end] = [Kind.CODE] * (end - begin)
    _mark_reminders(lines, marks)
    _mark_outer_blocks(texts, marks)
    return _joined(lines, texts, marks, first_code)


def is_label(text: str) -> bool:
    """Whether a text names a part of a program in general words and says nothing about a statement."""
    if _STOPS.search(text) and not text.endswith(":"):
        return False
    words = re.findall(r"[^\W_]+", text.lower())
    known = [word for word in words if word in _LABELS and len(word) > 1]
    others = [word for word in words if word not in _LABELS and not word.isdigit() and len(word) > 1]
    return len(words) <= 5 and bool(known) and not others


def may_be_a_title(text: str) -> bool:
    """Whether a text has a few words and is not a statement."""
    ends = _STOPS.search(text) and not text.endswith(":")
    return length(text) <= 4 and not ends and not _SAYS.search(text)


def names_a_part(text: str) -> bool:
    """Whether a few words with a general one among them may name a part of a program: `Port constraints`."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return (
        len(words) <= 3
        and not text.endswith(".")
        and any(len(word) > 3 and word in _LABELS for word in words)
    )


def has_words(text: str) -> bool:
    """Whether a text is a sentence, or has two words, one of them outside of atoms and signatures.

    Small words alone are none.
    """
    calls = 0
    while calls < 100 and _CALL.search(text):  # from the inside to the outside
        text, number = _CALL.subn(" ", text)
        calls += number
    if re.search(r"[^\W\d_]\W*[.!?。！？]$", text):
        return True
    words = _WORD.findall(text)
    plain = len(words) + len(_CJK.findall(text)) // 2
    small = sum(word.lower() in _SMALL_WORDS for word in words)
    return (plain > small or _STOPS.search(text) is not None) and (plain >= 2 or calls > 0)


def length(text: str) -> int:
    """The number of words of a text; two letters of Chinese or Japanese count as one."""
    return len(_WORD.findall(_CJK.sub(" ", text))) + len(_CJK.findall(text)) // 2


def is_closing(text: str) -> bool:
    """Whether a text says that a part of the program ends."""
    return bool(_CLOSING.match(text)) and len(text.split()) <= 6 and not _STOPS.search(text)


def _kind_of_all(texts: Sequence[str], opening: Sequence[str]) -> Kind | None:
    """The kind of a comment that is left out as a whole, or None; `opening` are lines that open the file."""
    if any(_LICENCE.search(text) for text in texts):
        return Kind.LICENCE
    if any(_ADDRESS.search(text) or _AUTHOR.match(text) or _BY_NAME.match(text) for text in texts):
        return Kind.AUTHOR
    if any(_FILE.search(text) for text in opening):
        return Kind.HEADER
    return None


def _kind_of_line(line: Line, text: str) -> Kind | None:
    """The kind of a line that cannot instruct, or None."""
    if line.raw.startswith("#!") or _EDITOR.search(text):
        return Kind.EDITOR
    if not re.search(r"\w", text):
        return Kind.BANNER
    if _LINK.search(text):
        return Kind.AUTHOR
    if _ARROWS.search(text):
        return Kind.HEADING
    if _TO_DO.match(text) or _TURNED_OFF.match(text) or _DOUBT.match(text) or _ON_THE_CODE.search(text):
        return Kind.TO_DO
    if _IN_THE_INPUT.match(text):
        return Kind.INPUT
    return None


def _mark_reminders(lines: Sequence[Line], marks: list[Kind | None]) -> None:
    """A reminder goes on to the end of its paragraph."""
    for index in range(1, len(lines)):
        if marks[index - 1] is Kind.TO_DO and marks[index] is None:
            marks[index] = Kind.TO_DO


def _mark_outer_blocks(texts: Sequence[str], marks: list[Kind | None]) -> None:
    """What stands above the last `@block Name {` describes what stands around the statement."""
    opening = [index for index, text in enumerate(texts) if _OPENS_A_BLOCK.match(text)]
    for index in range(opening[-1] + 1 if opening else 0):
        marks[index] = marks[index] or Kind.HEADING


def _joined(lines: Sequence[Line], texts: Sequence[str], marks: list[Kind | None], first_code: bool) -> Words:
    """The text that stays, and why the rest does not."""
    _mark_text_of_code(lines, marks, first_code)
    kept = [index for index, mark in enumerate(marks) if mark is None]
    rules = [index for index, line in enumerate(lines) if marks[index] is Kind.BANNER and _is_rule(line.raw)]
    if (
        kept
        and (last := max((rule for rule in rules if kept[0] < rule < kept[-1]), default=None)) is not None
    ):
        for index in kept:  # what stands above a line of dashes is the heading of what stands below
            if index < last:
                marks[index] = Kind.HEADING
        kept = [index for index in kept if index > last]
    while len(kept) > 1 and is_label(texts[kept[0]]):  # a heading, and what it stands above
        marks[kept.pop(0)] = Kind.HEADING
    removed = tuple(
        (line, mark)
        for line, mark in zip(lines, marks, strict=True)
        if mark and (mark is not Kind.BANNER or _is_rule(line.raw))
    )
    if not kept:
        return Words("", removed=removed)
    text = re.sub(r"\s+", " ", " ".join(texts[index] for index in kept)).strip()
    below = [rule for rule in rules if rule > kept[-1]]
    return Words(
        text,
        lines[kept[0]].number,
        removed,
        boxed=bool(below) or len(kept) == 1 and _is_framed(lines[kept[0]].raw),
        opens=not any(mark not in (None, Kind.BANNER) for mark in marks[: kept[0]])
        and not [rule for rule in rules if rule < kept[0]],
        closes=not any(marks[kept[-1] + 1 :]),
    )


def _mark_text_of_code(lines: Sequence[Line], marks: list[Kind | None], first_code: bool) -> None:
    """Text above switched-off code belongs to that code, in a file with comments above their statements."""
    code = [index for index, mark in enumerate(marks) if mark is Kind.CODE]
    if not code:
        return
    others = range(code[0], len(lines)) if first_code else range(code[-1])
    for index in others:
        if marks[index] is None:
            marks[index] = Kind.ABOVE_CODE


def _is_rule(raw: str) -> bool:
    """Whether a line has nothing but a row of dashes or the like."""
    return len(re.sub(r"\s", "", raw)) >= 4 and not re.search(r"[^\W_]", raw)


def _is_framed(raw: str) -> bool:
    """Whether dashes or the like stand on both sides of a text."""
    inner = raw.strip()
    bare = re.sub(r"^%\*?!?|\*%$", "", inner).strip()
    return bool(_FRAMED.match(inner) or _FRAMED.match(bare) or _MARKDOWN.match(bare) or _FOLD.search(bare))


def _bare(raw: str) -> str:
    """A line without the marks of the comment; its indentation and all else stay."""
    return re.sub(r"^\s*(?:%\*|%+|#!)|\*%\s*$", "", raw)


def _without_marks(raw: str) -> str:
    """The text of a line without the marks of the comment, without frames and rows of dashes."""
    text = re.sub(r"%\*|\*%", " ", raw).strip().removeprefix("#!")
    text = re.sub(r"^[%*\s]*%!|^%*!(?=\s)", "", text) if "!" in text[:4] else text
    text = _MARKDOWN.sub("", _RULE.sub(" ", _FOLD.sub(" ", text)).strip().lstrip("%*").strip(), count=1)
    text = re.sub(r"(?<![\d%])(?<!\d\s)\s*%+$", "", text)
    for mark in "|*#":
        if text.startswith(mark) and text.endswith(mark):
            text = text.strip(mark).strip()
    return re.sub(r"^[|│┃]\s*|\s*[|│┃]$", "", text).strip()
