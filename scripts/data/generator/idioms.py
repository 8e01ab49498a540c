"""Idioms: rules that people write again and again, from a table of patterns."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

TABLE = Path(__file__).with_name("idioms.toml")
_WORD = re.compile(r"\$\{?(\w+)\}?(?:\.(\d))?")
_GAPS = (
    (r"(,\s*)+,", ","),
    (r":([-~])\s*,", r":\1"),
    (r",\s*(?=[.}])", ""),
    (r":\s*,", ": "),
    (r"\s+\}", " }"),
)
_TOKEN = re.compile(r"\w+|\W")


@cache
def load_idioms(path: Path = TABLE) -> dict[str, dict]:
    """The sections of the table."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def draw_idiom(rng: Random) -> str:
    """Draw one idiom: a statement a line, with placeholders for predicates."""
    sections = {name: section for name, section in load_idioms().items() if name != "shared"}
    name = rng.choices(list(sections), [section["weight"] for section in sections.values()])[0]
    return _Drawing(sections[name], rng).text("$rule")


class _Drawing:
    """One draw from a section of the table.

    Attributes:
        words: The words that are drawn, as they stand in the table.
        predicates: The placeholder of each letter.
    """

    def __init__(self, section: dict, rng: Random):
        self.tables = load_idioms()["shared"] | section
        self.rng = rng
        self.words: dict[str, str] = {}
        self.predicates: dict[str, str] = {}

    def text(self, pattern: str) -> str:
        """`pattern` with its words drawn, without the commas around empty words."""
        text = self._expand(pattern)
        for gap, filling in _GAPS:
            text = re.sub(gap, filling, text)
        return "\n".join(hide_single(line) for line in text.split("\n"))

    def _expand(self, pattern: str) -> str:
        return _WORD.sub(self._word, pattern)

    def _word(self, match: re.Match) -> str:
        name, part = match[1], match[2]
        if len(name) == 1:
            return self.predicates.setdefault(name, f"q{len(self.predicates)}")
        if name not in self.words:
            table = self.tables[name]
            self.words[name] = self.rng.choices(list(table), list(table.values()))[0]
        chosen = self.words[name]
        return self._expand(chosen if part is None else chosen.split(" | ")[int(part)])


def hide_single(text: str) -> str:
    """`_` in place of the variables (single capitals) that occur once in a statement."""
    tokens = _TOKEN.findall(text)
    counts = Counter(tokens)
    return "".join("_" if _is_variable(token) and counts[token] == 1 else token for token in tokens)


def _is_variable(token: str) -> bool:
    return len(token) == 1 and token.isalpha() and token.isupper()
