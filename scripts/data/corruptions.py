"""Algorithmic augmentation: alpha-renaming on the syntax tree, input noise, and corruptions to repair.

Everything here is a pure function of its text and a seeded generator; `data_converter` lets the solver prove what
comes out before it becomes a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from scripts.data.variable_renaming import variables

# --- alpha-renaming ---------------------------------------------------------------------------------------------


# --- input noise ------------------------------------------------------------------------------------------------


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
