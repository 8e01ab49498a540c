"""Does a paraphrase still say what the original says? The part of that question that can be checked by reading.

Every predicate with its arity, number, quoted string and constant of the original must be there and none may be new;
the length stays within bounds, and no ASP code may have leaked in. What fails is named, so that it can be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from clingo import SymbolType
from clingo.ast import ASTType

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import Statement, predicates, walk

LENGTHS = (0.4, 2.5)  # allowed length of a paraphrase, as a share of the original
SLACK = (
    80  # characters more or less that are always allowed: an instruction of six words may well become twelve
)

_VALUE = {
    word: number
    for number, words in {
        "0": "zero",
        "1": "one single once first sole",
        "2": "two twice second both pair pairs double half halved doubled",
        "3": "three thrice third triple",
        "4": "four fourth",
        "5": "five fifth",
        "6": "six sixth",
        "7": "seven seventh",
        "8": "eight eighth",
        "9": "nine ninth",
        "10": "ten tenth",
        "11": "eleven eleventh",
        "12": "twelve twelfth dozen",
    }.items()
    for word in words.split()
}
_FREE = {
    "0",
    "1",
}  # `no`, `exactly one`, `a single`: English says these two in too many ways for them to count as invented
_MATHS = re.compile(
    r"[a-z]|min|max|abs|mod|log|sum|card|floor|ceil"
)  # functions that academic prose uses: f(X), min(a, b)


@dataclass(frozen=True)
class Content:
    """What a text must keep: predicates as `name/arity`, numbers, quoted strings, and constants or bare names."""

    predicates: frozenset[str]
    numbers: frozenset[str]
    strings: frozenset[str]
    names: frozenset[str]

    def __str__(self) -> str:
        strings = {f'"{string}"' for string in self.strings}
        return ", ".join(
            sorted(self.predicates) + sorted(self.names) + sorted(self.numbers) + sorted(strings)
        )


# --- what a text says -------------------------------------------------------------------------------------------


def vocabulary(encoding: Encoding) -> frozenset[str]:
    """The names of a program: its predicates and its constants."""
    statements = [statement for step in encoding.steps for statement in step.statements]
    return frozenset().union(*(_names(statement) for statement in statements))


def _names(statement: Statement) -> set[str]:
    found = {name.lstrip("-") for name, _ in predicates(statement)}
    for node in (node for tree in statement.trees for node in walk(tree)):
        if node.ast_type == ASTType.Definition or (node.ast_type == ASTType.Function and not node.arguments):
            found.add(node.name)
        elif node.ast_type == ASTType.SymbolicTerm and node.symbol.type == SymbolType.Function:
            found.add(node.symbol.name)
    return found - {""}


def content(text: str, names: frozenset[str] = frozenset()) -> Content:
    """What `text` says that a paraphrase must keep.

    `names` of the program (or of a statement's variables) count wherever they stand, other words only in code.
    """
    found = list(_atoms(text))
    code = re.findall(r"`([^`\n]+)`", text) + [text[begin:end] for _, _, (begin, end) in found]
    bare = {
        word
        for piece in code
        for word in re.findall(r"(?<![\w'])[a-z_]\w*(?!\w|\()", re.sub(r'"[^"]*"', "", piece))
    }
    bare |= {
        word
        for word in re.findall(r"(?<![\w'])[A-Za-z_]\w*", text)
        if word in names or (word[0].islower() and "_" in word)
    }
    return Content(
        frozenset(f"{name}/{arity}" for name, arity, _ in found),
        frozenset(_numbers(text)),
        frozenset(string for piece in code for string in re.findall(r'"([^"\n]+)"', piece)),
        frozenset(bare - {name.lstrip("-") for name, _, _ in found} - {"not", "_", "A", "I"}),
    )


def _atoms(text: str) -> Iterator[tuple[str, int, tuple[int, int]]]:
    """Name, arity and span of each `name(arguments)` in `text`, nested ones included.

    Outside of backquotes, what reads like English (`region(s)`, `min(what is left, 4)`) is none.
    """
    code = [match.span() for match in re.finditer(r"`[^`\n]+`", text)]
    for match in re.finditer(r"(?<![\w'])-?[a-z_]\w*\(", text):
        depth, commas, in_string, index = 1, 0, False, match.end()
        while index < len(text) and depth and text[index] != "\n":
            character = text[index]
            in_string ^= character == '"'
            if not in_string:
                depth += (character in "([{") - (character in ")]}")
                commas += character == "," and depth == 1
            index += 1
        arguments = text[match.end() : index - 1].strip()
        prose = arguments in ("s", "es") or re.search(r"[a-z]\s+\w", re.sub(r'"[^"]*"', "", arguments))
        if not depth and (not prose or any(begin < match.start() < end for begin, end in code)):
            yield match[0][:-1], commas + bool(arguments), (match.start(), index)


def _numbers(text: str) -> Iterator[str]:
    """The numbers in digits, with a minus where it is a sign; digits inside a name (`n1`, `V0`) are none."""
    text = re.sub(
        r"(?m)^\s*(?:\*\*)?\d+[.)](?=\s)", " ", text
    )  # the numbers of a list count its items, and nothing else
    for match in re.finditer(r"(?<![A-Za-z_\d])\d+(?:\.\d+)?|(?<=\d[x×])\d+", text):
        signed = re.search(
            r"(?:^|[\s(`,=<>\[{])[-−]$|(?:^|[^\w)`\s] ?)minus $|\bnegative $", text[: match.start()]
        )
        yield f"-{match[0]}" if signed else match[0]


def _spelled(text: str) -> set[str]:
    """The numbers that `text` says in words."""
    return {_VALUE[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _VALUE}


def _without_sums(text: str) -> str:
    """`text` without the counts that only sum up what it names anyway: `the three statuses`, `three sorts of`."""
    number = "|".join(_VALUE)
    return re.sub(
        rf"\b(?:the|of|these|those) (?:{number})\b|\b(?:{number}) (?:sort|kind|type|way|group)s?\b",
        " ",
        text.lower(),
    )


def example_unfaithful_text(text: str) -> str:
    """The text with one predicate called otherwise, as a careless paraphrase would have it."""
    return re.sub(r"`(\w+)\(", r"`my_\1(", text, count=1)


# --- the gate ---------------------------------------------------------------------------------------------------


def complaints(original: str, paraphrase: str, names: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with `paraphrase`, each in words that a model can act on; empty where it is faithful.

    `names` is the vocabulary of the program that both texts describe: it tells constants from English words.
    """
    old, new = content(original, names), content(paraphrase, names)
    found = [f"the predicate {p} is missing" for p in sorted(old.predicates - new.predicates)]
    found += [
        f"the predicate {p} is invented"
        for p in sorted(new.predicates - old.predicates)
        if not _maths(p, paraphrase)
    ]
    spelled = {
        n for n in _spelled(_without_sums(original)) if int(n) > 2
    }  # `one` and `both` are grammar, not numbers
    known = {n.lstrip("-") for n in old.numbers} | _spelled(original) | _FREE
    # A number in digits stays in digits: `one` and `two` stand in every text, and would hide that 1 or 2 is lost.
    lost = (old.numbers - new.numbers) | (spelled - old.numbers - new.numbers - _spelled(paraphrase))
    found += [f"the number {n} is missing" for n in sorted(lost)]
    found += [f"the number {n} is invented" for n in sorted(new.numbers) if n.lstrip("-") not in known]
    found += [f'the string "{s}" is missing' for s in sorted(old.strings) if f'"{s}"' not in paraphrase]
    found += [f'the string "{s}" is invented' for s in sorted(new.strings) if f'"{s}"' not in original]
    found += [f"the name `{n}` is missing" for n in sorted(old.names) if not _has_word(paraphrase, n)]
    found += [f"the name `{n}` is invented" for n in sorted(new.names - names) if not _has_word(original, n)]
    return found + list(_form(original, paraphrase))


def _maths(predicate: str, text: str) -> bool:
    """Whether a new predicate is a function of mathematics, as academic prose writes them: f(X), never `f(X)`."""
    name = predicate.split("/")[0]
    return bool(_MATHS.fullmatch(name)) and not re.search(rf"`[^`\n]*\b{name}\([^`\n]*`", text)


def _has_word(text: str, word: str) -> bool:
    """Whether `word` stands in `text` as a whole word; a sentence may open with it."""
    return bool(re.search(rf"(?<!\w)[{word[0]}{word[0].upper()}]{re.escape(word[1:])}(?!\w)", text))


_CODE = re.compile(r":-|:~|```|#[a-z]+\b|\{\{|&&|^\s*-?[a-z_]\w*\([^)]*\)\.\s*$", re.MULTILINE)
_CHATTER = re.compile(
    r"\A\W*(?:sure\b|certainly\b|of course\b|here(?: is|'s|’s| are)\b.*(?:rewrit|paraphras|version|text))",
    re.IGNORECASE,
)


def _form(original: str, paraphrase: str) -> Iterator[str]:
    length, (low, high) = len(paraphrase), LENGTHS
    if not paraphrase.strip():
        yield "it is empty"
        return
    if length < low * len(original) - SLACK:
        yield "it is much shorter than the original"
    if length > high * len(original) + SLACK:
        yield "it is much longer than the original"
    if leaked := sorted(
        {match[0].strip() for match in _CODE.finditer(paraphrase) if match[0].strip() not in original}
    ):
        yield f"it contains ASP code ({', '.join(leaked)})"
    if _CHATTER.search(paraphrase) and not _CHATTER.search(original):
        yield "it opens with a remark instead of the text"
    if _plain(paraphrase) == _plain(original):
        yield "it is the original unchanged"


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()
