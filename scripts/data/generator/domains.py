"""The domains of generated problems: small worlds with their things, relations, attributes and words."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("domains.toml")


@dataclass(frozen=True)
class Predicate:
    """A predicate with its words.

    Attributes:
        name: The name in the program.
        args: The type of each argument: a type of the domain, `number` or `time`.
        says: A clause for the atom; `{0}`, `{1}`, … stand for the arguments.
        denies: The clause for its negation.
        lists: How the description lists it.
    """

    name: str
    args: tuple[str, ...]
    says: str
    denies: str

    @property
    def arity(self) -> int:
        return len(self.args)


@dataclass(frozen=True)
class Domain:
    """One world: `types` maps a type to its plural and its constants; the rest are predicates by their part."""

    name: str
    setting: str
    time: tuple[str, str]
    types: dict[str, tuple[str, tuple[str, ...]]]
    relations: tuple[Predicate, ...]
    attributes: tuple[tuple[Predicate, tuple[int, int]], ...]
    properties: tuple[Predicate, ...]
    decisions: tuple[Predicate, ...]
    labels: tuple[Predicate, ...]
    links: tuple[Predicate, ...]
    totals: tuple[Predicate, ...]


def _clause(entry: dict) -> Predicate:
    args = entry.get("args") or [entry["of"]]
    return Predicate(entry["name"], tuple(args), entry["says"], entry["denies"])


def _number(entry: dict) -> Predicate:
    noun = entry["noun"]
    return Predicate(
        entry["name"],
        (entry["of"], "number"),
        f"the {noun} of {{0}} is {{1}}",
        f"the {noun} of {{0}} is not {{1}}",
    )


@cache
def load_domains(path: Path = TABLE) -> tuple[Domain, ...]:
    """All domains of the table, in its order."""
    return tuple(_domain(entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["domain"])


def _domain(entry: dict) -> Domain:
    return Domain(
        entry["name"],
        entry["setting"],
        tuple(entry["times"]),
        {name: (each["plural"], tuple(each["names"])) for name, each in entry["types"].items()},
        tuple(map(_clause, entry["relations"])),
        tuple((_number(each), tuple(each["range"])) for each in entry["attributes"]),
        tuple(map(_clause, entry["properties"])),
        tuple(map(_clause, entry["decisions"])),
        tuple(map(_clause, entry["labels"])),
        tuple(map(_clause, entry["links"])),
        tuple(map(_number, entry["totals"])),
    )
