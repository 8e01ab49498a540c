"""A grammar of rules as people write them: typed by nothing yet, with placeholders for predicates.

`compose` draws one rule, or a few that belong together (a base case and its step). Each part of a rule is drawn by
weight: how many atoms a body has and with how many arguments, how they are joined, what is compared, negated,
counted and added, and what the head says. The names of variables say nothing; filling gives them types.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

ARITIES = {1: 24, 2: 44, 3: 22, 4: 8, 5: 2}
OPERATORS = {"<": 28, "!=": 26, ">": 14, "<=": 12, ">=": 14, "=": 6}
_LETTERS = [chr(code) for code in range(ord("A"), ord("Z") + 1)]


def compose(rng: Random) -> str:
    """Draw one template: a statement a line, with placeholders for predicates."""
    return _Composer(rng).compose()


class _Composer:
    """Draws one template.

    Attributes:
        bound: The variables that positive atoms bind, in their order.
        fresh: The next letters and names.
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
        kinds = {
            self.definition: 30,
            self.constraint: 17,
            self.choice: 13,
            self.measured: 11,
            self.bounded: 9,
            self.cost: 8,
            self.over_time: 14,
            self.on_grid: 6,
            self.closure: 5,
            self.disjunction: 3,
            self.implied: 3,
            self.head_aggregate: 3,
            self.complement: 4,
            self.universal: 6,
            self.output: 3,
            self.rivals: 9,
            self.capacity: 8,
            self.in_range: 4,
            self.balance: 4,
            self.extreme: 5,
            self.known_false: 4,
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
        weights = ARITIES if self.chance(0.85) else ARITIES | {3: 40, 4: 14}
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
        new = [arg if n == keep or len(args) > 2 and self.chance(0.25) else self.variable() for n, arg in enumerate(args)]
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
        kinds = {self.compare_two: 26, self.compare_limit: 22, self.negated: 38, self.offset: 5, self.chain: 4, self.strong: 8, self.distance: 2, self.either: 2, self.named: 5}
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
        pair = self.pair()
        return pair and f"|{pair[0]}-{pair[1]}| {self.pick(OPERATORS)} {self.pick({'1': 5, 'limit': 2, pair[0] + '+1': 1})}"

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
            chosen[-1] = self.pick({f"{chosen[-1]}+1": 3, f"{chosen[-1]}-1": 1, "0": 2, "name": 3, f"{chosen[-1]}+{other}": 3, f"{chosen[-1]}-{other}": 3, f"{chosen[-1]}*{other}": 2, f"1..{chosen[-1]}": 1, f"{other}..{chosen[-1]}": 1})
        elif len(chosen) > 1 and self.chance(0.03):
            chosen = chosen * 2 if len(chosen) == 2 and self.chance(0.5) else [chosen[0], *chosen]
        return f"{next(self.names)}({','.join(chosen)})"

    # --- statements ---

    def rule(self, head: str, body: list[str]) -> str:
        """The statement, with `_` for each variable that occurs once."""
        text = f"{head} :- {', '.join(body)}." if body else f"{head}."
        return self.hide(text.strip())

    def hide(self, text: str) -> str:
        """`_` in place of variables that occur once."""
        words = Counter(token for token in _tokens(text) if token in _LETTERS)
        return "".join("_" if token in _LETTERS and words[token] == 1 else token for token in _tokens(text))

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
            conditions = [self.atom(self.pick({1: 54, 2: 32, 3: 10, 4: 4}), 1 if outside and self.chance(0.4) else 0)]
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
        forms = {
            f"{{ {inner} }} = 1": 20,
            f"1 {{ {inner} }} 1": 22,
            f"{{ {inner} }} 1": 22,
            f"1 {{ {inner} }}": 12,
            f"1 {{ {inner} }} 2": 12,
            f"{{ {inner} }} limit": 7,
            f"{{ {inner} }} = limit": 4,
            f"2 {{ {inner} }}": 2,
        }
        return self.pick(forms)

    def moment(self) -> str:
        """A literal that binds a variable to points in time."""
        time = self.variable()
        return self.pick({f"{time} = 1..last": 5, f"{next(self.names)}({time})": 6, f"{time} = 1..last-1": 1, f"{time} = 0..last-1": 1})

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
        form = self.pick({f"{inner} <= {guard}": 34, f"1 <= {inner} <= 2": 26, f"{inner} = {guard}": 22, f"{inner} >= 1": 10, f"{inner} < {guard}": 8})
        return self.rule(form, outer)

    # --- aggregates in bodies ---

    def aggregate(self, function: str = "") -> str:
        """An aggregate over things that share a variable with the rule, without its guard."""
        function = function or self.pick({"#count": 52, "#sum": 28, "#min": 9, "#max": 9, "#sum+": 2})
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
            element = f"2,{inside[0] if inside else 'A'} : {conditions[0]}; 1,{inside[0] if inside else 'A'} : {next(self.names)}{conditions[0][conditions[0].index('(') :]}"
        elif function in ("#min", "#max") and self.chance(0.05):
            element = f"{self.pick({'0': 3, 'limit': 1})}; {element}"
        return f"{function}{{ {element} }}"

    def tuple_of(self, function: str, inside: list[str]) -> list[str]:
        """The tuple of an aggregate."""
        if function == "#count":
            return inside[: self.pick({1: 64, 2: 30, 3: 6})]
        value = inside[-1]
        if self.chance(0.1):
            value = self.pick({f"{inside[0]}+{value}": 3, f"{inside[0]}*{value}": 3, f"2*{value}": 2, f"|{inside[0]}-{value}|": 1, "1": 2})
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
            value = self.pick({f"{self.bound[-1]}+1": 2, f"{self.bound[-1]}+{self.bound[0]}": 2, f"{self.bound[-1]}-{self.bound[0]}": 2, f"{self.bound[-1]}*2": 1, f"1..{self.bound[-1]}": 2, f"|{self.bound[-1]}-{self.bound[0]}|": 1})
            body.append(f"{result} = {value}")
        else:
            body.append(f"{result} = {self.aggregate()}")
        self.bound.append(result)
        if self.chance(0.2):
            body.append(self.pick({f"{result} {self.pick(OPERATORS)} {self.limit()}": 5, self.negated(): 1, self.compare_two() or "1 < 2": 2}))
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
            return self.hide(f":~ {', '.join(body)}. [{self.weight()}]")
        return self.rule("", body)

    # --- costs and output ---

    def weight(self) -> str:
        """Weight, level and tuple of a cost."""
        pool = list(dict.fromkeys(self.bound))
        weight = self.pick({"1": 44, pool[-1]: 36, "3": 8, f"{pool[-1]}+{pool[0]}": 4, f"2*{pool[-1]}": 3, f"{pool[-1]}*{pool[0]}": 2})
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
                return self.hide(f":~ {', '.join(body)}. [{result}{level}]")
            return self.hide(f":~ {', '.join(body)}. [{self.weight()}]")
        elements = []
        for _ in range(self.pick({1: 80, 2: 18, 3: 2})):
            self.bound = []
            body = self.body({1: 32, 2: 48, 3: 20}, {0: 62, 1: 32, 2: 6})
            elements.append(self.hide(f"{self.weight()} : {', '.join(body)}"))
        return f"{form} {{ {'; '.join(elements)} }}."

    def output(self) -> str:
        body = self.body({1: 40, 2: 46, 3: 14}, {0: 54, 1: 38, 2: 8})
        if self.chance(0.2) and len(self.bound) > 1:
            return self.hide(f"#show ({self.bound[0]},{self.bound[1]}) : {', '.join(body)}.")
        return self.hide(f"#show {self.head({1: 40, 2: 35, 3: 25})} : {', '.join(body)}.")

    # --- recursion, time and grids ---

    def closure(self) -> str:
        """A recursive definition: the base case and its step."""
        f, g, h = (next(self.names) for _ in range(3))
        extra = self.pick({"": 60, f", not {h}(C)": 18, f", {h}(C)": 14, ", A != C": 8})
        base = self.pick({f"{f}(A,B) :- {g}(A,B).": 6, f"{f}(A,B) :- {g}(A,B), not {h}(B).": 2, f"{f}(B,A) :- {g}(A,B).": 1, f"{f}(A,A) :- {h}(A).": 3})
        pairs = self.pick({f"{f}(A,C) :- {f}(A,B), {g}(B,C){extra}.": 6, f"{f}(A,C) :- {g}(A,B), {f}(B,C){extra}.": 3, f"{f}(A,C) :- {f}(A,B), {f}(B,C){extra}.": 2})
        ways = {
            f"{base}\n{pairs}": 5,
            f"{f}(A) :- {h}(A).\n{f}(C) :- {f}(B), {g}(B,C){extra}.": 4,
            f"{f}(A) :- {h}(A).\n{f}(C) :- {g}(B,C), {f}(B){extra}.": 1,
            f"{f}(A) :- {h}(A).\n{f}(C) :- {f}(B), {g}(D,B,C), q9(D).": 1,
            f"{f}(A,B) :- {g}(A,B,D), q9(D).\n{f}(A,C) :- {f}(A,B), {g}(B,C,D), q9(D).": 1,
            f"{f}(A,B,N) :- {g}(A,B,N).\n{f}(A,C,N+M) :- {f}(A,B,N), {g}(B,C,M), N+M <= limit.": 2,
            f"{f}(A,A,0) :- {h}(A).\n{f}(A,C,N+M) :- {f}(A,B,N), {g}(B,C,M), N+M <= limit.": 2,
            f"{f}(A,0) :- {h}(A).\n{f}(C,N+1) :- {f}(B,N), {g}(B,C), N < limit.": 2,
            f"{f}(A,0) :- {h}(A).\n{f}(C,N+M) :- {f}(B,N), {g}(B,C,M), N+M <= limit.": 1,
            f"{f}(A,N) :- {h}(A,N).\n{f}(A,N-1) :- {f}(A,N), N > 1.": 1,
            f"{f}(A,N) :- {h}(A,N).\n{f}(A,N+M) :- {f}(A,N), {g}(A,M), N+M <= limit.": 1,
            f"{f}(A) :- {h}(A).\n{f}(A) :- {g}(A,B,C), {f}(B), {f}(C).": 1,
        }
        return self.hide_lines(self.pick(ways))

    def ending(self, body: str, things: list[str], heads: dict[str, float] | None = None) -> str:
        """A constraint, a definition, a cost or an output over `body`, about `things`."""
        name = next(self.names)
        one, two = things[0], ",".join(things[:2])
        forms = {
            f":- {body}.": 42,
            f"{name}({two}) :- {body}.": 16,
            f"{name}({one}) :- {body}.": 14,
            f":~ {body}. [1{self.pick({'': 3, '@1': 2, '@2': 2})},{self.pick({one: 2, two: 2})}]": 8,
            f"#minimize{{ 1{self.pick({'': 3, '@2': 1})},{self.pick({one: 1, two: 2})} : {body} }}.": 6,
            f"#show {name}({two}) : {body}.": 2,
        } | (heads or {})
        return self.hide_lines(self.pick(forms))

    def rivals(self) -> str:
        """Two things whose numbers are compared."""
        p, q, r = (next(self.names) for _ in range(3))
        low = self.pick({(f"{p}(A,N)", f"{p}(B,M)"): 12, (f"{p}(A,N)", f"{q}(B,M)"): 6, (f"{p}(A,C,N)", f"{p}(B,C,M)"): 4, (f"{p}(C,N,A)", f"{p}(C,M,B)"): 2, (f"{p}(A,_,N)", f"{p}(B,_,M)"): 2, (f"{p}(A,N,C)", f"{p}(B,M,C)"): 1, (f"{p}(X,Y,N)", f"{p}(U,V,M)"): 2})
        grid = "X,Y" in low[0]
        first, second = ("X,Y", "U,V") if grid else ("A", "B")
        link = self.pick({"": 34, f"{r}({first},{second})": 30, f"{r}({first}), {r}({second})": 10, f"{r}({first}), {q}8({second})": 4, f"{r}({first},{second},K)": 7, f"{r}({first}), {r}({second}), A < B": 0 if grid else 6, f"{r}(D,{first}), {r}(D,{second})": 5})
        op = self.pick(OPERATORS)
        gap = self.pick({"1": 4, "limit": 3})
        test = self.pick({f"N {op} M": 20, f"|N-M| {op} {gap}": 4, f"N {op} M+{gap}": 4, f"N+M {op} {gap}": 2, f"N-M {op} {gap}": 1})
        if ",K)" in link:
            test = self.pick({f"|N-M| {op} K": 3, f"N {op} M+K": 4, f"N+K {op} M": 3, f"|N-M| {op} K+1": 1, f"N {op} M": 2})
        extra = self.pick({"": 60, f"not {q}9({second})": 8, f"{q}9({first})": 8, f"not {q}9({first},{second})": 8, "A != B": 0 if grid or "A < B" in link else 8, "A < B": 0 if grid or "A < B" in link else 5})
        parts = [link, *low, test, extra] if self.chance(0.8) else [*low, link, test, extra]
        if extra[:2] == "A " and self.chance(0.5):
            parts.remove(extra)
            parts.insert(parts.index(test), extra)
        body = ", ".join(part for part in parts if part)
        return self.ending(body, [first, second], {f"N {self.pick({'<': 3, '<=': 2, '!=': 2})} M :- {body.replace(', ' + test, '')}.": 4, f"{first} < {second} :- {body}.": 0 if grid else 2})

    def capacity(self) -> str:
        """What a thing holds, compared with its limit."""
        p, q, r = (next(self.names) for _ in range(3))
        outer = self.pick({f"{p}(A,N)": 50, f"{p}(A)": 18, "": 14, f"{p}(N)": 7, f"{p}(A,_,N)": 5, f"{p}(A,N,_)": 4})
        has_thing, has_number = "A" in outer, "N" in outer
        guard = "N" if has_number else self.pick({"1": 3, "2": 2, "limit": 5})
        guard += self.pick({"": 12, "+1": 1, "-1": 1}) if has_number else ""
        inside = self.pick({"B,A": 5, "A,B": 5}) if has_thing else "B"
        member = self.pick({f"{q}({inside})": 12, f"{q}({inside},C)": 3, f"{q}(C,{inside})": 2})
        size = self.pick({f"{r}(B,M)": 10, f"{r}(B,_,M)": 3, f"{r}(B,M,_)": 2, f"{r}(_,B,M)": 2, f"{r}(B,A,M)": 1})
        extra = self.pick({"": 8, f", not {r}7(B)": 2, f", {r}7(B)": 2})
        key = "B,C" if "C" in member else "B"
        inner = self.pick({
            f"#sum{{ M,{key} : {member}, {size}{extra} }}": 12,
            f"#sum{{ M,{key} : {q}({inside},M){extra} }}": 4,
            f"#sum{{ M*K,B : {q}({inside},K), {size} }}": 2,
            f"#count{{ {key} : {member}{extra} }}": 9,
            f"#count{{ B : {member}, {size.replace('M', '_')}{extra} }}": 4,
            f"#max{{ M : {member}, {size} }}": 3,
            f"#min{{ M : {member}, {size} }}": 3,
        })
        op = self.pick({">": 14, "<": 10, "!=": 4, ">=": 4, "<=": 3, "=": 2})
        test = self.pick({"": 12, f"{r}8(A)": 2 * has_thing, f"not {r}8(A)": 2 * has_thing, f"N {self.pick({'>': 2, '>=': 2})} {self.limit()}": 2 * has_number})
        literal = f"{inner} {op} {guard}"
        body = ", ".join(part for part in (outer, test, literal) if part)
        name = next(self.names)
        heads = {f"{name}(A) :- {body}.": 16 * has_thing, f":~ {body}. [1,A]": 3 * has_thing}
        return self.hide_lines(self.pick({f":- {body}.": 60} | heads))

    def in_range(self) -> str:
        """A number between two others."""
        p, q = next(self.names), next(self.names)
        value = self.pick({f"{p}(A,N)": 5, f"{p}(A,N,T)": 3, f"{p}(A,_,N)": 2, f"{p}(A,T,N)": 2, f"{p}(A,B,N)": 1})
        limits = self.pick({f"{q}(A,L,H)": 5, f"{q}(L,H)": 2, f"{q}(A,_,L,H)": 1, f"{q}(A,L)": 2, "": 6})
        ends = ("L", "H") if "H" in limits else ("1", "3")
        if limits == f"{q}(A,L)":
            ends = self.pick({("L-1", "L+1"): 2, ("L-2", "L"): 1, ("L", "L+2"): 1, ("1", "L"): 1})
        if not limits:
            ends = (self.pick({"0": 2, "1": 3}), self.pick({"3": 4, "limit": 1}))
        chain = f"{ends[0]} {self.pick({'<=': 6, '<': 3})} N {self.pick({'<=': 5, '<': 4})} {ends[1]}"
        when = self.pick({"": 4, "q8(T)": 3, "not q7(A)": 2, "q7(A)": 2}) if "T" in value else self.pick({"": 6, "not q7(A)": 2, "q7(A)": 2})
        sign = self.pick({"": 7, "not ": 3})
        parts = [value, limits, when, sign + chain] if self.chance(0.7) else [limits, value, sign + chain, when]
        return self.ending(", ".join(part for part in parts if part), ["A", "T"] if "T" in value else ["A"])

    def balance(self) -> str:
        """A number that changes from one point in time to the next."""
        s, e, f = (next(self.names) for _ in range(3))
        last = self.chance(0.75)
        before = f"{s}(A,N,T-1)" if last else f"{s}(A,T-1,N)"

        def now(value: str) -> str:
            return f"{s}(A,{value},T)" if last else f"{s}(A,T,{value})"

        change = self.pick({f"{e}(A,M,T)": 3, f"{e}(A,T,M)": 3, f"{e}(T,A,M)": 3, f"{e}(A,M)": 2, f"{e}(A,T), {f}(A,M)": 2})
        sign = self.pick({"+": 5, "-": 4})
        when = self.pick({"": 4, "q8(T)": 6, "T = 1..last": 2})
        extra = self.pick({"": 6, f"{f}9(A,T)": 2, f"not {f}9(A,T)": 2, f"{f}9(T,A)": 1})
        summed = f"M = #sum{{ K{self.pick({'': 1, ',B': 3})} : {self.pick({f'{e}(A,T,K)': 2, f'{e}(A,B,T,K)': 2, f'{e}(B,T), {f}(B,A,K)': 1, f'{e}(A,B,T), {f}(B,K)': 1})} }}"
        if "B" not in summed.partition(":")[2]:
            summed = summed.replace("K,B :", "K :")
        ways = {
            (now(f"N{sign}M"), before, when, change, extra): 8,
            (now(f"N{sign}M"), before, change, when, extra): 3,
            (now("N"), before, when, extra or f"not {f}9(A,T)", ""): 4,
            (now(f"N{sign}M"), before, when, summed, ""): 4,
            (now("N+M-L"), before, change, f"{f}7(A,T,L)", when): 2,
            (f"{e}5(A,T,M)", f"{f}5(A)", when or "q8(T)", summed, ""): 3,
            (f"{e}5(A,T,M)", f"{f}5(A,_)", when or "q8(T)", summed, ""): 2,
        }
        head, *body = self.pick(ways)
        return self.hide_lines(f"{head} :- {', '.join(part for part in body if part)}.")

    def extreme(self) -> str:
        """The least or the largest number, and what has it."""
        p, q, h = (next(self.names) for _ in range(3))
        function = self.pick({"#max": 5, "#min": 5})
        of = self.pick({f"{p}(B,M)": 6, f"{p}(_,M,_)": 1, f"{p}(_,_,M)": 2, f"{p}(B,M), {q}(B)": 3, f"{q}(B), {p}(B,M)": 3, f"{p}(B,M), not {q}(B)": 2, f"{q}(B), {q}8(B), {p}(B,M)": 1})
        near = self.pick({f"{p}(A,M)": 3, f"{p}(A,_,M)": 2, f"{p}(A,M,_)": 2, f"{p}(A,B), {q}(B,M)": 4, f"{p}(B,A), {q}(B,M)": 4, f"{p}(B,A), {q}(B,A,M)": 1, f"{p}(A,B), {q}(A,B,M)": 1, f"{p}(A,B), {q}(B,_,M)": 1})
        owner = self.pick({f"{h}8(A)": 6, f"{h}8(A,_)": 5, f"{h}8(_,A)": 3})
        bound = self.pick({"": 8, f", N {self.pick({'<': 1, '<=': 2, '>': 2, '>=': 1})} {self.limit()}": 2})
        other = self.pick({"<": 2, "!=": 4, ">": 2})
        ways = {
            f"{h}(N) :- N = {function}{{ M : {of} }}.": 6,
            f"{h}(A) :- {p}(A,N), N = {function}{{ M : {of} }}.": 3,
            f"{h}(A) :- {p}(A,N), {h}7(N).": 1,
            f"{h}(A,N) :- {owner}, N = {function}{{ M : {near} }}{bound}.": 7,
            f"{h}(A,B,N) :- {h}8(A), {h}8(B), N = {function}{{ M : {p}(A,B,M) }}{bound}.": 2,
            f":- {p}(A,N), {h}7(M), N {other} M{self.pick({'': 5, '+1': 2})}.": 2,
            f":- {h}6(A), {p}(A,N), {h}7(M), N {other} M.": 2,
            f"{h}(A) :- {h}6(A), {p}(A,N), {h}7(M), N {other} M{self.pick({'': 2, '+1': 3})}.": 2,
            f":~ N = {function}{{ M : {of} }}. [N{self.pick({'': 2, '@2': 2})}]": 3,
            f":- {owner}, {function}{{ M : {near} }} {self.pick(OPERATORS)} {self.limit()}.": 2,
        }
        return self.hide_lines(self.pick(ways))

    def known_false(self) -> str:
        """Rules with strongly negated atoms."""
        p, q, h = (next(self.names) for _ in range(3))
        base = self.pick({f"{p}(A)": 5, f"{p}(A,B)": 4, f"{p}(B,A)": 3, f"{p}(A,_)": 2})
        second = "B" in base and self.chance(0.5)
        false = f"-{q}({'B' if second else 'A'})"
        test = self.pick({"": 6, f", not {h}8(A)": 3, f", {h}8(A)": 2})
        condition = self.pick({f"{p}(A,B)": 5, f"{p}(B,A)": 4, f"{p}(B)": 2})
        outer = self.pick({f"{h}8(A)": 4, f"{h}8(A,_)": 2, f"{h}8(A,name)": 2})
        cost = self.pick({"": 4, "@1": 1, "@2": 1})
        ways = {
            f"{h}(A) :- {base}, {false}{test}.": 6,
            f"{h}(A) :- {base}{test}, {false}.": 2,
            f":- {base}, {false}{test}.": 4,
            f":- {false}{test}.": 1,
            f"-{h}(A) :- {base}, {self.pick({f'{q}(B,name)': 2, f'{q}(A,name)': 2, f'{q}(A,M), M > 2': 2, false: 2})}.": 4,
            f":- {outer}, -{q}(B) : {condition}.": 3,
            f"{h}(A) :- {outer}, -{q}(B) : {condition}.": 3,
            f"#minimize{{ 1{cost},A : -{q}(A){test} }}.": 2,
            f"#maximize{{ 1{cost},A : -{q}(A){test} }}.": 1,
            f":~ -{q}(A){test}. [1{cost},A]": 1,
            f"#show {h}(A) : -{q}(A){test}.": 2,
            f":- {p}(N), #count{{ A : {h}8(A), not -{q}(A) }} {self.pick({'!=': 2, '<': 2, '>': 2})} N.": 1,
            f"{h}(A) :- {base}, not -{q}(A).": 2,
        }
        return self.hide_lines(self.pick(ways))

    def hide_lines(self, text: str) -> str:
        return "\n".join(self.hide(line) for line in text.split("\n"))

    def over_time(self) -> str:
        """Rules over points in time: choices, initial states, effects, inertia, constraints."""
        kinds = {self.act: 4, self.start: 4, self.effect: 7, self.inertia: 7, self.at_times: 7, self.every_time: 4}
        return self.hide_lines(self.pick(kinds)())

    def when(self, share: float = 0.75) -> list[str]:
        """Literals that bind T, or none."""
        if not self.chance(share):
            return []
        return self.pick({("T = 1..last",): 5, ("T = 0..last-1",): 3, ("T = 1..last-1",): 2, ("q8(T)",): 5, ("T < last",): 4, ("q8(T+1)",): 2, ("q8(T)", "T < last"): 4})

    def act(self) -> str:
        a, p = next(self.names), next(self.names)
        inner = self.pick({f"{a}(A,T) : {p}(A)": 5, f"{a}(A,T) : {p}(A,B)": 3, f"{a}(A,B,T) : {p}(A), q7(B)": 2, f"{a}(A,B,T) : {p}(A,B)": 3, f"{a}(A,B,T) : {p}(B)": 2, f"{a}(A,T) : {p}(A), not q6(A)": 1, f"{a}(A,T) : {p}(A), not q6(A,T-1)": 2, f"{a}(A,T) : {p}(A,T-1)": 2})
        body = [one for one in ("q8(T)", "T < last") if one == "q8(T)" or self.chance(0.35)]
        if self.chance(0.3):
            body = [self.pick({"T = 1..last": 3, "T = 0..last-1": 1})]
        if f"{a}(A,B,T) : {p}(B)" in inner:
            body.insert(0, "q7(A)")
        return f"{self.bounds(inner, True)} :- {', '.join(body)}."

    def state(self, time: str, value: str = "N") -> tuple[str, str]:
        """A fluent: its head at `time`, and its form."""
        form = self.pick({"A": 5, "A,B": 3, "A,N": 4, "A,B,N": 1})
        last = self.chance(0.82)
        args = form.replace("N", value)
        return (f"{args},{time}" if last else f"{time},{args}"), form

    def start(self) -> str:
        f, p = next(self.names), next(self.names)
        args, form = self.state(self.pick({"0": 7, "1": 3}), self.pick({"N": 6, "0": 4}))
        sign = self.pick({"": 8, "-": 2})
        plain = form.replace(",N", "") if ",0" in args[2:-2] else form
        extra = self.pick({"": 6, f", not q5({plain})": 3, ", not q5(A)": 2, ", q5(A)": 2})
        return f"{sign}{f}({args}) :- {p}({plain}){extra}."

    def effect(self) -> str:
        f, a, p = (next(self.names) for _ in range(3))
        step = self.pick({("T", "T+1"): 6, ("T-1", "T"): 4, ("T", "T"): 2})
        now, after = step
        value = self.pick({"N+M": 3, "N-M": 2, "N+1": 2, "N-1": 1, "1-N": 1, "N": 2, "0": 2})
        ways = {
            f"{f}(A,{after}) :- {a}(A,{now})": 4,
            f"{f}(A,B,{after}) :- {a}(A,B,{now})": 3,
            f"{f}(A,B,{after}) :- {a}(A,C,{now}), {p}(C,B)": 1,
            f"-{f}(A,{after}) :- {a}(A,{now})": 2,
            f"{f}(A,{after}) :- {a}(B,{now}), {p}(B,A)": 2,
            f"{f}(A,M,{after}) :- {a}(A,{now}), {p}(A,M)": 2,
            f"{f}(A,{after},M) :- {a}(A,{now}), {p}(A,M)": 2,
            f"{f}(A,{value},{after}) :- {a}(A,{now}), {f}(A,N,{now})": 4,
            f"{f}(A,{value},{after}) :- {f}(A,N,{now}), {a}(A,{now}), {p}(A,M)": 3,
            f"{f}(A,{after},{value}) :- {f}(A,{now},N), {a}(A,{now}), {p}(A,M)": 2,
            f"{f}(A,{value},{after}) :- {f}(A,N,{now}), {p}(A,M), {a}(A,{after})": 1,
            f"{f}(A,{after}) :- {p}(A), not {a}(A,{now})": 1,
            f"{f}(A,0,{after}) :- {a}(A,{now})": 2,
            f"{f}(A,{after},0) :- {a}(A,{now})": 1,
        }
        text = self.pick(ways)
        if "N" in text and "N" not in text.partition(":-")[2]:
            text = text.replace(value, "0")
        body = [one for one in self.when(0.45)]
        if self.chance(0.2):
            body.append(self.pick({f"not q5(A,{now})": 3, "not q5(A)": 2, f"q5(A,{now})": 2}))
        return f"{text}, {', '.join(body)}." if body else f"{text}."

    def inertia(self) -> str:
        """A frame axiom."""
        f, a = next(self.names), next(self.names)
        form = self.pick({"A": 5, "A,B": 3, "A,N": 4, "A,B,N": 1})
        last = self.chance(0.85)
        now, after = self.pick({("T", "T+1"): 5, ("T-1", "T"): 5})

        def at(time: str, args: str = form) -> str:
            return f"{args},{time}" if last else f"{time},{args}"

        sign = self.pick({"": 8, "-": 2})
        change = self.pick({"same": 6, "opposite": 4})
        if change == "opposite":
            tests = [f"not {'' if sign else '-'}{f}({at(after)})"]
        else:
            moment = self.pick({now: 5, after: 3})
            inner = self.pick({f"{a}({at(moment, 'A')})": 6, f"{a}(A,_,{moment})": 2, f"{a}({at(moment)})": 2})
            tests = [f"not {inner}"]
            if self.chance(0.3):
                tests.append(f"not {next(self.names)}({at(moment, 'A')})")
        when = list(self.when(0.85))
        first = f"{sign}{f}({at(now)})"
        body = [*when, first] if when and when[0].startswith("q8") and self.chance(0.4) else [first, *when]
        base = f"{sign}{f}({at('0' if now == 'T' and self.chance(0.5) else '1')}) :- q5({form})."
        rule = f"{sign}{f}({at(after)}) :- {', '.join([*body, *tests])}."
        return f"{base}\n{rule}" if self.chance(0.35) else rule

    def at_times(self) -> str:
        """Constraints and definitions about what happens when."""
        a, b = next(self.names), next(self.names)
        later = self.pick({"T+1": 6, "T-1": 2, "U": 4, "T": 4})
        extra = {"U": self.pick({", T < U": 4, ", 1 <= T < U": 1, ", T < U, U <= T+limit": 1})}.get(later, "")
        body = self.pick({
            f"{a}(A,T), {a}(A,{later}){extra}": 4,
            f"{a}(A,T), {b}(A,{later}){extra}": 4,
            f"{a}(A,T), not {b}(A,{later})": 3 if later != "U" else 0,
            f"{a}(A,T), {a}(B,T), A != B": 3,
            f"{a}(A,T), {a}(B,T), A < B": 3,
            f"{a}(A,B,T), {a}(A,C,T), B != C": 2,
            f"{a}(A,C,T), {a}(B,C,T), A != B": 2,
            f"{a}(A,T), {a}(A,T+1), {a}(A,T+2)": 1,
            f"{a}(A,T), {b}(A,N), T > N": 2,
            f"{a}(A,T), {b}(A,N), T {self.pick(OPERATORS)} N": 2,
            f"{a}(A,T), {a}(B,U), {b}(A,B), T >= U": 2,
            f"{a}(A,B,T), {a}(B,C,T+1)": 1,
            f"{a}(A,last), {b}(A)": 1,
            f"{b}(A), not {a}(A,last)": 2,
        })
        if self.chance(0.3):
            head = f"{next(self.names)}({'A,T' if ',T)' in body and self.chance(0.6) else 'A'})"
            return f"{head} :- {body}."
        if self.chance(0.2):
            return f":~ {body}. [1{self.pick({'': 2, '@1': 1, '@2': 1})},A{',T' if 'T)' in body and self.chance(0.6) else ''}]"
        return f":- {body}."

    def every_time(self) -> str:
        """What holds at each point in time."""
        when = self.pick({"T = 1..last": 5, "q8(T)": 6, "T = 0..last-1": 1, "T = 1..last-1": 1})
        a, b = next(self.names), next(self.names)
        inner = self.pick({f"#count{{ A : {a}(A,T) }}": 6, f"#count{{ A,B : {a}(A,B,T) }}": 3, f"#count{{ A : {a}(A,B,T) }}": 1, f"#sum{{ N,A : {a}(A,T), {b}(A,N) }}": 4, f"#sum{{ N,A : {a}(A,T,N) }}": 2, f"#sum{{ N,A : {a}(A,N,T) }}": 2})
        op = self.pick({">": 5, "!=": 3, "<": 3, ">=": 3, "=": 1, "<=": 1})
        ways = {
            f":- {when}, {inner} {op} {self.pick({'1': 4, 'limit': 3, '2': 3})}.": 6,
            f":- {when}, not {a}(A,T) : {b}(A).": 2,
            f":- {when}, -{a}(A,T) : {b}(A).": 1,
            f":- {when}, {b}(A), not {a}(A,T).": 2,
            f"{next(self.names)}(T,N) :- {when}, N = {inner}.": 3,
            f"{next(self.names)}(T) :- {when}, {inner} {op} 1.": 2,
            f"{next(self.names)}(T) :- {when}, not {a}(A,T) : {b}(A).": 1,
            f"{next(self.names)}(A,T) :- {b}(A), {when}, not {a}(A,T).": 2,
            f":~ {when}, N = {inner}. [N,T]": 1,
        }
        text = self.pick(ways)
        return text.replace("N,A :", "M,A :").replace("(A,N)", "(A,M)").replace("(A,T,N)", "(A,T,M)").replace("(A,N,T)", "(A,M,T)")

    def on_grid(self) -> str:
        """Rules over the places of a grid."""
        f, g, h = (next(self.names) for _ in range(3))
        near = self.pick({"|X-A|+|Y-B| = 1": 6, "|X-A| <= 1, |Y-B| <= 1": 2, "X = A, |Y-B| = 1": 1, "|X-A|+|Y-B| <= 2": 1})
        order = self.pick({"(X,Y) < (A,B)": 5, "(X,Y) != (A,B)": 4})
        extra = self.pick({"": 5, f", not {h}(A,B)": 3, f", not {h}(X,Y)": 2, f", {h}(A,B)": 2})
        count = self.pick({f"#count{{ A,B : {f}(A,B), {near} }}": 5, f"#count{{ A,B : {f}(A,B) }}": 1})
        op = self.pick({">": 3, "<": 3, "!=": 3, "=": 2, ">=": 2})
        value = self.pick({"1": 3, "0": 3, "2": 2, "limit": 1})
        ways = {
            f"{next(self.names)}(X,Y,A,B) :- {f}(X,Y), {f}(A,B), {near}{extra}.": 3,
            f"{next(self.names)}(X,Y,A,B) :- {f}(X,Y,N), {f}(A,B,M), {near}{self.pick({'': 1, ', N < M': 1})}.": 2,
            f":- {f}(X,Y), {f}(A,B), {order}, {near}.": 3,
            f":- {f}(X,Y), {f}(A,B), {near}{extra}.": 2,
            f":- {f}(X,Y), {f}(A,B), {order}.": 1,
            f":- {g}(C,X,Y), {g}(D,X,Y), C < D.": 2,
            f":- {g}(C,X,Y), {g}(C,A,B), {order}.": 2,
            f":- {g}(X,Y), {count} {op} {value}.": 3,
            f"{next(self.names)}(X,Y) :- {g}(X,Y), {count} {op} {value}.": 2,
            f"{next(self.names)}(X,Y,N) :- {g}(X,Y), N = {count}.": 2,
            f"{next(self.names)}(A,B) :- {f}(X,Y), {g}(A,B), {near}{extra}.": 2,
            f"q50(X,Y) :- {f}(X,Y), {h}(X,Y).\nq50(A,B) :- q50(X,Y), {g}(A,B), {near}{extra}.": 2,
            f"q50(X,Y) :- {f}(X,Y), {h}(X,Y).\nq50(A,B) :- q50(X,Y), {g}(X,Y,A,B){extra}.": 1,
            f"{next(self.names)}(X,Y) :- {f}(X,Y), not {g}(X,Y,_,_).": 1,
            f"{next(self.names)}(X,Y) :- {f}(X,Y), not {h}(X,Y).": 1,
            f"{{ {next(self.names)}(X,Y) : {f}(X,Y){self.pick({'': 2, f', not {h}(X,Y)': 1})} }} {self.pick({'2': 2, '= 2': 1, 'limit': 1})}.": 2,
            f"{{ {next(self.names)}(A,B) : {f}(A,B), {near} }} {self.pick({'= 1': 2, '1': 1})} :- {g}(X,Y).": 1,
            f"{{ {next(self.names)}(C,X,Y) : {f}(X,Y) }} = 1 :- {g}(C).": 2,
            f":~ {f}(X,Y), {g}(X,Y,N). [N,X,Y]": 1,
        }
        return self.hide_lines(self.pick(ways))


def _tokens(text: str) -> list[str]:
    """The words and signs of a program."""
    found: list[str] = []
    for character in text:
        if found and (character.isalnum() or character == "_") and (found[-1][-1].isalnum() or found[-1][-1] == "_"):
            found[-1] += character
        else:
            found.append(character)
    return found
