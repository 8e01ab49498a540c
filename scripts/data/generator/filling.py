"""Filling templates: placeholders become predicates of a world, such that every variable has one type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from scripts.data.generator.constants import Constants
from scripts.data.generator.domains import COLUMN, NUMBER, ROW, TIME, Predicate, is_integer, join
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Const,
    Define,
    Func,
    Op,
    Rule,
    Show,
    Statement,
    Var,
    atoms,
    nodes,
    rewrite,
    variables,
)
from scripts.data.generator.variable_types import UNKNOWN, Misfit, check, complete, type_of, unify
from scripts.data.generator.world import World

TRIES = 60  # predicates that are tried for one template, at most
_SHOWN = ("result", "answer", "chosen", "report", "entry", "note", "record", "line")


@dataclass
class Filled:
    """Statements that are ready to be verified.

    Attributes:
        statements: The statements, in their order.
        types: The type of each variable of each statement.
        facts: New predicates for the instances.
        defined: New predicates of heads, with whether they are decided.
        constants: The values of new constants.
    """

    statements: list[Statement]
    types: list[dict[str, str]]
    facts: list[Predicate] = field(default_factory=list)
    defined: list[tuple[Predicate, bool]] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)


@dataclass
class Place:
    """The occurrences of one placeholder.

    Attributes:
        key: Its name and arity.
        atoms: Its atoms, each with the number of its statement.
        heads: Whether it is in a head, and whether that head is a choice or a disjunction.
        bodies: Whether it is in a body.
    """

    key: tuple[str, int]
    atoms: list[tuple[int, Atom]] = field(default_factory=list)
    defined: bool = False
    decided: bool = False
    bodies: bool = False


def head_atoms(statement: Statement) -> tuple[list[Atom], bool]:
    """The atoms that a statement may derive, and whether it decides them."""
    if not isinstance(statement, Rule):
        return [], False
    if isinstance(statement.head, Aggregate):
        return [element.atom for element in statement.head.elements if element.atom], True
    found = [getattr(part, "literal", part) for part in statement.head]
    return [part for part in found if isinstance(part, Atom)], len(statement.head) > 1


def _whole_cells(types: Sequence[str | None]) -> bool:
    """Whether each column is followed by its row."""
    text = "".join({COLUMN: "x", ROW: "y"}.get(type_, " ") for type_ in types)
    return not text.replace("xy", "").strip()


def is_definition(statement: Statement) -> bool:
    """Whether a statement derives something."""
    return bool(head_atoms(statement)[0])


class Filling:
    """One attempt to fill a template. `run` raises Misfit where nothing fits."""

    def __init__(self, template: tuple[Statement, ...], world: World, rng: Random):
        self.template, self.world, self.rng = template, world, rng
        self.types: list[dict[str, str]] = [{} for _ in template]
        self.chosen: dict[tuple[str, int], Predicate] = {}
        self.result = Filled([], [])
        self.tries = 0

    def run(self) -> Filled:
        """Fill the template."""
        places = self._places()
        bodies = [place for place in places if not place.defined]
        self.rng.shuffle(bodies)
        bodies.sort(key=lambda place: -place.key[1])
        if not self._choose_all(bodies):
            raise Misfit("no predicates fit")
        if not any(map(is_definition, self.template)) and not isinstance(self.template[0], Show):
            names = {predicate.name for predicate in self.world.open}
            if not any(predicate.name in names for predicate in self.chosen.values()):
                raise Misfit("a constraint over facts")
        for place in places:
            if place.defined:
                self._define(place)
        statements = [self._instantiate(number) for number in range(len(self.template))]
        self.result.statements = [*self._definitions(), *statements]
        self.result.types = [{}] * (len(self.result.statements) - len(statements)) + self.result.types
        return self.result

    # --- placeholders ---

    def _places(self) -> list[Place]:
        places: dict[tuple[str, int], Place] = {}
        for number, statement in enumerate(self.template):
            heads, decided = head_atoms(statement)
            for atom in atoms(statement):
                place = places.setdefault(atom.key, Place(atom.key))
                place.atoms.append((number, atom))
                if any(atom is head for head in heads):
                    place.defined = True
                    place.decided |= decided
                else:
                    place.bodies = True
        return list(places.values())

    def _choose_all(self, places: list[Place]) -> bool:
        """Choose predicates for all of `places`, by trial; whether that succeeded."""
        if not places:
            return self._types_agree()
        place, rest = places[0], places[1:]
        for predicate in self._candidates(place):
            self.tries += 1
            if self.tries > TRIES:
                return False
            before = [dict(types) for types in self.types]
            if self._unify(place, predicate) and self._types_agree(partly=True):
                self.chosen[place.key] = predicate
                if self._choose_all(rest):
                    return True
                del self.chosen[place.key]
            self.types = before
        return False

    def _candidates(self, place: Place) -> Iterator[Predicate]:
        world, arity = self.world, place.key[1]
        taken = {predicate.name for predicate in self.chosen.values()}
        signed = any("-" in atom.sign for _, atom in place.atoms)
        plain = any("-" not in atom.sign for _, atom in place.atoms)
        found: list[tuple[float, Predicate]] = []
        for predicate in world.known:
            if (
                predicate.arity != arity
                or predicate.name in taken
                or signed
                and predicate.name not in world.strong
            ):
                continue
            if plain and predicate.name in world.only_strong:
                continue
            weight = (1.0 if predicate in world.facts else 4.0) / (1 + world.used[predicate.name])
            found.append((weight, predicate))
        count = len(world.facts) + sum(p not in world.known for p in self.chosen.values())
        if not signed and count < world.most_facts:
            fresh = [p for p in world.new_facts(arity, self.rng) if p.name not in taken]
            found += [(0.5 if world.open else 1.0, p) for p in fresh]
        # A weighted order without repetition.
        keyed = sorted(found, key=lambda pair: self.rng.random() ** (1 / pair[0]), reverse=True)
        yield from (predicate for _, predicate in keyed)

    def _unify(self, place: Place, predicate: Predicate) -> bool:
        """Give the variables of a placeholder's atoms the types of `predicate`; False if they have others."""
        return all(
            unify(term, type_, self.types[number])
            for number, atom in place.atoms
            for term, type_ in zip(atom.args, predicate.args, strict=True)
        )

    def _types_agree(self, partly: bool = False) -> bool:
        """Whether comparisons, aggregates and weights fit the types; `partly`: as far as these are known."""
        timed = any(TIME in predicate.args for predicate in self.world.known)
        for statement, types in zip(self.template, self.types, strict=True):
            try:
                check(statement, types)
                check(statement, types)  # what the first round has found may tell more
            except Misfit:
                return False
            if not partly and not complete(statement, types, timed):
                return False
        return True

    # --- heads ---

    def _define(self, place: Place) -> None:
        """Choose a predicate for a placeholder of a head."""
        wanted: list[str | None] = []
        for position in range(place.key[1]):
            found: set[str] = set()
            for number, atom in place.atoms:
                term = atom.args[position]
                type_ = type_of(term, self.types[number])
                if type_ and type_ not in UNKNOWN:
                    found.add(type_)
                elif isinstance(term, Const) and term.is_number:
                    found.add("integer")
                elif isinstance(term, Op):
                    found.add(TIME if ".." in term.code() and self.rng.random() < 0.3 else NUMBER)
            wanted.append(self._one_type(found))
        for position, type_ in enumerate(wanted):
            if type_ is None and place.key[1] > 1:
                wanted[position] = self.rng.choice(list(self.world.domain.things))
        if not _whole_cells(wanted):
            raise Misfit("half of a place")
        predicate = self._head_predicate(place, tuple(wanted))
        self.chosen[place.key] = predicate
        if not self._unify(place, predicate) or not self._types_agree():
            raise Misfit("head")

    def _one_type(self, found: set[str]) -> str | None:
        integers = "integer" in found
        rest = sorted(found - {"integer"})
        if not rest:
            return self.rng.choice((TIME, NUMBER)) if integers else None
        type_ = rest[0]
        for other in rest[1:]:
            both = join(type_, other)
            if both is None:
                raise Misfit("head types")
            type_ = both
        if integers and not is_integer(type_):
            raise Misfit("head types")
        return type_

    def _head_predicate(self, place: Place, wanted: tuple[str | None, ...]) -> Predicate:
        world, rng = self.world, self.rng
        taken = {predicate.name for predicate in self.chosen.values()}
        signed = any("-" in atom.sign for _, atom in place.atoms)
        old = [
            predicate
            for predicate in (world.open if signed else world.derived)
            if predicate.arity == len(wanted)
            and predicate.name not in taken
            and all(w is None or join(w, t) for w, t in zip(wanted, predicate.args, strict=True))
        ]
        again = 0.75 if signed else 0.5 if place.bodies else 0.25
        if old and rng.random() < again:
            return rng.choice(old)
        fresh = (world.choices_for if place.decided else world.new_derived)(wanted, rng)
        fresh = [predicate for predicate in fresh if predicate.name not in taken]
        if not fresh:
            raise Misfit("no name for the head")
        return rng.choice(fresh[:6] if place.decided else fresh)

    # --- the result ---

    def _definitions(self) -> list[Statement]:
        return [Define(name, value) for name, value in self.result.constants.items()]

    def _instantiate(self, number: int) -> Statement:
        """The statement with predicates, constants and names of variables."""
        world = self.world
        statement = self.template[number]
        types = self.types[number]
        if any(
            sum(isinstance(node, Op) and node.op == ".." for node in nodes(atom)) > 1
            for atom in atoms(statement)
        ):
            raise Misfit("two intervals in an atom")
        for place in self._places():
            predicate = self.chosen[place.key]
            if not place.defined and not world.knows(predicate) and predicate not in self.result.facts:
                self.result.facts.append(predicate)
        for atom in head_atoms(statement)[0]:
            predicate = self.chosen[atom.key]
            entry = (predicate, head_atoms(statement)[1])
            if not world.knows(predicate) and predicate not in [p for p, _ in self.result.defined]:
                self.result.defined.append(entry)
        names = self._names(statement, types)
        statement = Constants(self.world, self.rng, self.chosen, types, self.result.constants).fill(statement)
        self.result.types.append({names[name]: type_ for name, type_ in types.items() if name in names})

        def change(node):
            if isinstance(node, Var) and node.name in names:
                return Var(names[node.name])
            if isinstance(node, Atom):
                return replace(node, name=self.chosen[node.key].name)
            if isinstance(node, Show) and isinstance(node.term, Func) and node.term.name:
                key = (node.term.name, len(node.term.args))
                name = self.chosen[key].name if key in self.chosen else self.rng.choice(_SHOWN)
                return replace(node, term=replace(node.term, name=name))
            return node

        return rewrite(statement, change)

    def _names(self, statement: Statement, types: dict[str, str]) -> dict[str, str]:
        """A name for each variable, after its type."""
        names: dict[str, str] = {}
        for name in dict.fromkeys(variables(statement)):
            type_ = types[name]
            letters = {TIME: "TUVW", COLUMN: "XACV", ROW: "YBDW"}.get(
                type_, "NMKQSR" if is_integer(type_) else None
            )
            if letters is None:
                first = type_[0].upper()
                alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                after = alphabet[alphabet.index(first) :] + alphabet
                letters = "".join(letter for letter in after if letter not in "NTXY" or letter == first)
            taken = set(names.values())
            names[name] = next(
                (letter for letter in letters if letter not in taken), f"{letters[0]}{len(names)}"
            )
        return names
