"""The check of a paraphrase: whether it is faithful to the original.

A paraphrase must have the original's predicates with their arities, its numbers, quoted strings and
constants, and no others. Its length must be within bounds, and it must contain no ASP code. The check cannot
see a change of meaning that changes none of these. Each error is a sentence that a model can act on.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from clingo import SymbolType
from clingo.ast import ASTType

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import Statement, predicates, walk

LENGTHS = (0.4, 2.5)  # allowed length of a paraphrase, as a share of the original
LONGEST_ARGUMENTS = 1000  # characters in the brackets of an atom
LONGEST_READ = 20_000  # characters of a paraphrase that are always read, even if it is much too long
SLACK = 80  # characters more or less that are always allowed: a short instruction may become twice as long

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
_FREE = {"0", "1"}  # may be new: English has many words for them (`no`, `exactly one`, `a single`)
_TOO_LONG = "it is much longer than the original"
_MATHS = re.compile(r"[a-z]|min|max|abs|mod|log|sum|card|floor|ceil")  # functions in prose: f(X), min(a, b)


@dataclass(frozen=True)
class Content:
    """What a paraphrase of a text must keep.

    Attributes:
        predicates: Predicates, as `name/arity`.
        numbers: Numbers in digits.
        strings: Quoted strings.
        names: Constants, and predicates without arguments.
    """

    predicates: frozenset[str]
    numbers: frozenset[str]
    strings: frozenset[str]
    names: frozenset[str]

    def __str__(self) -> str:
        """All of it, as a list for a prompt."""
        strings = {f'"{string}"' for string in self.strings}
        return ", ".join(
            sorted(self.predicates) + sorted(self.names) + sorted(self.numbers) + sorted(strings)
        )


def vocabulary(encoding: Encoding) -> frozenset[str]:
    """Return the names of a program: its predicates and its constants."""
    statements = [statement for step in encoding.steps for statement in step.statements]
    return frozenset().union(*(_names(statement) for statement in statements))


def _names(statement: Statement) -> set[str]:
    names = {name.lstrip("-") for name, _ in predicates(statement)}
    for node in (node for tree in statement.trees for node in walk(tree)):
        if node.ast_type == ASTType.Definition or (node.ast_type == ASTType.Function and not node.arguments):
            names.add(node.name)
        elif node.ast_type == ASTType.SymbolicTerm and node.symbol.type == SymbolType.Function:
            names.add(node.symbol.name)
    return names - {""}


def content(text: str, names: frozenset[str] = frozenset()) -> Content:
    """Return what a paraphrase of `text` must keep.

    Arguments:
        text: The text.
        names: Names of the program, and of variables. They count everywhere in the text; other words count
            only in code.
    """
    atoms = list(_atoms(text))
    code = re.findall(r"`([^`\n]+)`", text) + [text[begin:end] for _, _, (begin, end) in atoms]
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
        frozenset(f"{name}/{arity}" for name, arity, _ in atoms),
        frozenset(_numbers(text)),
        frozenset(string for piece in code for string in re.findall(r'"([^"\n]+)"', piece)),
        frozenset(bare - {name.lstrip("-") for name, _, _ in atoms} - {"not", "_", "A", "I"}),
    )


def _atoms(text: str) -> Iterator[tuple[str, int, tuple[int, int]]]:
    """Yield name, arity and span of each `name(arguments)` in `text`, also of nested ones.

    Outside of backquotes, arguments that read like English are not code: `region(s)`, `min(what is left, 4)`.
    """
    code = [match.span() for match in re.finditer(r"`[^`\n]+`", text)]
    code_begins = [begin for begin, _ in code]
    for name, commas, begin, opened, end in _bracketed(text):
        arguments = text[opened : end - 1].strip()
        prose = arguments in ("s", "es") or re.search(r"[a-z]\s+\w", re.sub(r'"[^"]*"', "", arguments))
        place = bisect_left(code_begins, begin) - 1  # the last code that begins before the name
        if not prose or (place >= 0 and begin < code[place][1]):
            yield name, commas + bool(arguments), (begin, end)


def _bracketed(text: str) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield each `name(…)` on one line with a bracket that closes it: name, commas, begin, end of `(`, end.

    A bracket in a string counts for names in the same string only. Each character is read once.
    """
    tokens = re.compile(r"(?:(?<![\w'])-?[a-z_]\w*)?\(|[\[{)\]},\"\n]")
    stacks: tuple[list, list] = ([], [])  # of open brackets, outside of strings and in them
    in_string = False
    found = []
    for token in tokens.finditer(text):
        mark = token[0]
        if mark == "\n":
            stacks, in_string = ([], []), False
        elif mark == '"':
            in_string = not in_string
        elif mark[-1] in "([{":
            stacks[in_string].append([mark[:-1], 0, token.start(), token.end()])
        elif mark == "," and stacks[in_string]:
            stacks[in_string][-1][1] += 1
        elif mark in ")]}" and stacks[in_string]:
            name, commas, begin, opened = stacks[in_string].pop()
            if name and token.end() - opened <= LONGEST_ARGUMENTS:
                found.append((name, commas, begin, opened, token.end()))
    return iter(sorted(found, key=lambda atom: atom[2]))


def _numbers(text: str) -> Iterator[str]:
    """Yield the numbers in digits, with a minus if it is a sign.

    Digits in a name (`n1`, `V0`) are no numbers.
    """
    text = re.sub(r"(?m)^[^\S\n]*(?:\*\*)?\d+[.)](?=\s)", " ", text)  # without the numbers of list items
    for match in re.finditer(r"(?<![A-Za-z_\d])\d+(?:\.\d+)?|(?<=\d[x×])\d+", text):
        before = text[max(0, match.start() - 12) : match.start()]
        if match.start() > 12:
            before = "x" + before  # the pattern knows the beginning of the text
        signed = re.search(r"(?:^|[\s(`,=<>\[{])[-−]$|(?:^|[^\w)`\s] ?)minus $|\bnegative $", before)
        yield f"-{match[0]}" if signed else match[0]


def _spelled(text: str) -> set[str]:
    """The numbers that `text` has in words."""
    return {_VALUE[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _VALUE}


def _without_sums(text: str) -> str:
    """`text` without numbers that only count what it lists: `the three statuses`, `three sorts of`."""
    number = "|".join(_VALUE)
    return re.sub(
        rf"\b(?:the|of|these|those) (?:{number})\b|\b(?:{number}) (?:sort|kind|type|way|group)s?\b",
        " ",
        text.lower(),
    )


def faithfulness_errors(original: str, paraphrase: str, names: frozenset[str] = frozenset()) -> list[str]:
    """Return what is wrong with a paraphrase, or an empty list if it is faithful.

    Arguments:
        original: The original text.
        paraphrase: The paraphrase.
        names: The vocabulary of the program that both texts describe: it separates constants from English
            words.
    """
    if len(paraphrase) > max(LONGEST_READ, 4 * LENGTHS[1] * len(original)):
        return [_TOO_LONG]
    old, new = content(original, names), content(paraphrase, names)
    errors = [f"the predicate {p} is missing" for p in sorted(old.predicates - new.predicates)]
    errors += [
        f"the predicate {p} is invented"
        for p in sorted(new.predicates - old.predicates)
        if not _is_maths(p, paraphrase)
    ]
    errors += _number_errors(original, paraphrase, old.numbers, new.numbers)
    errors += [f'the string "{s}" is missing' for s in sorted(old.strings) if f'"{s}"' not in paraphrase]
    errors += [f'the string "{s}" is invented' for s in sorted(new.strings) if f'"{s}"' not in original]
    errors += [f"the name `{n}` is missing" for n in sorted(old.names) if not _has_word(paraphrase, n)]
    errors += [f"the name `{n}` is invented" for n in sorted(new.names - names) if not _has_word(original, n)]
    return errors + list(_form_errors(original, paraphrase))


def _number_errors(original: str, paraphrase: str, old: frozenset[str], new: frozenset[str]) -> list[str]:
    """Numbers that are missing or invented; `old` and `new` are the numbers in digits of the two texts.

    A number in digits must stay in digits: almost every text contains `one` and `two`, which would hide that
    1 or 2 is missing. A number above 2 in words may become digits.
    """
    in_words = {number for number in _spelled(_without_sums(original)) if int(number) > 2}
    missing = (old - new) | (in_words - old - new - _spelled(paraphrase))
    known = {number.lstrip("-") for number in old} | _spelled(original) | _FREE
    invented = {number for number in new if number.lstrip("-") not in known}
    return [
        *(f"the number {number} is missing" for number in sorted(missing)),
        *(f"the number {number} is invented" for number in sorted(invented)),
    ]


def _is_maths(predicate: str, text: str) -> bool:
    """Whether a new predicate is a mathematical function of academic prose: f(X) without backquotes."""
    name = predicate.split("/")[0]
    return bool(_MATHS.fullmatch(name)) and not re.search(rf"`[^`\n]*\b{name}\([^`\n]*`", text)


def _has_word(text: str, word: str) -> bool:
    """Whether `text` contains `word` as a whole word, in lower case or with a capital."""
    return bool(re.search(rf"(?<!\w)[{word[0]}{word[0].upper()}]{re.escape(word[1:])}(?!\w)", text))


_CODE = re.compile(r":-|:~|```|#[a-z]+\b|\{\{|&&|^[^\S\n]*-?[a-z_]\w*\([^)]{0,1000}\)\.\s*$", re.MULTILINE)
_CHATTER = re.compile(
    r"\A\W*(?:sure\b|certainly\b|of course\b|here(?: is|'s|’s| are)\b.*(?:rewrit|paraphras|version|text))",
    re.IGNORECASE,
)


def _form_errors(original: str, paraphrase: str) -> Iterator[str]:
    """Errors of length and form."""
    length, (low, high) = len(paraphrase), LENGTHS
    if not paraphrase.strip():
        yield "it is empty"
        return
    if length < low * len(original) - SLACK:
        yield "it is much shorter than the original"
    if length > high * len(original) + SLACK:
        yield _TOO_LONG
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
