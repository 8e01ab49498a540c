"""Variable renaming: the variables of a rule get other names, and the instruction follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from clingo.ast import AST, ASTType

from scripts.asp.syntax import parse, transform_variables, trees_of, walk


def canonical_names() -> Iterator[str]:
    """Yield V0, V1, V2, …"""
    return (f"V{number}" for number in count())


def abstract_names() -> Iterator[str]:
    """Yield X, Y, Z, W, … and after the last letter X1, Y1, …"""
    letters = "XYZWUVTSRQPNMK"
    yield from letters
    for number in count(1):
        yield from (f"{letter}{number}" for letter in letters)


POOLS: dict[str, Callable[[], Iterator[str]]] = {"canonical": canonical_names, "abstract": abstract_names}
"""The variable renamings: a name, and the function that yields new names."""

_NAME = re.compile(r"(?<![\w'])_*[A-Z][\w']*")
_OPERATOR_BEFORE = re.compile(r"(?:[=<>!+*/|^\\`-]|\.\.)\s*$")
_CODE_AFTER = re.compile(r"\s*(?:[=<>+*/|^\\),:`]|!=|\.\.|-(?![a-z])|-(?=th\b))")
_NO_ARTICLE = re.compile(
    r"\s+(?:is|are|and|or|has|have|does|must|may|can|cannot|comes|lies|to|in|on|at|of|with|before|after)\b"
)
_PRONOUN = re.compile(
    r"\s+(?:am|was|have|had|do|did|don't|will|would|can|could|must|want|need|like|ask|mean|visit|go|take)\b"
)


@dataclass(frozen=True)
class Renaming:
    """A step with renamed variables, and the old and new names."""

    instruction: str
    code: str
    names: dict[str, str]


def variables(code: str) -> dict[tuple[int, int], str]:
    """Return every occurrence of a variable in `code`, except `_`, in the order of the text.

    The keys are (begin, end), in bytes; the values are the names.
    """
    starts = [0] + [match.end() for match in re.finditer(b"\n", code.encode())]
    occurrences = {}
    for tree in parse(code):
        for node in walk(tree):
            if node.ast_type == ASTType.Variable and node.name != "_":
                begin = starts[node.location.begin.line - 1] + node.location.begin.column - 1
                occurrences[begin, begin + len(node.name.encode())] = node.name
    return dict(sorted(occurrences.items()))


def rename(instruction: str, code: str, pool: str) -> Renaming:
    """Rename all variables of a step, in the order of their first occurrence.

    Only names change, the layout stays. The variables that the instruction names are renamed with the code. A
    new name is skipped if the instruction uses it for something else.

    Arguments:
        instruction: The instruction of the step.
        code: The rule of the step.
        pool: A key of `POOLS`: where the new names come from.
    """
    occurrences = variables(code)
    old = dict.fromkeys(occurrences.values())
    mentioned = mentions(instruction, old)
    other_words = _NAME.sub(lambda match: "" if match.start() in mentioned else match[0], instruction)
    taken = {match[0].removesuffix("'s") for match in _NAME.finditer(other_words)}
    free = (name for name in POOLS[pool]() if name not in taken)
    names = dict(zip(old, free, strict=False))
    data, position, pieces = code.encode(), 0, []
    for (begin, end), name in occurrences.items():
        pieces += [data[position:begin], names[name].encode()]
        position = end
    renamed = b"".join([*pieces, data[position:]]).decode()
    return Renaming(rename_in_text(instruction, names), renamed, names)


def mentions(instruction: str, names: Iterable[str]) -> dict[int, str]:
    """Return where an instruction names a variable: the position and the name.

    A capital letter or a capitalised word that is one of `names` is a variable, unless it is an article, the
    pronoun `I`, the first word of a sentence, a quoted constant, or part of a compound like `T-shirt`.
    """
    names = set(names)
    positions = {}
    for match in _NAME.finditer(instruction):
        name = match[0] if match[0] in names else match[0].removesuffix("'s")
        if name not in names:
            continue
        before, after = instruction[: match.start()], instruction[match.start() + len(name) :]
        if not _is_word(name, before, after):
            positions[match.start()] = name
    return positions


def _is_word(name: str, before: str, after: str) -> bool:
    """Whether `name`, between the texts `before` and `after`, is a word of English and not a variable."""
    is_first = not before.strip() or before.rstrip()[-1] in ".:;!?(" and not _CODE_AFTER.match(after)
    if before.endswith('"') and after.startswith('"') or re.match(r"-(?!th\b)[a-z]", after):
        return True
    if _OPERATOR_BEFORE.search(before) or _CODE_AFTER.match(after):
        return False
    if name == "A":
        return is_first and not _NO_ARTICLE.match(after)
    if name == "I":
        return bool(_PRONOUN.match(after))
    return is_first and len(name) > 1 and name.isalpha()


def rename_in_text(instruction: str, names: dict[str, str]) -> str:
    """Return an instruction with the variables that it names renamed."""
    pieces, position = [], 0
    for begin, name in mentions(instruction, names).items():
        pieces += [instruction[position:begin], names[name]]
        position = begin + len(name)
    return "".join([*pieces, instruction[position:]])


def same_up_to(names: dict[str, str], old: str, new: str) -> bool:
    """Whether the trees of `new` are those of `old` with its variables renamed, and no two variables have
    become one.
    """
    if len(set(names.values())) != len(names):
        return False
    renamed: list[AST] = [transform_variables(tree, names.__getitem__) for tree in trees_of(old)]
    return renamed == trees_of(new)
