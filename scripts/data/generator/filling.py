"""Filling templates: placeholders become predicates of a world, such that every variable has one type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from scripts.data.generator.domains import COLUMN, NUMBER, ROW, TIME, Predicate, is_integer, join
from scripts.data.generator.rules import (
    Abs,
    Aggregate,
    Atom,
    Compare,
    Const,
    Cost,
    Define,
    Element,
    Func,
    Op,
    Pool,
    Rule,
    Show,
    Statement,
    Term,
    Var,
    atoms,
    nodes,
    rewrite,
    variables,
)
from scripts.data.generator.world import TIMES, World

TRIES = 60  # predicates that are tried for one template, at most
_LIMITS = ("limit", "budget", "bound", "quota", "allowance", "ceiling")
_TIMES = ("last", "horizon", "final")
_SHOWN = ("result", "answer", "chosen", "report", "entry", "note", "record", "line")


class Misfit(Exception):
    """A template does not fit the world."""


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
            if predicate.arity != arity or predicate.name in taken or signed and predicate.name not in world.strong:
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
            self._unify_term(number, term, type_)
            for number, atom in place.atoms
            for term, type_ in zip(atom.args, predicate.args, strict=True)
        )

    def _unify_term(self, number: int, term: Term, type_: str) -> bool:
        if isinstance(term, Var):
            if term.name == "_":
                return True
            known = self.types[number].get(term.name)
            both = type_ if known is None else join(known, type_)
            if both is None:
                return False
            self.types[number][term.name] = both
            return True
        if isinstance(term, Const):
            return is_integer(type_) if term.is_number else type_ not in (COLUMN, ROW)
        if isinstance(term, Pool):
            return all(self._unify_term(number, one, type_) for one in term.terms)
        if isinstance(term, Op):
            if not is_integer(type_):
                return False
            if term.op in ("+", "-", ".."):
                return self._unify_term(number, term.left, type_) and self._unify_term(number, term.right, NUMBER if isinstance(term.right, Var) and type_.startswith(NUMBER) else type_)
            return all(self.types[number].setdefault(name, NUMBER).startswith(NUMBER) for name in variables(term))
        if isinstance(term, Abs):
            return is_integer(type_)
        return False

    # --- types ---

    def _types_agree(self, partly: bool = False) -> bool:
        """Whether comparisons, aggregates and weights fit the types; with `partly`, as far as these are known."""
        for number, statement in enumerate(self.template):
            try:
                for _ in range(2):
                    self._check(number, statement)
            except Misfit:
                return False
            if not partly and not self._complete(number, statement):
                return False
        return True

    def _complete(self, number: int, statement: Statement) -> bool:
        types = self.types[number]
        for node in nodes(statement):  # an interval or an arithmetic assignment gives a variable its type
            if isinstance(node, Compare) and node.ops == ("=",) and isinstance(node.terms[0], Var):
                name = node.terms[0].name
                if name not in types and isinstance(node.terms[1], Op | Abs | Pool):
                    types[name] = self._interval_type(node.terms[1])
        heads, _ = head_atoms(statement)
        needed = set(variables(statement))
        return needed <= types.keys()

    def _interval_type(self, term: Term) -> str:
        timed = any(TIME in predicate.args for predicate in self.world.known)
        return TIME if isinstance(term, Op) and term.op == ".." and timed else NUMBER

    def _check(self, number: int, statement: Statement) -> None:
        types = self.types[number]
        for node in nodes(statement):
            if isinstance(node, Compare):
                self._check_compare(node, types)
            elif isinstance(node, Aggregate):
                self._check_aggregate(node, types)
            elif isinstance(node, Op):
                if node.op in ("*", "/", "\\", "**") and any(types.get(name, NUMBER) in (COLUMN, ROW, TIME) for name in variables(node)):
                    raise Misfit("a product of times")
                for name in (t.name for t in (node.left, node.right) if isinstance(t, Var)):
                    if name in types and not is_integer(types[name]):
                        raise Misfit("arithmetic")
                self._type(node, types)
        if isinstance(statement, Cost):
            for element in statement.elements:
                for name in variables(element.weight):
                    if name in types and not types[name].startswith(NUMBER):
                        raise Misfit("weight")

    def _check_compare(self, node: Compare, types: dict[str, str]) -> None:
        if any(isinstance(term, Pool) and variables(term) for term in node.terms):
            raise Misfit("a pool of variables")
        if len(node.ops) > 1 and any(not is_integer(types.get(name, NUMBER)) for name in variables(node)):
            raise Misfit("a chain of things")
        for left, right, op in zip(node.terms, node.terms[1:], node.ops, strict=False):
            pairs = [(left, right)]
            if isinstance(left, Func) or isinstance(right, Func):
                if not (isinstance(left, Func) and isinstance(right, Func) and len(left.args) == len(right.args)):
                    raise Misfit("a tuple")
                pairs = list(zip(left.args, right.args, strict=True))
            for one, other in pairs:
                first, second = self._type(one, types), self._type(other, types)
                both = self._both(first, second)
                ordered = op not in ("=", "!=")
                if both not in (None, "const", "integer") and not is_integer(both):
                    if ordered and op not in ("<", ">"):
                        raise Misfit("an order of things")
                    if ordered and not (isinstance(one, Var) and isinstance(other, Var)):
                        raise Misfit("an order of things")
                if op in ("=", "!=") or both is not None:
                    self._give(one, both, types)
                    self._give(other, both, types)

    def _give(self, term: Term, type_: str | None, types: dict[str, str]) -> None:
        if isinstance(term, Var) and type_ not in (None, "const", "integer") and term.name != "_":
            types[term.name] = type_

    def _both(self, first: str | None, second: str | None) -> str | None:
        if first is None or second is None:
            known = first or second
            return None if known in ("const", "integer") else known
        if "integer" in (first, second):
            other = second if first == "integer" else first
            if other not in ("integer", "const") and not is_integer(other):
                raise Misfit("a number")
            return None if other in ("integer", "const") else other
        if "const" in (first, second):
            other = second if first == "const" else first
            if other == "const":
                raise Misfit("two constants")
            return other
        both = join(first, second)
        if both is None:
            raise Misfit("two types")
        return both

    def _type(self, term: Term, types: dict[str, str]) -> str | None:
        """The type of a term, or None; `const` for a constant of any type, `integer` for a number."""
        if isinstance(term, Var):
            return types.get(term.name)
        if isinstance(term, Const):
            return "integer" if term.is_number else "const"
        if isinstance(term, Abs):
            self._type(term.term, types)
            return NUMBER
        if isinstance(term, Op):
            if term.op in ("+", "-", ".."):
                parts = [self._type(one, types) for one in (term.left, term.right)]
                parts = ["integer" if part in (None, "const") else part for part in parts]
                return self._both(*parts) or "integer"
            return NUMBER
        return None

    def _check_aggregate(self, node: Aggregate, types: dict[str, str]) -> None:
        result = NUMBER
        if node.function in ("#min", "#max", "#sum", "#sum+"):
            for element in node.elements:
                first = self._type(element.terms[0], types) if element.terms else None
                if first and first not in ("const", "integer"):
                    if not is_integer(first) or node.function.startswith("#sum") and not first.startswith(NUMBER):
                        raise Misfit("values")
                    result = first
        for guard in (node.left, node.right):
            if guard:
                known = self._type(guard[1], types)
                if known in ("const", "integer"):
                    continue
                if known and join(known, result) is None:
                    raise Misfit("guard")
                self._give(guard[1], known or result, types)

    # --- heads ---

    def _define(self, place: Place) -> None:
        """Choose a predicate for a placeholder of a head."""
        wanted: list[str | None] = []
        for position in range(place.key[1]):
            found: set[str] = set()
            for number, atom in place.atoms:
                term = atom.args[position]
                type_ = self._type(term, self.types[number])
                if type_ and type_ not in ("const", "integer"):
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
        if any(sum(isinstance(node, Op) and node.op == ".." for node in nodes(atom)) > 1 for atom in atoms(statement)):
            raise Misfit("two intervals in an atom")
        for predicate in self.chosen.values():
            if not world.knows(predicate) and predicate not in self.result.facts:
                if any(self.chosen[place.key] == predicate for place in self._places() if not place.defined):
                    self.result.facts.append(predicate)
        for atom in head_atoms(statement)[0]:
            predicate = self.chosen[atom.key]
            entry = (predicate, head_atoms(statement)[1])
            if not world.knows(predicate) and predicate not in [p for p, _ in self.result.defined]:
                self.result.defined.append(entry)
        names = self._names(statement, types)
        statement = _Constants(self, types).fill(statement)
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
            letters = {TIME: "TUVW", COLUMN: "XACV", ROW: "YBDW"}.get(type_, "NMKQSR" if is_integer(type_) else None)
            if letters is None:
                first = type_[0].upper()
                alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                after = alphabet[alphabet.index(first) :] + alphabet
                letters = "".join(letter for letter in after if letter not in "NTXY" or letter == first)
            taken = set(names.values())
            names[name] = next((letter for letter in letters if letter not in taken), f"{letters[0]}{len(names)}")
        return names


class _Constants:
    """Gives the constants and numbers of a statement their values."""

    def __init__(self, filling: Filling, types: dict[str, str]):
        self.filling, self.types = filling, types
        self.world, self.rng = filling.world, filling.rng
        self.named: dict[tuple[str, str], Const] = {}

    def fill(self, statement: Statement) -> Statement:
        """The statement with its constants."""
        return rewrite(statement, self._node)

    def _node(self, node):
        if isinstance(node, Atom):
            types = self.filling.chosen[node.key].args
            args = tuple(self._argument(term, type_) for term, type_ in zip(node.args, types, strict=True))
            return replace(node, args=args)
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, Aggregate):
            guards = [
                guard and (guard[0], self._guard(guard[1], node)) for guard in (node.left, node.right)
            ]
            return replace(node, left=guards[0], right=guards[1])
        if isinstance(node, Rule) or isinstance(node, Element):
            return node
        if isinstance(node, Cost):
            elements = tuple(
                replace(one, weight=self._inner(one.weight, NUMBER), level=one.level and self._level(one.level), terms=tuple(self._inner(term, NUMBER) for term in one.terms))
                for one in node.elements
            )
            return replace(node, elements=elements)
        return node

    @staticmethod
    def _level(level: Term) -> Term:
        if not isinstance(level, Const) or not level.is_number:
            raise Misfit("level")
        return level

    def _argument(self, term: Term, type_: str) -> Term:
        if isinstance(term, Const):
            if not is_integer(type_):
                return self._symbol(term, type_)
            if not term.is_number:
                return self._limit(term, type_)
            return Const(self._value(term.value, type_))
        if isinstance(term, Pool):
            values = [self._argument(one, type_) for one in term.terms]
            if len({value.code() for value in values}) < len(values):
                values = [Const(value) for value in self.world.values(type_, 0)[: len(values)]]
            return Pool(tuple(values))
        return self._inner(term, type_)

    def _inner(self, term: Term, type_: str) -> Term:
        """A term of arithmetic: the names in it become constants of the program."""

        def change(node):
            return self._limit(node, type_) if isinstance(node, Const) and not node.is_number else node

        return rewrite(term, change)

    def _symbol(self, term: Const, type_: str) -> Const:
        key = (term.value, type_)
        if key not in self.named:
            taken = {value for (_, kind), value in self.named.items() if kind == type_}
            values = [Const(value) for value in self.world.values(type_, 0)]
            free = [value for value in values if value not in taken]
            if not free:
                raise Misfit("no constant is left")
            self.named[key] = self.rng.choice(free)
        return self.named[key]

    def _limit(self, term: Const, type_: str) -> Const:
        """The name of a `#const`, an old one or a new one."""
        key = (term.value, "time" if type_ == TIME else "number")
        if key in self.named:
            return self.named[key]
        pool = _TIMES if type_ == TIME else _LIMITS
        known = [name for name in (*self.world.constants, *self.filling.result.constants) if name in pool]
        known = [name for name in known if Const(name) not in self.named.values()]
        if known and (type_ == TIME or self.rng.random() < 0.6):
            name = self.rng.choice(known)
        else:
            free = [n for n in pool if n not in known and not self.world.named(n)]
            if not free or len(self.world.constants) + len(self.filling.result.constants) >= 3:
                raise Misfit("too many constants")
            name = self.rng.choice(free)
            self.filling.result.constants[name] = TIMES if type_ == TIME else self.rng.randint(2, 4)
        self.named[key] = Const(name)
        return self.named[key]

    def _value(self, value: str, type_: str) -> str:
        """A number in place of that of the template."""
        if type_ == TIME:
            return value if value in ("0", "1") else str(self.rng.randint(1, TIMES))
        if type_ in (COLUMN, ROW):
            return str(self.rng.randint(1, 2))
        if value == "0" or self.rng.random() < 0.3:
            return value
        return str(self.rng.randint(1, 4))

    def _compare(self, node: Compare) -> Compare:
        found = [self.filling._type(term, self.types) for term in node.terms]
        type_ = next((one for one in found if one and one not in ("const", "integer")), NUMBER)
        simple = any(isinstance(term, Var) for term in node.terms)
        terms = []
        for term in node.terms:
            if isinstance(term, Const) and term.is_number and simple and len(node.terms) == 2:
                values = self._known_values(type_)
                terms.append(Const(self.rng.choice(values)))
            elif isinstance(term, Const) and not term.is_number and not is_integer(type_):
                terms.append(self._symbol(term, type_))
            elif isinstance(term, Pool):
                terms.append(Pool(tuple(self._argument(one, type_) for one in term.terms)))
            else:
                terms.append(self._inner(term, type_))
        return replace(node, terms=tuple(terms))

    def _known_values(self, type_: str) -> list[str]:
        """Numbers of a type that occur in the first instance, or small ones."""
        if type_ in (TIME, COLUMN, ROW):
            return ["1", "2"]
        values = [
            row[position]
            for predicate in self.world.facts
            for position, one in enumerate(predicate.args)
            if one == type_ and type_ != NUMBER
            for row in self.world.instances[0][predicate.name]
        ]
        return sorted(set(values)) or ["1", "2", "3"]

    def _guard(self, term: Term, node: Aggregate) -> Term:
        if isinstance(term, Const) and term.is_number and node.function.startswith("#sum"):
            return Const(str(self.rng.randint(2, 8)))
        if isinstance(term, Const) and term.is_number and int(term.value) > 3:
            return Const(str(self.rng.randint(1, 3)))
        return self._inner(term, NUMBER)
