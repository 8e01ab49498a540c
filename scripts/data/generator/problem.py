"""A generated problem: a world, instances, and a program whose every rule the solver finds to matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.data.generator.description import describe
from scripts.data.generator.domains import load_domains
from scripts.data.generator.filling import Filled, Filling, Misfit, head_atoms
from scripts.data.generator.rules import (
    Aggregate,
    Cost,
    CostElement,
    Define,
    Every,
    Rule,
    Show,
    Statement,
    atoms,
)
from scripts.data.generator.templates import LENGTHS, Template, deck, read_template
from scripts.data.generator.wording import Speaker
from scripts.data.generator.world import World
from utils_ft import BENCHMARKS, content_hash, new_folder, write_text

LEVELS = range(1, 6)
SETS = 160  # answer sets of an instance, at most
SECONDS = 1.0  # processor time for one program; only programs without end need more
INSTANCES = {1: 3, 2: 3, 3: 2, 4: 2, 5: 2}
SLICE = 1.6  # templates of the deck for each rule that is wanted


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
        """The program, each statement below its instruction."""
        return "\n".join(f"% {instruction}\n{code}\n" for instruction, code in self.steps)

    def write(self, folder: Path) -> Path:
        """Write the problem below `folder`, whole or not at all. Return its folder."""
        target = folder / self.family / self.name
        with new_folder(target) as draft:
            write_text(draft / "problem.md", self.description)
            write_text(draft / "encoding.lp", self.encoding)
            for name, facts in self.instances.items():
                write_text(draft / "instances" / f"{name}.lp", facts)
        return target


def generate(
    seed: int, index: int, level: int, solver: Solver, roots: tuple[Path, ...] = (BENCHMARKS,)
) -> Generated:
    """Problem `index` of `seed`: always the same, whatever else is generated.

    Arguments:
        seed: Decides all random choices.
        index: The number of the problem, from 0.
        level: From 1 (short programs of simple rules) to 5.
        solver: Verifies the rules.
        roots: The folders whose training problems give the templates.

    Raises:
        RuntimeError: No problem came out.
    """
    for attempt in range(12):
        rng = Random(content_hash("generated problem", str(seed), str(index), str(level), str(attempt)))
        pile = deck(roots, seed)[level]
        size = int(SLICE * sum(LENGTHS[level]) / 2)
        own = [pile[(index * size + n) % len(pile)] for n in range(size)]
        if (problem := _Program(rng, level, solver, own, pile).build(f"p{seed}_{index:05d}_{level}")) is not None:
            return problem
    raise RuntimeError(f"no problem of level {level} came out of seed {seed}, index {index}")


class _Program:
    """Grows one program, statement by statement; each is kept only where the solver finds it to matter.

    Attributes:
        own: The templates of the deck that are this problem's.
        spare: Templates to draw from where the own ones do not suffice.
    """

    def __init__(self, rng: Random, level: int, solver: Solver, own: Sequence[str], spare: Sequence[str]):
        self.rng, self.level, self.solver = rng, level, solver
        self.own = [template for code in own if (template := read_template(code)) is not None]
        self.spare = spare
        self.world = World(rng.choice(load_domains()), rng, INSTANCES[level])
        self.speaker = Speaker(self.world, rng)
        self.statements: list[Statement] = []
        self.said: list[str] = []
        self.outcomes: list[Outcome] = []

    def build(self, name: str) -> Generated | None:
        """The problem, or None where too few statements were found."""
        low, high = LENGTHS[self.level]
        wanted = self.rng.randint(low, high)
        self.outcomes = self._solve(())
        own = list(self.own)
        for turn in range(5 * wanted):
            if len(self.statements) >= wanted:
                break
            template = self._next(own, wanted, turn)
            if template is None:
                continue
            for _ in range(3):
                if self._try(template):
                    break
        if len(self.statements) < low or not self.world.decided:
            return None
        self._show()
        if not self._all_matter(low):
            return None
        self.world.keep_used({atom.name for statement in self.statements for atom in atoms(statement)})
        steps = tuple(zip(self.said, (statement.code() for statement in self.statements), strict=True))
        instances = {f"case_{n + 1}": self.world.code(n) for n in range(len(self.world.instances))}
        family = f"generated_{self.world.domain.name}"
        return Generated(name, family, describe(self.world, self.statements), steps, instances)

    def _next(self, own: list[Template], wanted: int, turn: int) -> Template | None:
        """The next template to try: a choice first, costs and output late."""
        done = len(self.statements)
        if not self.world.decided:
            kinds = {"choice"} if done >= 2 or self.rng.random() < 0.7 else {"definition", "choice"}
        elif done < 0.35 * wanted:
            kinds = {"choice", "definition"}
        elif done < 0.6 * wanted:
            kinds = {"choice", "definition", "constraint"}
        else:
            kinds = {"choice", "definition", "constraint", "cost", "show"}
        for position, template in enumerate(own):
            if template.kind in kinds:
                del own[position]
                if turn < 2 * wanted:
                    own.append(template)  # once more later, where it does not fit now
                return template
        template = read_template(self.rng.choice(self.spare))
        return template if template is not None and template.kind in kinds else None

    # --- verification ---

    def _programs(self, statements: Sequence[Statement]) -> list[str]:
        code = "\n".join(statement.code() for statement in statements)
        return [f"{self.world.code(n)}\n{code}\n" for n in range(len(self.world.instances))]

    def _run(self, programs: Sequence[str]) -> list[Outcome]:
        requests = (Request(p, solve=True, answer_sets=SETS, cpu_seconds=SECONDS) for p in programs)
        return list(self.solver.run(requests))

    def _solve(self, statements: Sequence[Statement]) -> list[Outcome]:
        """The outcomes of a program on all instances."""
        return self._run(self._programs(statements))

    def _unchanged(self, programs: Sequence[Sequence[Statement]], outcomes: Sequence[Outcome], first: bool) -> list[int]:
        """The positions of those `programs` that have the `outcomes` on all instances; with `first`, at most one."""
        left = list(range(len(programs)))
        texts = [self._programs(statements) for statements in programs]
        size = 4 if first else max(len(left), 1)
        found: list[int] = []
        for start in range(0, len(left), size):
            part = left[start : start + size]
            for instance, outcome in enumerate(outcomes):
                solved = self._run([texts[n][instance] for n in part])
                part = [n for n, one in zip(part, solved, strict=True) if one.passes and one.answer_sets == outcome.answer_sets]
            found += part
            if first and found:
                break
        return found

    def _try(self, template: Template) -> bool:
        """Append a template's statements where they fit and matter."""
        try:
            filled = Filling(template.statements, self.world, self.rng).run()
        except Misfit:
            return False
        present = {statement.code() for statement in self.statements}
        if any(statement.code() in present for statement in filled.statements):
            return False
        if any(_repeats(statement, self.statements) for statement in filled.statements):
            return False
        for predicate in filled.facts:
            self.world.add_facts(predicate)
        if self._matters(filled):
            self._keep(filled)
            return True
        for predicate in filled.facts:
            self.world.remove_facts(predicate)
        return False

    def _matters(self, filled: Filled) -> bool:
        """Whether the statements, and each literal of their bodies, change some answer set."""
        before = self._solve(self.statements) if filled.facts else self.outcomes
        program = [*self.statements, *filled.statements]
        outcomes = self._solve(program)
        if any(one.answer_sets is None or one.verdict is Verdict.UNSATISFIABLE for one in outcomes):
            return False
        if _same(outcomes, before):
            return False
        variants = []
        for position, statement in enumerate(filled.statements):
            others = filled.statements[:position], filled.statements[position + 1 :]
            if len(filled.statements) > 1:
                variants.append([*self.statements, *others[0], *others[1]])
            for variant in simpler(statement):
                variants.append([*self.statements, *others[0], variant, *others[1]])
        if self._unchanged(variants, outcomes, first=True):
            return False
        sentences = []
        for statement, types in zip(filled.statements, filled.types, strict=True):
            known = [*filled.facts, *(predicate for predicate, _ in filled.defined)]
            sentences.append(self.speaker.instruction(statement, types, known))
        if None in sentences or set(sentences) & set(self.said):
            return False
        self.said += sentences
        self.outcomes = outcomes
        return True

    def _keep(self, filled: Filled) -> None:
        world = self.world
        world.constants |= filled.constants
        self.statements += filled.statements
        for predicate, decided in filled.defined:
            (world.decided if decided else world.derived).append(predicate)
        for statement in filled.statements:
            world.used.update({atom.name for atom in atoms(statement)})
            for atom in head_atoms(statement)[0]:
                if atom.sign == "-":
                    new = atom.name in {predicate.name for predicate, _ in filled.defined}
                    world.only_strong |= {atom.name} if new and atom.name not in world.strong else set()
                    world.strong.add(atom.name)
            world.only_strong -= {atom.name for atom in head_atoms(statement)[0] if atom.sign == ""}

    def _show(self) -> None:
        """`#show` statements at the end of half of the programs."""
        if self.rng.random() < 0.5:
            return
        targets = self.world.open
        chosen = self.rng.sample(targets, min(len(targets), self.rng.choice((1, 2, 2, 3))))
        for predicate in chosen:
            show = Show((predicate.name, predicate.arity))
            self.statements.append(show)
            self.said.append(self.speaker.instruction(show, {}, []))
        self.outcomes = self._solve(self.statements)

    def _all_matter(self, low: int) -> bool:
        """Drop `#show` where it hides what others change; then drop what changes nothing."""
        for hidden in (True, False):
            idle = self._idle()
            if not idle:
                return len(self.statements) >= low
            if hidden and any(isinstance(s, Show) and isinstance(s.term, tuple) for s in self.statements):
                idle = {n for n, s in enumerate(self.statements) if isinstance(s, Show) and isinstance(s.term, tuple)}
            self._drop(idle)
        for _ in range(3):
            if not (idle := self._idle()):
                break
            self._drop(idle)
        return not self._idle() and len(self.statements) >= low and all(o.answer_sets for o in self.outcomes)

    def _drop(self, idle: set[int]) -> None:
        self.statements = [s for n, s in enumerate(self.statements) if n not in idle]
        self.said = [s for n, s in enumerate(self.said) if n not in idle]
        self.outcomes = self._solve(self.statements)

    def _idle(self) -> set[int]:
        """The positions of the statements without which nothing changes, or that use what nothing defines."""
        rests = [[s for m, s in enumerate(self.statements) if m != n] for n in range(len(self.statements))]
        return {*self._unchanged(rests, self.outcomes, first=False), *self._undefined()}

    def _undefined(self) -> list[int]:
        heads = [atom for statement in self.statements for atom in head_atoms(statement)[0]]
        defined = {(atom.name, "-" in atom.sign) for atom in heads}
        defined |= {(predicate.name, False) for predicate in self.world.facts}
        return [
            n
            for n, statement in enumerate(self.statements)
            if any((atom.name, "-" in atom.sign) not in defined for atom in atoms(statement))
        ]


def _repeats(statement: Statement, others: Sequence[Statement]) -> bool:
    """Whether another rule has the same body and derives as much."""
    body = getattr(statement, "body", ())
    return bool(body) and any(
        getattr(other, "body", None) == body and bool(other.head) == bool(statement.head)
        for other in others
        if isinstance(other, Rule) and isinstance(statement, Rule)
    )


def _same(first: Sequence[Outcome], second: Sequence[Outcome]) -> bool:
    return all(a.answer_sets == b.answer_sets for a, b in zip(first, second, strict=True))


def simpler(statement: Statement) -> list[Statement]:
    """The statement without each literal or condition in turn: what it could be mistaken for."""
    if isinstance(statement, Rule):
        found: list[Statement] = [replace(statement, body=body) for body in shorter(statement.body)]
        if isinstance(statement.head, Aggregate):
            found += [replace(statement, head=head) for head in _simpler_aggregates(statement.head)]
        return found
    if isinstance(statement, Cost):
        found = []
        for n, element in enumerate(statement.elements):
            for body in shorter(element.body):
                changed: CostElement = replace(element, body=body)
                found.append(
                    replace(statement, elements=(*statement.elements[:n], changed, *statement.elements[n + 1 :]))
                )
        return found
    if isinstance(statement, Show) and statement.body:
        return [replace(statement, body=body) for body in shorter(statement.body)]
    return []


def shorter(body: tuple) -> list[tuple]:
    """A body without each of its literals, and without each condition inside them."""
    found = [body[:n] + body[n + 1 :] for n in range(len(body)) if len(body) > 1]
    for n, literal in enumerate(body):
        if isinstance(literal, Every) and len(literal.conditions) > 1:
            changed = [replace(literal, conditions=one) for one in shorter(literal.conditions)]
        elif isinstance(literal, Aggregate):
            changed = _simpler_aggregates(literal)
        else:
            continue
        found += [(*body[:n], one, *body[n + 1 :]) for one in changed]
    return found


def _simpler_aggregates(aggregate: Aggregate) -> list[Aggregate]:
    """An aggregate without each of its elements and conditions."""
    found = []
    elements = aggregate.elements
    for n, element in enumerate(elements):
        if len(elements) > 1:
            found.append(replace(aggregate, elements=elements[:n] + elements[n + 1 :]))
        if len(element.conditions) > 1 or element.atom and element.conditions:
            shorts = shorter(element.conditions) if len(element.conditions) > 1 else []
            for conditions in shorts:
                changed = replace(element, conditions=conditions)
                found.append(replace(aggregate, elements=(*elements[:n], changed, *elements[n + 1 :])))
    return found


__all__ = ["LEVELS", "Define", "Generated", "generate"]
