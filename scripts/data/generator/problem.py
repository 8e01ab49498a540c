"""A generated problem: schema, instances, and a program whose every rule the solver finds to matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.data.generator.domains import Domain, Predicate, load_domains
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Binary,
    Choice,
    Const,
    Cost,
    Define,
    Every,
    Rule,
    Show,
    Statement,
)
from scripts.data.generator.sampler import Sampler, Schema, statement_predicates
from scripts.data.generator.statements import Statements, with_number, with_time
from scripts.data.generator.wording import Speaker
from utils_ft import content_hash, new_folder, write_text

SETS = 200  # answer sets of an instance, at most
SECONDS = 0.4  # processor time for one program
LENGTHS = {1: (5, 8), 2: (6, 11), 3: (7, 13), 4: (8, 15), 5: (10, 20)}


@dataclass(frozen=True)
class Generated:
    """A problem that is ready to be written."""

    name: str
    family: str
    description: str
    steps: tuple[tuple[str, str], ...]
    instances: dict[str, str]

    @property
    def encoding(self) -> str:
        return "\n".join(f"% {instruction}\n{code}\n" for instruction, code in self.steps)

    def write(self, folder: Path) -> Path:
        """Write the problem below `folder`, whole or not at all; its folder."""
        target = folder / self.family / self.name
        with new_folder(target) as draft:
            write_text(draft / "problem.md", self.description)
            write_text(draft / "encoding.lp", self.encoding)
            for name, facts in self.instances.items():
                write_text(draft / "instances" / f"{name}.lp", facts)
        return target


def generate(seed: int, index: int, level: int, solver: Solver) -> Generated:
    """Problem `index` of `seed`: always the same, whatever else is generated."""
    for attempt in range(20):
        rng = Random(content_hash("generated problem", str(seed), str(index), str(level), str(attempt)))
        if (problem := _Program(rng, level, solver).build(f"p{seed}_{index:05d}")) is not None:
            return problem
    raise RuntimeError(f"no problem of level {level} came out of seed {seed}, index {index}")


class _Program:
    """Grows one program, statement by statement; each is kept only where the solver finds it to matter."""

    def __init__(self, rng: Random, level: int, solver: Solver):
        self.rng, self.level, self.solver = rng, level, solver
        self.domain: Domain = rng.choice(load_domains())
        self.schema = draw_schema(self.domain, rng, level)
        self.instances = {f"case_{n + 1}": draw_facts(self.schema, rng) for n in range(3 if level < 4 else 2)}
        self.speaker = Speaker(self.domain, rng)
        self.statements: list[Statement] = []
        self.outcomes: list[Outcome] = []
        self.instructions: set[str] = set()
        self.said: list[str] = []

    def build(self, name: str) -> Generated | None:
        """The problem, or None where too few statements were found."""
        low, high = LENGTHS[self.level]
        wanted = self.rng.randint(low, high)
        self.outcomes = self._solve(self._programs(()))
        self._constants()
        statements = Statements(Sampler(self.schema, self.rng, self.level))
        for _ in range(40 * wanted):
            if len(self.statements) >= wanted:
                break
            drawn = statements.draw(bool(self.schema.decided))
            if drawn is not None:
                self._try(drawn)
        if len(self.statements) < low:
            return None
        self._output(statements)
        if not self._all_matter():
            return None
        steps = tuple(zip(self.said, (statement.code() for statement in self.statements), strict=True))
        return Generated(name, f"generated_{self.domain.name}", self._description(), steps, self.instances)

    # --- verification ---

    def _programs(self, statements: Sequence[Statement]) -> list[str]:
        code = "\n".join(statement.code() for statement in statements)
        return [f"{facts}\n{code}\n" for facts in self.instances.values()]

    def _solve(self, programs: Sequence[str]) -> list[Outcome]:
        requests = (Request(p, solve=True, answer_sets=SETS, cpu_seconds=SECONDS) for p in programs)
        return list(self.solver.run(requests))

    def _try(self, statement: Statement) -> bool:
        """Append `statement` where it and each literal of its body change some answer set."""
        if any(statement.code() == other.code() for other in self.statements):
            return False
        outcomes = self._solve(self._programs([*self.statements, statement]))
        if any(
            outcome.answer_sets is None or outcome.verdict is Verdict.UNSATISFIABLE for outcome in outcomes
        ):
            return False
        if all(new.answer_sets == old.answer_sets for new, old in zip(outcomes, self.outcomes, strict=True)):
            return False
        variants = simpler(statement)
        solved = self._solve(
            [text for variant in variants for text in self._programs([*self.statements, variant])]
        )
        size = len(self.instances)
        for start in range(0, len(solved), size):
            part = solved[start : start + size]
            same = [new.answer_sets == old.answer_sets for new, old in zip(part, outcomes, strict=True)]
            if all(outcome.passes for outcome in part) and all(same):
                return False
        said = self.speaker.instruction(statement)
        if said in self.instructions:
            return False
        self._keep(statement, said, outcomes)
        return True

    def _keep(self, statement: Statement, said: str, outcomes: list[Outcome]) -> None:
        self.statements.append(statement)
        self.said.append(said)
        self.instructions.add(said)
        self.outcomes = outcomes
        self.schema.used.update(statement_predicates(statement))
        for predicate, decided, strong in heads(statement):
            known = [p.name for p in self.schema.available()]
            if strong:
                self.schema.strong.add(predicate.name)
            if predicate.name not in known:
                (self.schema.decided if decided else self.schema.derived).append(predicate)

    def _constants(self) -> None:
        """A `#const` that a limit may name, and an interval of times, in part of the problems."""
        time = self.domain.time[0]
        if any("time" in predicate.args for predicate in self.schema.facts):
            return
        if self.level >= 2 and self.rng.random() < 0.5:
            name = self.rng.choice(("horizon", "last", "limit", "most"))
            self.schema.constants[name] = self.rng.randint(2, 3)
            statement = Define(name, self.schema.constants[name], f"the number of {self.domain.time[1]}")
            self._keep(statement, self.speaker.instruction(statement), self.outcomes)
            predicate = Predicate(time, ("time",), "there is {0}", "there is no {0}")
            last = Const(name, "time")
            interval = Rule((Atom(predicate, (Binary("..", Const("1", "time"), last),)),), ())
            self._keep(interval, f"The {self.domain.time[1]} run from 1 to {name}.", self.outcomes)
            self.outcomes = self._solve(self._programs(self.statements))
            self.schema.derived.remove(predicate)
            self.schema.facts.append(predicate)

    def _output(self, statements: Statements) -> None:
        """`#show` statements at the end of half of the programs."""
        if self.rng.random() < 0.5:
            return
        targets = [*self.schema.decided, *self.schema.derived]
        chosen = self.rng.sample(targets, min(len(targets), self.rng.choice((1, 2, 2, 3))))
        shows: list[Statement] = [Show(predicate) for predicate in chosen]
        if self.rng.random() < 0.4 and (term := statements.show_term()):
            shows.append(term)
        for show in shows:
            said = self.speaker.instruction(show)
            if said not in self.instructions:
                self._keep(show, said, self.outcomes)
        self.outcomes = self._solve(self._programs(self.statements))

    def _all_matter(self) -> bool:
        """Drop `#show` where it hides what others change; then every statement must change some answer set."""
        if self._idle() and any(isinstance(statement, Show) for statement in self.statements):
            kept = [n for n, statement in enumerate(self.statements) if not isinstance(statement, Show)]
            self.statements, self.said = [self.statements[n] for n in kept], [self.said[n] for n in kept]
            self.outcomes = self._solve(self._programs(self.statements))
        for _ in range(4):
            idle = self._idle()
            if not idle:
                break
            self.statements = [s for n, s in enumerate(self.statements) if n not in idle]
            self.said = [s for n, s in enumerate(self.said) if n not in idle]
            self.outcomes = self._solve(self._programs(self.statements))
            if any(outcome.answer_sets is None or not outcome.answer_sets for outcome in self.outcomes):
                return False
        return not self._idle() and len(self.statements) >= LENGTHS[self.level][0]

    def _idle(self) -> set[int]:
        size, idle = len(self.instances), set()
        without = [
            text
            for n in range(len(self.statements))
            for text in self._programs([s for m, s in enumerate(self.statements) if m != n])
        ]
        solved = self._solve(without)
        for n in range(len(self.statements)):
            part = solved[n * size : (n + 1) * size]
            if all(
                a.passes and a.answer_sets == b.answer_sets for a, b in zip(part, self.outcomes, strict=True)
            ):
                idle.add(n)
        return idle

    # --- text ---

    def _description(self) -> str:
        used = {name for statement in self.statements for name in statement_predicates(statement)}
        used |= {predicate.name for statement in self.statements for predicate, _, _ in heads(statement)}
        used |= {s.predicate.name for s in self.statements if isinstance(s, Show) and s.predicate}
        rule_times = self.domain.time[0]
        facts = [
            p for p in self.schema.facts if any(f"{p.name}(" in text for text in self.instances.values())
        ]
        outputs = [p for p in self.schema.decided if p.name in used]
        derived = [p for p in self.schema.derived if p.name in used]
        if rule_times not in {p.name for p in facts} and rule_times in used:
            derived.insert(0, Predicate(rule_times, ("time",), "there is {0}", ""))
        lines = [f"# {self.domain.name.replace('_', ' ').capitalize()}", "", self.domain.setting, ""]
        lines += (
            ["A solution decides the following, under the rules that the steps give one by one."]
            if outputs
            else []
        )
        lines += ["", "## Input", *(entry(p, self.domain) for p in facts)]
        if outputs:
            lines += ["", "## Output", *(entry(p, self.domain) for p in outputs)]
        if derived:
            lines += ["", "## Auxiliary", *(entry(p, self.domain) for p in derived)]
        strong = sorted(name for name in self.schema.strong if name in used)
        if strong:
            lines += [
                "",
                "Strong negation is used for "
                + ", ".join(f"`-{name}`" for name in strong)
                + ": it says that the opposite is known.",
            ]
        terms = sorted(
            {s.term.predicate.name for s in self.statements if isinstance(s, Show) and s.term is not None}
        )
        if terms:
            lines += ["", "Shown terms: " + ", ".join(f"`{name}`" for name in terms) + "."]
        if self.schema.constants:
            lines += [
                "",
                "Constants: " + ", ".join(f"`{name}`" for name in sorted(self.schema.constants)) + ".",
            ]
        named = sorted(
            {t.value for s in self.statements for t in constants_of(s) if not t.value.isdigit()}
            - set(self.schema.constants)
        )
        if named:
            lines += ["", "Names that the rules mention: " + ", ".join(f"`{name}`" for name in named) + "."]
        return "\n".join(lines) + "\n"


def entry(predicate: Predicate, domain: Domain) -> str:
    """A line of the description: the atom with a variable for each argument, and what it says."""
    letters: list[str] = []
    for type_ in predicate.args:
        first = {"number": "N", "time": "T"}.get(type_, type_[0].upper())
        letter = next(
            c for c in [first, *(chr(n) for n in range(ord(first) + 1, 91)), *"ABCDEFG"] if c not in letters
        )
        letters.append(letter)
    nouns = {"number": "", "time": f"{domain.time[0]} "}
    said = predicate.says.format(
        *(f"{nouns.get(t, t + ' ')}{letter}" for t, letter in zip(predicate.args, letters, strict=True))
    )
    return f"- `{predicate.name}({', '.join(letters)})`: {said}."


def constants_of(statement: Statement) -> list[Const]:
    """The constants that stand in the atoms of a statement."""
    found: list[Const] = []
    literals = [
        *getattr(statement, "body", ()),
        *getattr(statement, "conditions", ()),
        *getattr(statement, "head", ()),
    ]
    while literals:
        literal = literals.pop()
        if isinstance(literal, Aggregate):
            literals += literal.conditions
        elif isinstance(literal, Every):
            literals += [literal.literal, *literal.conditions]
        else:
            found += [term for term in literal.terms() if isinstance(term, Const)]
    return found


def heads(statement: Statement) -> list[tuple[Predicate, bool, bool]]:
    """The predicates that a statement defines, each with: is it decided, is it strongly negated."""
    if isinstance(statement, Choice):
        return [(statement.atom.predicate, True, False)]
    if isinstance(statement, Rule):
        return [(atom.predicate, len(statement.head) > 1, atom.sign == "-") for atom in statement.head]
    return []


def simpler(statement: Statement) -> list[Statement]:
    """The statement without each literal of its body or of its conditions in turn: what it could be mistaken for."""
    found: list[Statement] = []
    body = getattr(statement, "body", ())
    if isinstance(statement, (Rule, Choice, Cost)) and len(body) > 1:
        for n, literal in enumerate(body):
            if (
                isinstance(literal, Atom)
                and literal.predicate.arity == 1
                and literal.binds
                and not literal.sign
            ):
                continue  # the type of a thing is said for clarity, and other literals imply it
            found.append(replace(statement, body=body[:n] + body[n + 1 :]))
    for n, literal in enumerate(body):
        if isinstance(literal, (Aggregate, Every)) and len(literal.conditions) > 1:
            for m in range(len(literal.conditions)):
                conditions = literal.conditions[:m] + literal.conditions[m + 1 :]
                changed = replace(literal, conditions=conditions)
                found.append(replace(statement, body=(*body[:n], changed, *body[n + 1 :])))
    return found


# --- schema and facts ---


def draw_schema(domain: Domain, rng: Random, level: int) -> Schema:
    """Some types, relations, attributes and properties of a domain, a few of them with a time or a number."""
    types = [Predicate(name, (name,), "there is {0}", "there is no {0}") for name in domain.types]
    relations = rng.sample(domain.relations, min(len(domain.relations), rng.randint(2, 3 + (level > 2))))
    timed = level >= 4 and rng.random() < 0.5
    extended = []
    for relation in relations:
        draw = rng.random()
        if level >= 2 and draw < 0.22:
            relation = with_number(relation)
        elif timed and draw < 0.5:
            relation = with_time(relation, domain.time[0])
        if level >= 3 and draw > 0.93:
            relation = with_number(relation)
        extended.append(relation)
    attributes = rng.sample(domain.attributes, min(len(domain.attributes), rng.randint(1, 2 + (level > 3))))
    properties = rng.sample(domain.properties, rng.randint(1, len(domain.properties)))
    facts = [*types, *extended, *(predicate for predicate, _ in attributes), *properties]
    if any("time" in predicate.args for predicate in extended):
        facts.append(Predicate(domain.time[0], ("time",), "there is {0}", "there is no {0}"))
    return Schema(domain, facts, ranges={predicate.name: values for predicate, values in attributes})


def draw_facts(schema: Schema, rng: Random) -> str:
    """Random facts for every predicate that the facts give."""
    names = {
        type_: rng.sample(constants, rng.randint(2, min(3, len(constants))))
        for type_, (_, constants) in schema.domain.types.items()
    }
    lines = []
    for predicate in schema.facts:
        atoms = _atoms(predicate, schema, names, rng)
        if atoms:
            lines.append(" ".join(f"{predicate.name}({','.join(args)})." for args in atoms))
    return "\n".join(lines) + "\n"


def _atoms(
    predicate: Predicate, schema: Schema, names: dict[str, list[str]], rng: Random
) -> list[tuple[str, ...]]:
    if predicate.args[0] == "time":
        return [("1..3",)]
    if predicate.args in {(type_,) for type_ in names} and predicate.name == predicate.args[0]:
        return [(name,) for name in names[predicate.args[0]]]
    if predicate.name in schema.ranges:
        low, high = schema.ranges[predicate.name]
        return [(name, str(rng.randint(low, high))) for name in names[predicate.args[0]]]
    rows: list[tuple[str, ...]] = [()]
    for type_ in predicate.args:
        values = {"time": ["1", "2", "3"], "number": None}.get(type_, names.get(type_))
        rows = [(*row, value) for row in rows for value in (values or [str(rng.randint(1, 4))])]
    rows = [
        row
        for row in rows
        if len(set(row)) == len(row) or "number" in predicate.args or "time" in predicate.args
    ]
    chosen = [row for row in rows if rng.random() < (0.45 if len(rows) < 10 else 0.3)]
    return chosen or ([rng.choice(rows)] if rows else [])
