"""Compositions: rules put together from atoms, tests, aggregates and heads, with placeholders for predicates.

Each part of a rule is drawn by weight: how many atoms a body has and with how many arguments, how they are
joined, what is compared, negated, counted and added, and what the head says. The names of variables say
nothing; filling gives them types. A part of the draws are idioms.
"""

from __future__ import annotations

from random import Random
from typing import Any

from scripts.data.generator.idioms import draw_idiom, hide_single

IDIOMS = 0.45  # the share of idioms
ARITIES = {1: 24, 2: 44, 3: 22, 4: 8, 5: 2}
WIDE_ARITIES = {1: 20, 2: 34, 3: 32, 4: 12, 5: 2}
OPERATORS = {"<": 28, "!=": 26, ">": 14, "<=": 12, ">=": 14, "=": 6}
CHOICE_BOUNDS = {
    "{{ {0} }} = 1": 20,
    "1 {{ {0} }} 1": 22,
    "{{ {0} }} 1": 22,
    "1 {{ {0} }}": 12,
    "1 {{ {0} }} 2": 12,
    "{{ {0} }} limit": 7,
    "{{ {0} }} = limit": 4,
    "2 {{ {0} }}": 2,
}
AGGREGATES = {"#count": 52, "#sum": 28, "#min": 9, "#max": 9, "#sum+": 2}
_LETTERS = [chr(code) for code in range(ord("A"), ord("Z") + 1)]


def compose(rng: Random) -> str:
    """Draw one template: a statement a line, with placeholders for predicates."""
    if rng.random() < IDIOMS:
        return draw_idiom(rng)
    try:
        return _Composer(rng).compose()
    except StopIteration:  # more variables than letters
        return compose(rng)


class _Composer:
    """Draws one template.

    Attributes:
        bound: The variables that positive atoms bind, in their order.
        letters: The next names of variables.
        names: The next placeholders.
        last: The arguments of the last atom, before some became constants.
    """

    def __init__(self, rng: Random):
        self.rng = rng
        self.bound: list[str] = []
        self.letters = iter(_LETTERS)
        self.names = iter(f"q{n}" for n in range(99))
        self.last: list[str] = []

    def pick(self, weights: dict[Any, float]) -> Any:
        """A key of `weights`, drawn by its weight."""
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def compose(self) -> str:
        """A statement."""
        kinds = {
            self.definition: 30,
            self.constraint: 17,
            self.choice: 13,
            self.measured: 11,
            self.bounded: 9,
            self.cost: 8,
            self.disjunction: 3,
            self.implied: 3,
            self.head_aggregate: 3,
            self.complement: 4,
            self.universal: 6,
            self.output: 3,
        }
        return self.pick(kinds)()

    # --- atoms and joins ---

    def variable(self) -> str:
        """A new variable that an atom binds."""
        name = next(self.letters)
        self.bound.append(name)
        return name

    def atom(self, arity: int, shared: int = 0) -> str:
        """A positive atom with `shared` variables that are bound already."""
        old = self.old(min(shared, arity))
        places = set(self.places(arity, len(old)))
        shared_args = iter(old)
        args = [next(shared_args) if n in places else self.variable() for n in range(arity)]
        self.last = list(args)
        sign = ""
        if shared or arity > 1:
            args = self.special(args, places)
            sign = "-" if self.chance(0.02) else ""
        return f"{sign}{next(self.names)}({','.join(args)})"

    def special(self, args: list[str], places: set[int]) -> list[str]:
        """Arguments of which one is now and then a constant, a number or a shifted variable."""
        draw = self.rng.random()
        free = [n for n in range(len(args)) if n not in places]
        if draw < 0.06 and free and len(args) > 1:
            position = free[-1] if self.chance(0.75) else self.rng.choice(free)
            if len(set(self.bound)) > 1:
                self.bound = [v for v in self.bound if v != args[position]]
                args[position] = self.pick({"name": 5, "1": 3})
        elif draw < 0.085 and places:
            position = self.rng.choice(sorted(places))
            args[position] += self.pick({"+1": 5, "-1": 5})
        return args

    def places(self, arity: int, number: int) -> list[int]:
        """Where the shared variables of an atom stand, most often at its beginning."""
        if self.chance(0.65):
            return list(range(number))
        return sorted(self.rng.sample(range(arity), number))

    def old(self, number: int) -> list[str]:
        """Some bound variables, in their order; the later ones are likelier."""
        pool = list(dict.fromkeys(self.bound))
        weighted = sorted(pool, key=lambda v: self.rng.random() ** (1 / (1 + pool.index(v))), reverse=True)
        chosen = weighted[:number]
        return [v for v in pool if v in chosen]

    def arity(self, least: int = 1) -> int:
        """The number of arguments of an atom."""
        weights = ARITIES if self.chance(0.85) else WIDE_ARITIES
        return self.pick({n: w for n, w in weights.items() if n >= least})

    def join(self, size: int, least: int = 1) -> list[str]:
        """Positive atoms, each joined to those before it."""
        found = []
        for n in range(size):
            if n and self.chance(0.13) and len(self.last) > 1:
                found.append(self.twin(found[-1]))
                continue
            arity = self.arity(least if n == 0 else 1)
            found.append(self.atom(arity, self.pick({1: 78, 2: 22 if arity > 1 else 0}) if n else 0))
        return found

    def twin(self, atom: str) -> str:
        """The same predicate once more, for another thing: `p(A,C), p(B,C)`."""
        name, args = atom.partition("(")[0], list(self.last)
        keep = self.rng.choice([n for n in range(len(args))]) if len(args) > 1 else -1
        new = [
            arg if n == keep or len(args) > 2 and self.chance(0.25) else self.variable()
            for n, arg in enumerate(args)
        ]
        if new == args:
            new[0] = self.variable()
        return f"{name}({','.join(new)})"

    # --- tests ---

    def pair(self) -> tuple[str, str] | None:
        """Two bound variables, those that stand alone so far likelier."""
        pool = list(dict.fromkeys(self.bound))
        if len(pool) < 2:
            return None
        second = self.rng.choice(pool[max(1, len(pool) - 3) :])
        first = self.rng.choice([v for v in pool if v != second])
        return first, second

    def limit(self) -> str:
        return self.pick({"1": 62, "limit": 38})

    def test(self) -> str | None:
        """A comparison, or an atom that is negated by default or strongly."""
        kinds = {
            self.compare_two: 26,
            self.compare_limit: 22,
            self.negated: 38,
            self.offset: 5,
            self.chain: 4,
            self.strong: 8,
            self.distance: 2,
            self.either: 2,
            self.named: 5,
        }
        return self.pick(kinds)()

    def compare_two(self) -> str | None:
        pair = self.pair()
        return pair and f"{pair[0]} {self.pick(OPERATORS)} {pair[1]}"

    def compare_limit(self) -> str:
        return f"{self.rng.choice(self.bound[-2:])} {self.pick(OPERATORS)} {self.limit()}"

    def named(self) -> str:
        return f"{self.rng.choice(self.bound[-2:])} {self.pick({'!=': 7, '=': 3})} name"

    def offset(self) -> str | None:
        pair = self.pair()
        if pair is None:
            return None
        right = self.pick({f"{pair[1]}+1": 4, f"{pair[1]}-1": 2, f"{pair[1]}+limit": 1, f"2*{pair[1]}": 1})
        left = self.pick({pair[0]: 3, f"{pair[0]}+{pair[1]}": 1})
        return f"{left} {self.pick(OPERATORS)} {right if left == pair[0] else self.limit()}"

    def chain(self) -> str:
        pool = list(dict.fromkeys(self.bound))
        if len(pool) >= 3 and self.chance(0.5):
            middle, low, high = pool[-3:] if self.chance(0.6) else self.rng.sample(pool, 3)
            low += self.pick({"": 8, "-1": 1, "-2": 1})
        else:
            low, high, middle = self.pick({"1": 4, "0": 1}), self.pick({"3": 3, "limit": 1}), pool[-1]
        sign = "not " if self.chance(0.2) else ""
        return f"{sign}{low} {self.pick({'<=': 5, '<': 3})} {middle} {self.pick({'<=': 5, '<': 3})} {high}"

    def distance(self) -> str | None:
        """A comparison of the distance of two bound variables."""
        pair = self.pair()
        if pair is None:
            return None
        limit = self.pick({"1": 5, "limit": 2, f"{pair[0]}+1": 1})
        return f"|{pair[0]}-{pair[1]}| {self.pick(OPERATORS)} {limit}"

    def either(self) -> str:
        return f"{self.rng.choice(self.bound)} = (name;other)"

    def negated(self, sign: str = "not ") -> str:
        arity = self.pick({1: 42, 2: 44, 3: 14})
        args = self.old(arity) + ["_"] * max(0, arity - len(set(self.bound)))
        if arity > 1 and self.chance(0.14):
            args[-1] = self.pick({"_": 3, "name": 2, "1": 1})
        return f"{sign}{next(self.names)}({','.join(args)})"

    def strong(self) -> str:
        return self.negated(self.pick({"-": 3, "not -": 1}))

    def tests(self, weights: dict[int, float]) -> list[str]:
        found = [self.test() for _ in range(self.pick(weights))]
        found = [test for test in found if test]
        return sorted(found, key=lambda test: test.startswith("not") if self.chance(0.7) else 0.5)

    def body(self, sizes: dict[int, float] | None = None, tests: dict[int, float] | None = None) -> list[str]:
        """A body: joined atoms, then tests."""
        size = self.pick(sizes or {1: 34, 2: 42, 3: 19, 4: 5})
        tests = tests or {0: 44, 1: 42, 2: 14}
        if size == 1 and 1 in tests:
            tests = tests | {0: tests.get(0, 0) / 2}
        found = self.join(size, 2 if size == 1 and self.chance(0.8) else 1)
        found += self.tests(tests)
        if len(found) > 2 and self.chance(0.12):
            found.insert(self.rng.randint(1, len(found) - 2), found.pop())
        return found

    def head(self, arities: dict[int, float] | None = None) -> str:
        """An atom of bound variables."""
        pool = list(dict.fromkeys(self.bound))
        arity = min(self.pick(arities or {1: 46, 2: 34, 3: 15, 4: 5}), len(pool))
        first = self.chance(0.6)
        chosen = pool[:arity] if first else self.old(arity)
        if len(chosen) > 1 and self.chance(0.1):
            other = self.rng.choice([v for v in pool if v != chosen[-1]])
            chosen[-1] = self.pick(
                {
                    f"{chosen[-1]}+1": 3,
                    f"{chosen[-1]}-1": 1,
                    "0": 2,
                    "name": 3,
                    f"{chosen[-1]}+{other}": 3,
                    f"{chosen[-1]}-{other}": 3,
                    f"{chosen[-1]}*{other}": 2,
                    f"1..{chosen[-1]}": 1,
                    f"{other}..{chosen[-1]}": 1,
                }
            )
        elif len(chosen) > 1 and self.chance(0.03):
            chosen = chosen * 2 if len(chosen) == 2 and self.chance(0.5) else [chosen[0], *chosen]
        return f"{next(self.names)}({','.join(chosen)})"

    # --- statements ---

    def rule(self, head: str, body: list[str]) -> str:
        """The statement, with `_` for each variable that occurs once."""
        text = f"{head} :- {', '.join(body)}." if body else f"{head}."
        return hide_single(text.strip())

    def definition(self) -> str:
        body = self.body()
        if self.chance(0.05):
            body[0] = body[0].replace(f"{self.bound[0]}", self.pick({"1..3": 1, "name": 2}), 1)
            self.bound.pop(0) if len(self.bound) > 1 else None
        return self.rule(self.head(), body)

    def constraint(self) -> str:
        body = self.body({1: 16, 2: 48, 3: 28, 4: 8}, {0: 30, 1: 52, 2: 18})
        return self.rule("", body)

    def complement(self) -> str:
        """A strongly negated head, or a default in its favour."""
        body = self.body({1: 55, 2: 35, 3: 10}, {0: 45, 1: 45, 2: 10})
        head = self.head({1: 60, 2: 32, 3: 8})
        if self.chance(0.35):
            body.append(f"not -{head}")
        elif self.chance(0.8):
            extra = f"not {head}" if self.chance(0.3) else None
            head = f"-{head}"
            body += [extra] if extra else []
        return self.rule(head, body)

    def disjunction(self) -> str:
        body = self.body({1: 50, 2: 38, 3: 12}, {0: 60, 1: 32, 2: 8})
        shape = self.pick({"labels": 6, "values": 3, "order": 2})
        number = self.pick({2: 72, 3: 28})
        if shape == "labels":
            args = self.head().partition("(")[2]
            heads = [f"{next(self.names)}({args}" for _ in range(number)]
        elif shape == "values":
            name, first = next(self.names), self.rng.choice(self.bound)
            heads = [f"{name}({first},{value})" for value in ("name", "other", "third")[:number]]
        else:
            pair = self.pair()
            if pair is None:
                return self.disjunction()
            name = next(self.names)
            heads = [f"{name}({pair[0]},{pair[1]})", f"{name}({pair[1]},{pair[0]})"]
            heads += [f"{next(self.names)}({pair[0]},{pair[1]})"] if number == 3 else []
        return self.rule(" ; ".join(heads), body)

    def implied(self) -> str:
        """A comparison in the head."""
        body = self.body({1: 20, 2: 60, 3: 20}, {0: 65, 1: 30, 2: 5})
        test = self.pick({self.compare_two: 7, self.compare_limit: 3})()
        return self.rule(test, body) if test else self.constraint()

    # --- choices ---

    def choice(self) -> str:
        outer = self.pick({0: 22, 1: 62, 2: 13, 3: 3})
        body: list[str] = []
        if outer:
            body = self.join(outer) + self.tests({0: 76, 1: 21, 2: 3})
            if self.chance(0.12):
                body.append(self.moment())
        outside = list(dict.fromkeys(self.bound))
        conditions: list[str] = []
        if not outer or self.chance(0.84):
            conditions = [
                self.atom(self.pick({1: 54, 2: 32, 3: 10, 4: 4}), 1 if outside and self.chance(0.4) else 0)
            ]
            conditions += self.tests({0: 72, 1: 24, 2: 4})
        inside = [v for v in dict.fromkeys(self.bound) if v not in outside]
        args = outside[: self.pick({1: 70, 2: 25, 3: 5})] + inside[: self.pick({1: 78, 2: 22})]
        if outside and self.chance(0.3):
            args = inside[:1] + outside[: self.pick({1: 75, 2: 25})]
        element = f"{next(self.names)}({','.join(args or outside)})"
        if self.chance(0.05) and conditions:
            element += f" : {', '.join(conditions)}; {next(self.names)}({','.join(args)})"
        inner = f"{element} : {', '.join(conditions)}" if conditions else element
        return self.rule(self.bounds(inner, bool(conditions)), body)

    def bounds(self, inner: str, several: bool) -> str:
        """The braces of a choice with its bounds."""
        if not several or self.chance(0.24):
            return f"{{ {inner} }}"
        return self.pick(CHOICE_BOUNDS).format(inner)

    def moment(self) -> str:
        """A literal that binds a variable to points in time."""
        time = self.variable()
        return self.pick(
            {
                f"{time} = 1..last": 5,
                f"{next(self.names)}({time})": 6,
                f"{time} = 1..last-1": 1,
                f"{time} = 0..last-1": 1,
            }
        )

    def head_aggregate(self) -> str:
        body = self.pick({0: 20, 1: 66, 2: 14})
        outer = self.join(body)
        if body == 1 and self.chance(0.25):
            outer = [self.moment()]
        outside = list(dict.fromkeys(self.bound))
        conditions = [self.atom(self.pick({1: 40, 2: 44, 3: 16}), 0)]
        if self.chance(0.2):
            conditions.append(self.atom(self.arity(), 1))
        conditions += self.tests({0: 70, 1: 25, 2: 5})
        inside = [v for v in dict.fromkeys(self.bound) if v not in outside]
        function = self.pick({"#count": 62, "#sum": 38})
        chosen = inside[: self.pick({1: 70, 2: 30})]
        terms = chosen if function == "#count" else [inside[-1], *[v for v in inside[:1] if v != inside[-1]]]
        outer_args = outside[: self.pick({0: 25, 1: 62, 2: 13})]
        atom = f"{next(self.names)}({','.join([*outer_args, *inside[: self.pick({1: 65, 2: 35})]])})"
        inner = f"{function}{{ {','.join(terms)} : {atom} : {', '.join(conditions)} }}"
        guard = self.pick({"1": 50, "limit": 20, outside[-1] if outside else "2": 30})
        form = self.pick(
            {
                f"{inner} <= {guard}": 34,
                f"1 <= {inner} <= 2": 26,
                f"{inner} = {guard}": 22,
                f"{inner} >= 1": 10,
                f"{inner} < {guard}": 8,
            }
        )
        return self.rule(form, outer)

    # --- aggregates in bodies ---

    def aggregate(self, function: str = "") -> str:
        """An aggregate over things that share a variable with the rule, without its guard."""
        function = function or self.pick(AGGREGATES)
        outside = list(dict.fromkeys(self.bound))
        before = list(self.bound)
        arity = self.pick({1: 14, 2: 43, 3: 32, 4: 11})
        first = self.atom(arity, 1 if outside and self.chance(0.82) else 0)
        conditions = [first]
        if self.chance(0.8 if arity == 1 else 0.36):
            conditions.append(self.atom(self.pick({1: 40, 2: 46, 3: 14}), 1))
        if self.chance(0.07):
            conditions.append(self.atom(self.pick({1: 50, 2: 50}), 1))
        inside = [v for v in dict.fromkeys(self.bound) if v not in outside]
        if self.chance(0.2) and inside:
            conditions.append(self.test() or first)
        terms = ",".join(self.tuple_of(function, inside or outside))
        self.bound = before
        element = f"{terms} : {', '.join(dict.fromkeys(conditions))}"
        if function == "#sum" and self.chance(0.1):
            thing = inside[0] if inside else "A"
            other = f"{next(self.names)}{first[first.index('(') :]}"
            element = f"2,{thing} : {first}; 1,{thing} : {other}"
        elif function in ("#min", "#max") and self.chance(0.05):
            element = f"{self.pick({'0': 3, 'limit': 1})}; {element}"
        return f"{function}{{ {element} }}"

    def tuple_of(self, function: str, inside: list[str]) -> list[str]:
        """The tuple of an aggregate."""
        if function == "#count":
            return inside[: self.pick({1: 64, 2: 30, 3: 6})]
        value = inside[-1]
        if self.chance(0.1):
            value = self.pick(
                {
                    f"{inside[0]}+{value}": 3,
                    f"{inside[0]}*{value}": 3,
                    f"2*{value}": 2,
                    f"|{inside[0]}-{value}|": 1,
                    "1": 2,
                }
            )
        if function in ("#min", "#max"):
            return [value]
        rest = inside[: self.pick({0: 10, 1: 62, 2: 24, 3: 4})]
        return [value, *[v for v in rest if v != value]]

    def measured(self) -> str:
        """A head with a number that an aggregate or arithmetic gives."""
        body = self.join(self.pick({1: 66, 2: 28, 3: 6}))
        if self.chance(0.12):
            body.append(self.test() or body[0])
        outer = list(dict.fromkeys(self.bound))[: self.pick({1: 62, 2: 30, 3: 8})]
        if self.chance(0.12) and len(set(self.bound)) > 1:  # the number is known and has to be met
            body.append(f"{self.bound[-1]} {self.pick({'=': 5, '!=': 2})} {self.aggregate()}")
            return self.rule(self.head({1: 70, 2: 30}) if self.chance(0.75) else "", body)
        if self.chance(0.12):
            body, outer, self.bound = [], [], []
        result = next(self.letters)
        if outer and self.chance(0.16):
            value = self.pick(
                {
                    f"{self.bound[-1]}+1": 2,
                    f"{self.bound[-1]}+{self.bound[0]}": 2,
                    f"{self.bound[-1]}-{self.bound[0]}": 2,
                    f"{self.bound[-1]}*2": 1,
                    f"1..{self.bound[-1]}": 2,
                    f"|{self.bound[-1]}-{self.bound[0]}|": 1,
                }
            )
            body.append(f"{result} = {value}")
        else:
            body.append(f"{result} = {self.aggregate()}")
        self.bound.append(result)
        if self.chance(0.2):
            body.append(
                self.pick(
                    {
                        f"{result} {self.pick(OPERATORS)} {self.limit()}": 5,
                        self.negated(): 1,
                        self.compare_two() or "1 < 2": 2,
                    }
                )
            )
        args = [*outer, result if self.chance(0.92) else f"{result}+1"]
        return self.rule(f"{next(self.names)}({','.join(args)})", body)

    def bounded(self) -> str:
        """A constraint, a definition or an implication with an aggregate that is compared."""
        size = self.pick({0: 18, 1: 58, 2: 20, 3: 4})
        body = self.join(size)
        if size and self.chance(0.15):
            body.append(self.test() or body[0])
        if self.chance(0.12):
            body.append(self.moment())
        guard = self.guard()
        inner = self.aggregate() if self.chance(0.93) else self.cases()
        op = self.pick({">": 24, "<": 24, "!=": 14, ">=": 18, "<=": 10, "=": 10})
        literal = f"{inner} {op} {guard}"
        if self.chance(0.06):
            literal = f"1 <= {inner} <= {self.pick({'2': 3, guard: 2})}"
        if self.chance(0.04):
            literal = f"not {literal}"
        body.insert(len(body) if self.chance(0.85) else 0, literal)
        if self.chance(0.1):
            body.append(f"{inner.replace(inner, self.aggregate())} {self.pick(OPERATORS)} {self.guard()}")
        if size and self.chance(0.3):
            return self.rule(self.head({1: 65, 2: 35}), body)
        return self.rule("", body)

    def guard(self) -> str:
        """What an aggregate is compared with."""
        bound = self.bound[-1] if self.bound else "1"
        return self.pick({"1": 34, "2": 20, "limit": 16, bound: 26, f"{bound}+1": 3, "0": 5})

    def cases(self) -> str:
        """A set of atoms, as an aggregate without a function."""
        before = list(self.bound)
        first = self.atom(self.pick({1: 40, 2: 60}), 0)
        inside = self.bound[len(before) :]
        element = f"{next(self.names)}({','.join([*before[:1], *inside[:1]])})"
        self.bound = before
        return f"{{ {element} : {first} }}"

    def universal(self) -> str:
        """A body with a conditional literal."""
        body = self.join(self.pick({1: 76, 2: 24}))
        if self.chance(0.15):
            body.append(self.test() or body[0])
        if self.chance(0.08):
            body.append(self.moment())
        before = list(self.bound)
        conditions = [self.atom(self.pick({1: 30, 2: 50, 3: 20}), 1 if self.chance(0.7) else 0)]
        conditions += [self.atom(self.pick({1: 50, 2: 50}), 1)] if self.chance(0.12) else []
        inside = self.bound[len(before) :]
        conditions += self.tests({0: 72, 1: 24, 2: 4})
        args = [*(inside[:1] or before[:1]), *before[: self.pick({0: 50, 1: 42, 2: 8})]]
        if self.chance(0.5):
            args.reverse()
        sign = self.pick({"": 56, "not ": 32, "-": 12})
        literal = f"{sign}{next(self.names)}({','.join(dict.fromkeys(args))}) : {', '.join(conditions)}"
        if inside and self.chance(0.1):
            literal = f"{before[-1]} {self.pick(OPERATORS)} {inside[-1]} : {', '.join(conditions)}"
        self.bound = before
        body.append(literal)
        if self.chance(0.52):
            return self.rule(self.head({1: 75, 2: 25}), body)
        if self.chance(0.3):
            return hide_single(f":~ {', '.join(body)}. [{self.weight()}]")
        return self.rule("", body)

    # --- costs and output ---

    def weight(self) -> str:
        """Weight, level and tuple of a cost."""
        pool = list(dict.fromkeys(self.bound))
        weight = self.pick(
            {
                "1": 44,
                pool[-1]: 36,
                "3": 8,
                f"{pool[-1]}+{pool[0]}": 4,
                f"2*{pool[-1]}": 3,
                f"{pool[-1]}*{pool[0]}": 2,
            }
        )
        level = self.pick({"": 52, "@1": 22, "@2": 22, "@3": 4})
        terms = [v for v in pool if v != weight][: self.pick({0: 14, 1: 48, 2: 30, 3: 8})]
        return f"{weight}{level}{''.join(f',{v}' for v in terms)}"

    def cost(self) -> str:
        form = self.pick({":~": 50, "#minimize": 32, "#maximize": 18})
        if form == ":~":
            body = self.body({1: 34, 2: 46, 3: 20}, {0: 50, 1: 40, 2: 10})
            if self.chance(0.08):
                result = next(self.letters)
                body = [*body[: self.rng.choice((0, 1))], f"{result} = {self.aggregate()}"]
                level = self.pick({"": 5, "@2": 5})
                return hide_single(f":~ {', '.join(body)}. [{result}{level}]")
            return hide_single(f":~ {', '.join(body)}. [{self.weight()}]")
        elements = []
        for _ in range(self.pick({1: 80, 2: 18, 3: 2})):
            self.bound = []
            body = self.body({1: 32, 2: 48, 3: 20}, {0: 62, 1: 32, 2: 6})
            elements.append(hide_single(f"{self.weight()} : {', '.join(body)}"))
        return f"{form} {{ {'; '.join(elements)} }}."

    def output(self) -> str:
        body = self.body({1: 40, 2: 46, 3: 14}, {0: 54, 1: 38, 2: 8})
        if self.chance(0.2) and len(self.bound) > 1:
            return hide_single(f"#show ({self.bound[0]},{self.bound[1]}) : {', '.join(body)}.")
        return hide_single(f"#show {self.head({1: 40, 2: 35, 3: 25})} : {', '.join(body)}.")
