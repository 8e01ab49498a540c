"""The domains of generated problems: small worlds with their things, predicates and words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path

TABLE = Path(__file__).with_name("domains.toml")
TIME, COLUMN, ROW, NUMBER = "time", "column", "row", "number"


def is_integer(type_: str) -> bool:
    """Whether the values of a type are integers."""
    return type_ in (TIME, COLUMN, ROW) or type_.startswith(NUMBER)


def join(first: str, second: str) -> str | None:
    """The type of something that has both types, or None. A number with a unit is also a number."""
    if first == second or second == NUMBER and first.startswith(NUMBER):
        return first
    return second if first == NUMBER and second.startswith(NUMBER) else None


@dataclass(frozen=True)
class Predicate:
    """A predicate with its words.

    Attributes:
        name: The name in the program.
        args: The type of each argument: a thing, `time`, `column`, `row`, `number` or `number:UNIT`.
        text: A clause. `{0}` stands for an argument with its noun, `{0,1}` for a cell, `[fit]` for the verb.
        values: The least and the largest number, if it has one.
        attribute: The noun of a number that a thing has, or "".
        varies: Whether it may have a point in time as well.
    """

    name: str
    args: tuple[str, ...]
    text: str
    values: tuple[int, int] = (1, 5)
    attribute: str = ""
    varies: bool = False

    @property
    def arity(self) -> int:
        """The number of arguments."""
        return len(self.args)

    def clause(self, form: str = "is") -> str:
        """The clause with its verb in a form: `is`, `not`, or `bare` (after "must")."""
        if re.match(r"\{\d\} [a-z]", self.text) and form != "bare":  # `3 pieces of loaf L are ordered`
            return re.sub(r"\[(\w+)\]", lambda match: conjugate_plural(match[1], form), self.text)
        return re.sub(r"\[(\w+)\]", lambda match: conjugate(match[1], form), self.text)

    def moved(self, order: Sequence[int]) -> Predicate:
        """The predicate with its arguments in another order: argument n goes to place `order[n]`."""
        args = [""] * len(order)
        for place, type_ in zip(order, self.args, strict=True):
            args[place] = type_

        def place_of(match: re.Match) -> str:
            return "{" + ",".join(str(order[int(number)]) for number in match[1].split(",")) + "}"

        return replace(self, args=tuple(args), text=re.sub(r"\{([\d,]+)\}", place_of, self.text))

    def with_argument(self, type_: str, words: str) -> Predicate:
        """The predicate with one more argument. `words` follow the clause; `#` stands for the argument."""
        text = f"{self.text} {words.replace('#', '{' + str(len(self.args)) + '}')}"
        return replace(self, args=(*self.args, type_), text=text)


@dataclass(frozen=True)
class Domain:
    """A small world.

    Attributes:
        name: Its name.
        setting: A sentence that says what it is about.
        time: The word for a point in time, with its preposition: `in week`.
        measure: The words for a number of a derived predicate, with `#` for the number.
        things: The constants of each type of things.
        plurals: The plural of each noun.
        cell: The noun of a place in a grid, or "".
        facts: The predicates that instances may give.
        choices: The predicates that a solution may decide.
        derived: The predicates that rules may define.
    """

    name: str
    setting: str
    time: str
    measure: str
    things: dict[str, tuple[str, ...]]
    plurals: dict[str, str]
    cell: str
    facts: tuple[Predicate, ...]
    choices: tuple[Predicate, ...]
    derived: tuple[Predicate, ...]

    @property
    def time_noun(self) -> str:
        return self.time.split()[-1]

    def type_predicate(self, type_: str) -> Predicate:
        """The predicate that lists the things of a type, or the points in time."""
        if type_ == self.cell:
            return Predicate(type_, (COLUMN, ROW), "there [be] a {0,1}")
        name = self.time_noun if type_ == TIME else type_
        return Predicate(name, (type_,), "there [be] {0}")


def conjugate(verb: str, form: str) -> str:
    """A verb in the third person (`is`), negated (`not`), or as it stands (`bare`)."""
    if form == "bare":
        return verb
    if verb in ("be", "can", "may"):
        return ("is" if verb == "be" else verb) + (" not" if form == "not" else "")
    if form == "not":
        return f"does not {verb}"
    if verb in ("have", "do", "go"):
        return {"have": "has", "do": "does", "go": "goes"}[verb]
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ies"
    return f"{verb}es" if re.search(r"(s|x|z|ch|sh|o)$", verb) else f"{verb}s"


def conjugate_plural(verb: str, form: str) -> str:
    """A verb behind a plural, as it stands (`is`) or negated (`not`)."""
    if verb in ("be", "can", "may"):
        return ("are" if verb == "be" else verb) + (" not" if form == "not" else "")
    return f"do not {verb}" if form == "not" else verb


def is_plural(noun: str) -> bool:
    """Whether a noun is a plural: `seats` is one, `brightness` is not."""
    return noun.endswith("s") and not noun.endswith("ss")


def plural(noun: str) -> str:
    """The regular plural of a noun."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|z|ch|sh)$", noun) else f"{noun}s"


@cache
def load_domains(path: Path = TABLE) -> tuple[Domain, ...]:
    """All domains of the table, in its order."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(_domain(name, entry) for name, entry in table.items())


def _domain(name: str, entry: dict) -> Domain:
    things, plurals = {}, {}
    for noun, names in entry["things"].items():
        singular, _, many = noun.partition("/")
        things[singular] = tuple(re.sub(r"'([^']*)'", r'"\1"', word) for word in _words(names))
        plurals[singular] = many or plural(singular)
    cell, time_noun = entry.get("grid", ""), entry["time"].split()[-1]
    plurals |= {TIME: plural(time_noun)} | ({cell: plural(cell)} if cell else {})
    types = {**{noun: noun for noun in things}, time_noun: TIME} | ({cell: "cell"} if cell else {})

    def read(part: str) -> tuple[Predicate, ...]:
        return tuple(_predicate(word, text, types) for word, text in entry.get(part, {}).items())

    numbers = tuple(_number(word, text) for word, text in entry.get("numbers", {}).items())
    totals = tuple(_number(word, f"{noun} 1-9") for word, noun in entry.get("totals", {}).items())
    return Domain(
        name=name,
        setting=entry["setting"],
        time=entry["time"],
        measure=entry["measure"],
        things=things,
        plurals=plurals,
        cell=cell,
        facts=(*read("facts"), *numbers),
        choices=read("choices"),
        derived=(*read("derived"), *totals),
    )


def _words(names: str) -> list[str]:
    return re.findall(r"'[^']*'|\S+", names)


def _number(name: str, text: str) -> Predicate:
    """A number that a thing has, from `thing least-most unit`."""
    noun, values, *unit = text.split()
    low, high = map(int, values.split("-"))
    words = name.replace("_", " ")
    subject = f"the number of {words}" if is_plural(words) else f"the {words}"
    type_ = f"{NUMBER}:{unit[0]}" if unit else NUMBER
    return Predicate(name, (noun, type_), f"{subject} of {{0}} [be] {{1}}", (low, high), words)


def _predicate(name: str, text: str, types: dict[str, str]) -> Predicate:
    """A predicate from its clause, in which the nouns of types and `#` stand for the arguments."""
    args: list[str] = []
    values = (1, 5)
    numbers = count()

    def argument(match: re.Match) -> str:
        nonlocal values
        word = match[0]
        if word.startswith("#"):
            if match[1]:
                values = (int(match[1]), int(match[2]))
            unit = re.match(r" ?([a-z]+)", text[match.end() :])
            args.append(f"{NUMBER}:{unit[1]}" if unit else NUMBER)
            return f"{{{next(numbers)}}}"
        if types[word] == "cell":
            args.extend((COLUMN, ROW))
            return f"{{{next(numbers)},{next(numbers)}}}"
        args.append(types[word])
        return f"{{{next(numbers)}}}"

    nouns = "|".join(sorted(types, key=len, reverse=True))
    pattern = rf"#(?:(\d+)-(\d+))?|(?<![\[\w])(?:{nouns})(?![\]\w])"
    words = re.sub(pattern, argument, text.removesuffix(" ~"))
    return Predicate(name, tuple(args), words, values, varies=text.endswith(" ~"))
