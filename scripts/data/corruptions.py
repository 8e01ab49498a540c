"""Algorithmic augmentation: alpha-renaming on the syntax tree, input noise, and corruptions to repair.

Everything here is a pure function of its text and a seeded generator; `data_converter` lets the solver prove what
comes out before it becomes a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from clingo.ast import AST, ASTType

from scripts.asp.encoding import parse, transform_variables, trees_of, walk

# --- alpha-renaming ---------------------------------------------------------------------------------------------


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


# --- input noise ------------------------------------------------------------------------------------------------


_OPERAND = r"(?:\d+|[^\W\d_]\d*)"  # a number or a variable
_MATHS = (  # operators between operands, or of a longer name and an operand, and the sign of a number
    rf"(?<=[\w)`])\s*(?:[-+*/=<>]|\.\.|!=|<=|>=)\s*(?={_OPERAND}(?![\w'])|\(\w)|(?<=\b[^\W\d_])\s*(?:[+*=<>]|!=|<=|>=)\s*(?=\w)"
    r"|(?<![\w)-])-(?=\d)"
)


def noisy(instruction: str) -> str:
    """The instruction in lower case without punctuation; what is mathematics stays, and underscores inside names.

    `T-1`, `X != Y` and `1..n` without their signs would say something else, and nobody types them so.
    """
    text = re.sub(
        rf"(?P<maths>(?a:{_MATHS}))|[^\w\s]", lambda match: match["maths"] or " ", instruction.lower()
    )
    text = re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", " ", text)
    return re.sub(r"\s+", " ", text).strip()


# --- corruptions ------------------------------------------------------------------------------------------------

Corruption = Callable[[str, Random], str | None]
"""Code and a generator in, broken code out; None where the class does not apply to this code."""


def _masked(code: str) -> str:
    """`code` with strings blanked, so that patterns find code only; positions stay."""
    return re.sub(r'"(?:\\.|[^"\\])*"', lambda match: '"' + " " * (len(match[0]) - 2) + '"', code)


def _edit(code: str, rng: Random, *edits: tuple[str, str]) -> str | None:
    """Apply one of the (pattern, replacement) edits that match, at one of the places where it does."""
    places = [
        (match, replacement)
        for pattern, replacement in edits
        for match in re.finditer(pattern, _masked(code))
    ]
    if not places:
        return None
    match, replacement = rng.choice(places)

    def expand(reference: re.Match) -> str:  # groups come from the code itself, where strings are not blanked
        return code[slice(*match.span(int(reference[1])))] if reference[1].isdigit() else reference[1]

    return code[: match.start()] + re.sub(r"\\(.)", expand, replacement) + code[match.end() :]


def _fence(code: str, rng: Random) -> str:
    language = rng.choice(["asp", "", "prolog", "clingo", "lp"])
    return rng.choice([f"```{language}\n{code}\n```", f"{code}\n```", f"```{language}\n{code}", f"`{code}`"])


def _doubled_braces(code: str, rng: Random) -> str | None:
    if "{" not in _masked(code):
        return None
    return re.sub(r"[{}]", lambda match: match[0] * 2, code)


def _list_number(code: str, rng: Random) -> str:
    number = rng.randint(1, 12)
    return rng.choice([f"{number}. {code}", f"{number}) {code}", f"Step {number}: {code}"])


def _foreign_operator(code: str, rng: Random) -> str | None:
    return _edit(
        code,
        rng,
        (r"!=", r"\\="),
        (r"!=", r"=\\="),
        (r"!=", r"#\\="),
        (r"!=", "/="),
        (r"!=", "<>"),
        (r"<=", "=<"),
        (r">=", "=>"),
        (r"(?<![<>=!:#])<(?![=<])", "#<"),
        (r"(?<![<>=!:#])>(?![=>])", "#>"),
        (r"(?<![<>=!#:])=(?![=<>])", "=:="),
        (r"\bnot\s+", r"\\+ "),
        (r"\bnot\s+", "~"),
        (r"\bnot\s+", "!"),
        (r":-", "<-"),
        (r":-", "==>"),
        (r":-", " if "),
        (r"(?<=\)),\s*", " and "),
        (r"(?<=\)),\s*", " && "),
        (r"(?<=\));\s*", " or "),
        (r"\\", " mod "),
    )


def _prose(code: str, rng: Random) -> str:
    return rng.choice(
        [
            f"Here is the rule:\n{code}",
            f"{code}\nThis rule implements the instruction.",
            f"The statement is: {code}",
            f"=== Rule ===\n{code}",
            f"Sure! {code}",
            f"{code} This ensures the condition holds.",
            f"// the rule\n{code}",
            f"Answer: {code}",
            f"# Rule\n{code}",
        ]
    )


def _aggregate_or_comma(code: str, rng: Random) -> str | None:
    return _edit(
        code,
        rng,
        (r"(#(?:count|sum|min|max)\s*)\{([^{}]*)\}", r"\1(\2)"),
        (r"(#(?:count|sum|min|max)\s*\{[^{}:]*):", r"\1"),
        (r"#(count|sum|min|max)\b", r"\1"),
        (r"(?<=[\w)])\s*\.\s*$", ",."),
        (r"(?<=\)),", ",,"),
        (r":-\s*(?=[a-z])", ":- , "),
        (r"\(([^()]*),([^(),]*)\)", r"(\1,\2,)"),
        (r"(?<=[\w)}]),\s*(?=[a-z#\w])", " "),
        (r"\}(?=[^{}]*$)", ""),
    )


def _illegal_place(code: str, rng: Random) -> str | None:
    return _edit(
        code,
        rng,
        (r"\b([A-Z]\w*)\s*=\s*(#(?:count|sum)\s*\{[^{}]*\})", r"holds(\2)"),
        (r"(#(?:count|sum|min|max)\s*\{[^{}]*\})\s*([<>]=?|!?=)\s*(\w+)", r"\3 \2 (\1 + 0)"),
        (r"#const\s+(\w+)\s*=\s*(\w+)", r"#const{\1 = \2}"),
        (r"\b(\w+)\s*=\s*(\w+)\s*\.\.\s*(\w+)", r"#between(\2, \3, \1)"),
        (r"#(minimize|maximize)\s*(\{[^{}]*\})", r"cost = #\1\2"),
        (r"#show\s+(\S+?)\.", r"#show{\1}."),
        (r":~\s*([^.]*)\.", r":- #minimize{\1}."),
    )


def _colon_or_set(code: str, rng: Random) -> str | None:
    return _edit(
        code,
        rng,
        (r"(?<=\))\s*:-", " : :-"),
        (r":-(?=\s*\S)", ":- :"),
        (r"(?<=\))(?=\s*\.\s*$)", " :"),
        (r"\(([a-z]\w*)\)", r"({\1})"),
        (r"\(([A-Z]\w*),\s*([A-Z]\w*)\)", r"({\1, \2})"),
        (r":-", ":"),
    )


def _period_or_neck(code: str, rng: Random) -> str | None:
    if code.startswith(
        "#show"
    ):  # without its period clingo has two messages, and which of them it prints is chance
        return None
    return _edit(code, rng, (r"\s*\.(?=\s*(?:\[[^\]]*\])?\s*$)", ""), (r":-", ":- :-"), (r"\.(?=\s*$)", ";"))


def _unsafe_variable(code: str, rng: Random) -> str | None:
    """Take away a positive literal that binds, or misspell one occurrence of a variable."""
    occurrences = list(variables(code).items())
    if not occurrences:
        return None
    literal = r"(?<![\w)}])(?<!not )[a-z]\w*\([^()]*\)"
    edits = [
        (rf"(:-\s*){literal},\s*", r"\1"),
        (rf",\s*{literal}(?=\s*[.,}}])", ""),
        (rf":-\s*{literal}\.", "."),
    ]
    if rng.random() < 0.5 and (broken := _edit(code, rng, *edits)):
        return broken
    (begin, end), name = rng.choice(occurrences)
    other = rng.choice(
        [name + "1", name[0] + "0", "Other" if len(name) > 1 else chr(65 + (ord(name[0]) - 64) % 26)]
    )
    data = code.encode()
    return (data[:begin] + other.encode() + data[end:]).decode()


def _wrong_arity(code: str, rng: Random) -> str | None:
    """One argument too many or too few in the body: clingo notes an atom that occurs in no rule head."""
    neck = _masked(code).find(":-")
    if neck < 0:
        return None
    broken = _edit(
        code[neck:],
        rng,
        (r"\b([a-z]\w*)\(([^(),]*),([^()]*)\)", r"\1(\3)"),
        (r"\b([a-z]\w*)\(([^()]*)\)", r"\1(\2,_)"),
        (r"\b([a-z]\w*)\(([^()]*),([^(),]*)\)", r"\1(\2)"),
    )
    return broken and code[:neck] + broken


def _wrong_meaning(code: str, rng: Random) -> str | None:
    """What clingo accepts and the instances refute: an operator, a number, an order of arguments, a negation."""

    def nudge(match: re.Match) -> str:
        return str(max(0, int(match[0]) + rng.choice([-1, 1])))

    numbers = list(re.finditer(r"(?<![\w.@])\d+(?!\w)", _masked(code)))
    if numbers and rng.random() < 0.3:
        match = rng.choice(numbers)
        return code[: match.start()] + nudge(match) + code[match.end() :]
    return _edit(
        code,
        rng,
        (r"<=", "<"),
        (r">=", ">"),
        (r"(?<![<>=!:#])<(?![=<])", "<="),
        (r"(?<![<>=!:#])>(?![=>])", ">="),
        (r"!=", "="),
        (r"(?<![<>=!:#])=(?![=<>])", "!="),
        (r"(?<![<>=!:#])<(?![=<])", ">"),
        (r"\bnot\s+", ""),
        (r"(:-\s*|,\s*)(?=[a-z]\w*\()", r"\1not "),
        (r"\(([A-Z]\w*),\s*([A-Z]\w*)\)", r"(\2, \1)"),
        (r"\+(\s*1\b)", r"-\1"),
        (r"#minimize", "#maximize"),
        (r"#maximize", "#minimize"),
        (r"\}\s*=\s*1", "}"),
        (r",\s*[a-z]\w*\([^()]*\)(?=\s*\.\s*$)", ""),
        (r",\s*[A-Z]\w*\s*!=\s*[A-Z]\w*", ""),
        (r"\|", ","),
        (r"#sum\b", "#count"),
    )


CORRUPTIONS: dict[str, tuple[float, Corruption]] = {
    # Shares of 224 parse errors in 63 programs that Llama-3, DeepSeek-V3 and Qwen2.5 wrote; a class that a parser
    # cannot see, or that only the instances refute, has a share of its own below. A fence was the most common of all, in
    # 25 of 100, but the loop strips nearly every one before it would ask: a few rows teach to answer without one.
    "markdown fence": (6, _fence),
    "doubled braces": (18, _doubled_braces),
    "list number": (16, _list_number),
    "foreign operator": (12, _foreign_operator),
    "prose": (10, _prose),
    "aggregate or comma": (7, _aggregate_or_comma),
    "illegal place": (3, _illegal_place),
    "colon or set": (5, _colon_or_set),
    "period or neck": (1, _period_or_neck),
    "unsafe variable": (20, _unsafe_variable),
    "wrong arity": (10, _wrong_arity),
    "wrong meaning": (20, _wrong_meaning),
}
"""Class of error → its weight in the data and the function that makes it."""
