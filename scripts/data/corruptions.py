"""Corruptions: changes that break a rule, in the classes of errors that models make.

Each is a function of the rule and a random generator, and of nothing else. Whether the result is really
broken is the solver's decision (`scripts/data/repairs.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from scripts.data.variable_renaming import variables

Corruption = Callable[[str, Random], str | None]
"""A function from a rule and a random generator to the broken rule, or None if the class does not apply to
the rule.
"""


@dataclass(frozen=True)
class CorruptionClass:
    """A class of corruptions: its weight when classes are drawn, and its function."""

    weight: float
    corrupt: Corruption


# Edits of syntax: patterns and replacements, as `_edit` takes them. clingo reads `<>` as `!=`, and `a :` as
# `a` with an empty condition, so these are no corruptions.
FOREIGN_OPERATORS = (
    (r"!=", r"\\="),
    (r"!=", r"=\\="),
    (r"!=", r"#\\="),
    (r"!=", "/="),
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
AGGREGATES_AND_COMMAS = (
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
ILLEGAL_PLACES = (
    (r"\b([A-Z]\w*)\s*=\s*(#(?:count|sum)\s*\{[^{}]*\})", r"holds(\2)"),
    (r"(#(?:count|sum|min|max)\s*\{[^{}]*\})\s*([<>]=?|!?=)\s*(\w+)", r"\3 \2 (\1 + 0)"),
    (r"#const\s+(\w+)\s*=\s*(\w+)", r"#const{\1 = \2}"),
    (r"\b(\w+)\s*=\s*(\w+)\s*\.\.\s*(\w+)", r"#between(\2, \3, \1)"),
    (r"#(minimize|maximize)\s*(\{[^{}]*\})", r"cost = #\1\2"),
    (r"#show\s+(\S+?)\.", r"#show{\1}."),
    (r":~\s*([^.]*)\.", r":- #minimize{\1}."),
)
COLONS_AND_SETS = (
    (r":-(?=\s*\S)", ":- :"),
    (r"\(([a-z]\w*)\)", r"({\1})"),
    (r"\(([A-Z]\w*),\s*([A-Z]\w*)\)", r"({\1, \2})"),
    (r":-", ":"),
)


def _masked(code: str) -> str:
    """Return `code` with spaces in its strings, so that patterns match code only. Positions stay."""
    return re.sub(r'"(?:\\.|[^"\\])*"', lambda match: '"' + " " * (len(match[0]) - 2) + '"', code)


def _edit(code: str, rng: Random, *edits: tuple[str, str]) -> str | None:
    """Apply one of the edits at one of its matches, drawn from all matches of all edits.

    None if nothing matches.

    Each edit is a regular expression and its replacement, which may refer to groups (`\\1`).
    """
    places = [
        (match, replacement)
        for pattern, replacement in edits
        for match in re.finditer(pattern, _masked(code))
    ]
    if not places:
        return None
    match, replacement = rng.choice(places)

    def expand(reference: re.Match) -> str:  # the text of a group comes from `code`: there strings are whole
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
    return _edit(code, rng, *FOREIGN_OPERATORS)


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
    return _edit(code, rng, *AGGREGATES_AND_COMMAS)


def _illegal_place(code: str, rng: Random) -> str | None:
    return _edit(code, rng, *ILLEGAL_PLACES)


def _colon_or_set(code: str, rng: Random) -> str | None:
    return _edit(code, rng, *COLONS_AND_SETS)


def _period_or_neck(code: str, rng: Random) -> str | None:
    if "#show" in code:  # without its period clingo prints one of two messages, by chance
        return None
    return _edit(code, rng, (r"\s*\.(?=\s*(?:\[[^\]]*\])?\s*$)", ""), (r":-", ":- :-"), (r"\.(?=\s*$)", ";"))


def _unsafe_variable(code: str, rng: Random) -> str | None:
    """Remove a positive literal, or misspell one occurrence of a variable."""
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
    """Add or remove an argument in the body. clingo then notes that an atom occurs in no rule head."""
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
    """Change an operator, a number, the order of arguments or a negation, so that clingo still accepts the
    rule.
    """
    numbers = list(re.finditer(r"(?<![\w.@])\d+(?!\w)", _masked(code)))
    if numbers and rng.random() < 0.3:
        match = rng.choice(numbers)
        number = max(0, int(match[0]) + rng.choice([-1, 1]))
        return f"{code[: match.start()]}{number}{code[match.end() :]}"
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


# The weights of syntax errors are their shares of 224 parse errors in 63 programs by Llama-3, DeepSeek-V3 and
# Qwen2.5. Fences are an exception: they were the most common (in 25 of 100), but the repair loop strips them.
# The last three classes are errors that a parser does not find; their weights are our choice.
CORRUPTIONS: dict[str, CorruptionClass] = {
    "markdown fence": CorruptionClass(6, _fence),
    "doubled braces": CorruptionClass(18, _doubled_braces),
    "list number": CorruptionClass(16, _list_number),
    "foreign operator": CorruptionClass(12, _foreign_operator),
    "prose": CorruptionClass(10, _prose),
    "aggregate or comma": CorruptionClass(7, _aggregate_or_comma),
    "illegal place": CorruptionClass(3, _illegal_place),
    "colon or set": CorruptionClass(5, _colon_or_set),
    "period or neck": CorruptionClass(1, _period_or_neck),
    "unsafe variable": CorruptionClass(20, _unsafe_variable),
    "wrong arity": CorruptionClass(10, _wrong_arity),
    "wrong meaning": CorruptionClass(20, _wrong_meaning),
}
"""The classes of corruptions by name."""
