"""Variable renaming: the variables of a rule, and of its instruction, get other names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from clingo.ast import AST, ASTType

from scripts.asp.syntax import parse, transform_variables, trees_of, walk


def canonical_names() -> Iterator[str]:
    """V0, V1, V2, …"""
    return (f"V{number}" for number in count())


def abstract_names() -> Iterator[str]:
    """X, Y, Z, W, … and, when the letters are used up, X1, Y1, …"""
    letters = "XYZWUVTSRQPNMK"
    yield from letters
    for number in count(1):
        yield from (f"{letter}{number}" for letter in letters)


POOLS: dict[str, Callable[[], Iterator[str]]] = {"canonical": canonical_names, "abstract": abstract_names}


@dataclass(frozen=True)
class Renaming:
    """Renamed code and instruction, and the bijection between the variables of old and new."""

    instruction: str
    code: str
    names: dict[str, str]


def variables(code: str) -> dict[tuple[int, int], str]:
    """Every occurrence of a variable but `_` in `code`, by (begin, end) in bytes, in the order of the text."""
    starts = [0] + [match.end() for match in re.finditer(b"\n", code.encode())]
    found = {}
    for tree in parse(code):
        for node in walk(tree):
            if node.ast_type == ASTType.Variable and node.name != "_":
                begin = starts[node.location.begin.line - 1] + node.location.begin.column - 1
                found[begin, begin + len(node.name.encode())] = node.name
    return dict(sorted(found.items()))


def rename(instruction: str, code: str, pool: str) -> Renaming:
    """Rename the variables of a step at once, in the order of their first occurrence, to those of a pool.

    Only the names change, the layout stays. Variables that the instruction names are renamed with the code; a name
    of the pool that the instruction uses for something else is passed over.
    """
    occurrences = variables(code)
    old = dict.fromkeys(occurrences.values())
    mentioned = mentions(instruction, old)
    elsewhere = _NAME.sub(lambda match: "" if match.start() in mentioned else match[0], instruction)
    taken = {match[0].removesuffix("'s") for match in _NAME.finditer(elsewhere)}
    fresh = (name for name in POOLS[pool]() if name not in taken)
    names = dict(zip(old, fresh, strict=False))
    data, position, pieces = code.encode(), 0, []
    for (begin, end), name in occurrences.items():
        pieces += [data[position:begin], names[name].encode()]
        position = end
    renamed = b"".join([*pieces, data[position:]]).decode()
    return Renaming(rename_in_text(instruction, names), renamed, names)


_NAME = re.compile(r"(?<![\w'])_*[A-Z][\w']*")


_OPERATOR_BEFORE = re.compile(r"(?:[=<>!+*/|^\\`-]|\.\.)\s*$")


_CODE_AFTER = re.compile(r"\s*(?:[=<>+*/|^\\),:`]|!=|\.\.|-(?![a-z])|-(?=th\b))")


_NO_ARTICLE = re.compile(
    r"\s+(?:is|are|and|or|has|have|does|must|may|can|cannot|comes|lies|to|in|on|at|of|with|before|after)\b"
)


_PRONOUN = re.compile(
    r"\s+(?:am|was|have|had|do|did|don't|will|would|can|could|must|want|need|like|ask|mean|visit|go|take)\b"
)


def mentions(instruction: str, names: Iterable[str]) -> dict[int, str]:
    """Where a sentence speaks of a variable: position → name.

    A capital letter or word is a variable of the code unless the sentence says otherwise: an article or a word that
    opens it, the pronoun, a quoted constant, a compound like `T-shirt`.
    """
    names = set(names)
    found = {}
    for match in _NAME.finditer(instruction):
        name = match[0] if match[0] in names else match[0].removesuffix("'s")
        if name not in names:
            continue
        before, after = instruction[: match.start()], instruction[match.start() + len(name) :]
        opens = not before.strip() or before.rstrip()[-1] in ".:;!?(" and not _CODE_AFTER.match(after)
        if before.endswith('"') and after.startswith('"') or re.match(r"-(?!th\b)[a-z]", after):
            is_word = True
        elif _OPERATOR_BEFORE.search(before) or _CODE_AFTER.match(after):
            is_word = False
        elif name == "A":
            is_word = opens and not _NO_ARTICLE.match(after)
        elif name == "I":
            is_word = bool(_PRONOUN.match(after))
        else:
            is_word = opens and len(name) > 1 and name.isalpha()
        if not is_word:
            found[match.start()] = name
    return found


def rename_in_text(instruction: str, names: dict[str, str]) -> str:
    """The sentence with the variables it mentions renamed."""
    pieces, position = [], 0
    for begin, name in mentions(instruction, names).items():
        pieces += [instruction[position:begin], names[name]]
        position = begin + len(name)
    return "".join([*pieces, instruction[position:]])


def same_up_to(names: dict[str, str], old: str, new: str) -> bool:
    """Whether `new` is `old` with its variables renamed by `names`, tree for tree, and no two of them merged."""
    if len(set(names.values())) != len(names):
        return False
    before: list[AST] = [transform_variables(tree, names.__getitem__) for tree in trees_of(old)]
    return before == trees_of(new)
