"""The world of one generated problem: its predicates so far, its constants and its instances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import permutations, product
from random import Random

from scripts.data.generator.domains import COLUMN, NUMBER, ROW, TIME, Domain, Predicate, is_integer, join

TIMES = 3
_ABOUT_ONE = {
    "noted": "{0} [be] noted",
    "selected": "{0} [be] selected",
    "unusual": "{0} [be] unusual",
    "preferred": "{0} [be] preferred",
    "suspicious": "{0} [be] suspicious",
    "relevant": "{0} [be] relevant",
    "ruled_out": "{0} [be] ruled out",
    "special": "{0} [be] special",
}
_ABOUT_TWO = {
    "matches": "{0} [match] {1}",
    "affects": "{0} [affect] {1}",
    "concerns": "{0} [concern] {1}",
    "depends": "{0} [depend] on {1}",
    "tied": "{0} [be] tied to {1}",
    "related": "{0} [be] related to {1}",
    "precedes": "{0} [precede] {1}",
    "favours": "{0} [favour] {1}",
    "conflicts": "{0} [conflict] with {1}",
    "belongs": "{0} [belong] to {1}",
}
_ABOUT_MANY = ("feasible", "risky", "wanted", "known", "odd", "valid", "planned", "rare")
_FIGURES = ("values", "figures", "scores", "marks")
_SCORES = ("score", "rank", "weight", "rating", "grade", "strength")
_SITUATIONS = (
    ("alarm", "there [be] an alarm"),
    ("ready", "the plan [be] ready"),
    ("trouble", "there [be] trouble"),
)


class World:
    """The predicates that rules may use, and the facts of each instance.

    Facts of a predicate are drawn when a rule first needs it, from a stream of their own, so that they do not
    depend on what was tried before.

    Attributes:
        domain: The domain.
        facts: The predicates that the instances give.
        decided: The predicates that choices decide.
        derived: The predicates that rules define.
        strong: The names of predicates that a rule derives with strong negation.
        only_strong: Those of them that nothing derives without it.
        constants: The value of each `#const`.
        used: How often rules have used each predicate.
        instances: For each instance the rows of each predicate.
    """

    def __init__(self, domain: Domain, rng: Random, instances: int):
        self.domain = domain
        self.seed = rng.random()
        self.facts: list[Predicate] = []
        self.decided: list[Predicate] = []
        self.derived: list[Predicate] = []
        self.strong: set[str] = set()
        self.only_strong: set[str] = set()
        self.constants: dict[str, int] = {}
        self.used: Counter[str] = Counter()
        self.most_facts = rng.randint(7, 11)
        self.sizes = [
            {thing: rng.randint(2, 3) for thing in domain.things} | {COLUMN: rng.randint(2, 3), ROW: 2}
            for _ in range(instances)
        ]
        self.things = [
            {thing: sorted(rng.sample(names[:4], sizes[thing])) for thing, names in domain.things.items()}
            for sizes in self.sizes
        ]
        self.density = rng.uniform(0.35, 0.6)
        self.instances: list[dict[str, list[tuple[str, ...]]]] = [{} for _ in range(instances)]

    # --- what there is ---

    @property
    def known(self) -> list[Predicate]:
        """All predicates that a body may use."""
        return [*self.facts, *self.decided, *self.derived]

    @property
    def open(self) -> list[Predicate]:
        """The predicates that differ between answer sets, or that rules define."""
        return [*self.decided, *self.derived]

    def named(self, name: str) -> Predicate | None:
        """The predicate of this name."""
        return next((predicate for predicate in self.known if predicate.name == name), None)

    def knows(self, predicate: Predicate) -> bool:
        """Whether the world has a predicate of this name."""
        return self.named(predicate.name) is not None

    # --- what there may be ---

    def new_facts(self, arity: int, rng: Random) -> list[Predicate]:
        """Predicates with so many arguments that the instances could give."""
        domain = self.domain
        types = [domain.type_predicate(thing) for thing in domain.things] + [domain.type_predicate(TIME)]
        if domain.cell:
            types.append(domain.type_predicate(domain.cell))
        found = [predicate for predicate in (*types, *domain.facts) if predicate.arity == arity]
        for predicate in domain.facts:
            if predicate.arity == arity - 1 and predicate.varies:
                found.append(self._timed(predicate))
        if len(found) < 2 and arity >= 3:
            things = [rng.choice(list(domain.things)) for _ in range(arity - 1)]
            rest = rng.choice((rng.choice(list(domain.things)), NUMBER))
            found.append(_listed((*things, rest)))
        return [
            predicate for predicate in found if not self.knows(predicate) and not self._clashes(predicate)
        ]

    def new_choices(self, arity: int) -> list[Predicate]:
        """Predicates with so many arguments that a solution could decide."""
        return self._extended(self.domain.choices, arity, self.domain.measure)

    def new_derived(self, types: tuple[str | None, ...], rng: Random) -> list[Predicate]:
        """Predicates for arguments of these types (None: any) that rules could define."""
        arity = len(types)
        if arity == 0:
            return self._fresh(Predicate(name, (), text) for name, text in _SITUATIONS)
        found = [
            ordered
            for predicate in self._extended(self.domain.derived, arity, self._measure(types))
            if (ordered := _ordered(predicate, types)) is not None
        ]
        if found and rng.random() < 0.97:
            return found
        if None in types:
            return []
        return self._fresh(_general(types, self.domain))

    def choices_for(self, types: tuple[str | None, ...], rng: Random) -> list[Predicate]:
        """Predicates for arguments of these types that a solution could decide."""
        found = [
            ordered
            for predicate in self._extended(self.domain.choices, len(types), self._measure(types))
            if (ordered := _ordered(predicate, types)) is not None
        ]
        return found or self.new_derived(types, rng)

    def _extended(self, predicates: tuple[Predicate, ...], arity: int, measure: str) -> list[Predicate]:
        """Those of `predicates` with so many arguments, some with a time or a number added."""
        found = []
        for predicate in predicates:
            variants = [predicate]
            if not any(map(is_integer, predicate.args)):
                measured = predicate.with_argument(NUMBER, measure)
                variants += [self._timed(predicate), measured, self._timed(measured)]
            elif TIME not in predicate.args:
                variants += [self._timed(predicate)]
            found += [variant for variant in variants if variant.arity == arity]
        return self._fresh(found)

    def _fresh(self, predicates: Iterator[Predicate] | list[Predicate]) -> list[Predicate]:
        return [one for one in predicates if not self.knows(one) and not self._clashes(one)]

    def _clashes(self, predicate: Predicate) -> bool:
        return predicate.name in self.constants

    def _measure(self, types: tuple[str | None, ...]) -> str:
        """The words for a number of a derived predicate: its unit, or those of the domain."""
        unit = next((type_ for type_ in types if type_ and type_.startswith(f"{NUMBER}:")), None)
        return "with value #" if unit else self.domain.measure

    def _timed(self, predicate: Predicate) -> Predicate:
        preposition = " ".join(self.domain.time.split()[:-1])
        return predicate.with_argument(TIME, f"{preposition} #")

    # --- facts ---

    def add_facts(self, predicate: Predicate) -> None:
        """Give a predicate facts in every instance."""
        self.facts.append(predicate)
        for number, instance in enumerate(self.instances):
            rng = Random(f"{self.seed} {predicate.name} {number}")
            instance[predicate.name] = self._rows(predicate, number, rng)

    def remove_facts(self, predicate: Predicate) -> None:
        """Take a predicate back."""
        self.facts.remove(predicate)
        for instance in self.instances:
            del instance[predicate.name]

    def keep_used(self, names: set[str]) -> None:
        """Take back the facts of all predicates but those of these names."""
        for predicate in [predicate for predicate in self.facts if predicate.name not in names]:
            self.remove_facts(predicate)

    def values(self, type_: str, number: int, bounds: tuple[int, int] = (1, 5)) -> list[str]:
        """The values of a type in an instance."""
        if type_ in self.domain.things:
            return self.things[number][type_]
        low, high = {TIME: (1, TIMES), COLUMN: (1, self.sizes[number][COLUMN]), ROW: (1, 2)}.get(
            type_, bounds
        )
        return [str(value) for value in range(low, high + 1)]

    def _rows(self, predicate: Predicate, number: int, rng: Random) -> list[tuple[str, ...]]:
        if predicate.text.startswith("there [be]"):
            return (
                [("1..3",)]
                if predicate.args == (TIME,)
                else list(product(*(self.values(t, number) for t in predicate.args)))
            )
        plain = [n for n, type_ in enumerate(predicate.args) if not type_.startswith(NUMBER)]
        rows = list(product(*(self.values(predicate.args[n], number) for n in plain)))
        if len(plain) > 1:
            rows = [row for row in rows if len(set(row)) == len(row)]
        if predicate.args[:4] == (COLUMN, ROW, COLUMN, ROW):
            rows = [r for r in rows if abs(int(r[0]) - int(r[2])) + abs(int(r[1]) - int(r[3])) == 1]
        share = (
            1.0
            if predicate.attribute
            else self.density
            if len(rows) < 12
            else min(self.density, 7 / len(rows))
        )
        chosen = [row for row in rows if rng.random() < share] or rows[:1]
        if share < 1 and len(chosen) == len(rows) > 1:
            chosen.remove(rng.choice(chosen))
        return [self._with_numbers(predicate, plain, row, rng) for row in chosen]

    @staticmethod
    def _with_numbers(
        predicate: Predicate, plain: list[int], row: tuple[str, ...], rng: Random
    ) -> tuple[str, ...]:
        low, high = predicate.values
        values = dict(zip(plain, row, strict=True))
        return tuple(
            values.get(n) or str(rng.randint(low, min(high, low + 4))) for n in range(predicate.arity)
        )

    def code(self, number: int) -> str:
        """The facts of an instance as a program."""
        lines = [
            " ".join(f"{name}({','.join(row)})." for row in rows)
            for name, rows in self.instances[number].items()
            if rows
        ]
        return "\n".join(lines) + "\n"


def _general(types: tuple[str, ...], domain: Domain) -> list[Predicate]:
    """Predicates about any arguments. One point in time and one number have words of their own."""
    slots, time, number = _slots(types)
    if types.count(TIME) > 1:
        if set(types) != {TIME}:
            return []
        slots, time = [f"{{{n}}}" for n in range(len(types))], None
    if not slots and time is not None and number is not None:
        slots, time = [f"{{{time}}}"], None
    elif not slots:
        slots = [f"the number {{{n}}}" if type_ != TIME else f"{{{n}}}" for n, type_ in enumerate(types)]
        time = number = None
    if (
        len(slots) == 2
        and number is not None
        and sum(map(is_integer, types)) - (time is not None) == 2
        and "," not in "".join(slots)
    ):
        thing = next((n for n, type_ in enumerate(types) if not is_integer(type_)), None)
        if thing is not None:
            values = [n for n, type_ in enumerate(types) if type_.startswith(NUMBER)]
            texts = f"{{{thing}}} [have] the values {{{values[0]}}} and {{{values[1]}}}"
            ending = f" {' '.join(domain.time.split()[:-1])} {{{time}}}" if time is not None else ""
            return [Predicate(name, types, texts.replace("values", name) + ending) for name in _FIGURES]
    if len(slots) == 1 and number is not None:
        phrases = {name: f"the {name} of {slots[0]} [be] {{{number}}}" for name in _SCORES}
        number = None
    elif len(slots) <= 2:
        table = _ABOUT_ONE if len(slots) == 1 else _ABOUT_TWO
        phrases = {
            name: text.replace("{1}", "<>").replace("{0}", slots[0]).replace("<>", slots[-1])
            for name, text in table.items()
        }
    else:
        combination = f"the combination of {', '.join(slots[:-1])} and {slots[-1]}"
        phrases = {name: f"{combination} [be] {name}" for name in _ABOUT_MANY}
    ending = f" {domain.measure.replace('#', f'{{{number}}}')}" if number is not None else ""
    ending += f" {' '.join(domain.time.split()[:-1])} {{{time}}}" if time is not None else ""
    return [Predicate(name, types, text + ending) for name, text in phrases.items()]


def _slots(types: tuple[str, ...]) -> tuple[list[str], int | None, int | None]:
    """The places of things as text, and the places of a time and of a number that are said apart."""
    slots: list[str] = []
    times = [n for n, type_ in enumerate(types) if type_ == TIME]
    numbers = [n for n, type_ in enumerate(types) if type_.startswith(NUMBER)]
    time = times[-1] if times else None
    number = numbers[-1] if numbers else None
    for n, type_ in enumerate(types):
        if n in (time, number) or type_ == ROW:
            continue
        slots.append(f"{{{n},{n + 1}}}" if type_ == COLUMN else f"{{{n}}}")
    return slots, time, number


def _listed(types: tuple[str, ...]) -> Predicate:
    """A predicate of a list of combinations, the last one perhaps with a number."""
    slots, _, number = _slots(types)
    ending = f" with value {{{number}}}" if number is not None else ""
    return Predicate(
        "listed", types, f"the combination of {', '.join(slots[:-1])} and {slots[-1]} [be] listed{ending}"
    )


def _ordered(predicate: Predicate, types: tuple[str | None, ...]) -> Predicate | None:
    """`predicate` with its arguments in an order that fits `types`, or None if none does."""
    for order in permutations(range(predicate.arity)):
        pairs = [(types[place], type_) for place, type_ in zip(order, predicate.args, strict=True)]
        if all(wanted is None or join(wanted, type_) for wanted, type_ in pairs) and _cells_whole(
            predicate, order
        ):
            return predicate if order == tuple(range(len(order))) else predicate.moved(order)
    return None


def _cells_whole(predicate: Predicate, order: tuple[int, ...]) -> bool:
    """Whether each column still stands directly before its row."""
    return all(order[n + 1] == order[n] + 1 for n, type_ in enumerate(predicate.args) if type_ == COLUMN)
