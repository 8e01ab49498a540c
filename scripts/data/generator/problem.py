"""A generated problem: a world, instances, and a program whose every rule the solver finds to matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.data.generator.description import describe
from scripts.data.generator.domains import load_domains
from scripts.data.generator.filling import Filled, Filling, head_atoms
from scripts.data.generator.rules import Const, Define, Show, Statement, atoms, nodes
from scripts.data.generator.templates import GENERATED, LENGTHS, Template, read_template, templates_by_level
from scripts.data.generator.variable_types import Misfit
from scripts.data.generator.variants import repeats, simpler
from scripts.data.generator.wording import Speaker
from scripts.data.generator.world import World
from utils_ft import BENCHMARKS, content_hash, new_folder, write_text

LEVELS = range(1, 6)
SETS = 160  # answer sets of an instance, at most
SECONDS = 1.0  # processor time for one program; only programs without end need more
INSTANCES = {1: 3, 2: 3, 3: 2, 4: 2, 5: 2}
ATTEMPTS = 60
SLICE = 1.6  # templates for each rule that is wanted


class NothingFits(Exception):
    """No problem came out of an item."""


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
        roots: The folders whose training problems give a part of the templates.

    Raises:
        NothingFits: No problem came out of any attempt.
    """
    return grow(seed, index, level, solver, roots).finished(f"p{seed}_{index:05d}_{level}")


def grow(
    seed: int, index: int, level: int, solver: Solver, roots: tuple[Path, ...] = (BENCHMARKS,)
) -> Program:
    """The program of a problem, with its trees. Arguments and errors as `generate`."""
    for attempt in range(ATTEMPTS):
        rng = Random(content_hash("generated problem", str(seed), str(index), str(level), str(attempt)))
        templates = templates_by_level(roots, seed)[level]
        size = int(SLICE * sum(LENGTHS[level]) / 2)
        own = [templates[(index * size + n) % len(templates)] for n in range(size)]
        program = Program(rng, level, solver, own, templates)
        if program.grow():
            return program
    raise NothingFits(f"no problem of level {level} came out of seed {seed}, index {index}")


class Program:
    """Grows one program, statement by statement; each is kept only where the solver finds it to matter.

    Attributes:
        own: The templates that are this problem's.
        spare: Templates to draw from where the own ones do not suffice.
        world: The predicates and the instances.
        statements, types, said: The statements, the types of the variables of each, and their instructions.
        outcomes: The answer sets of the program on each instance.
    """

    def __init__(self, rng: Random, level: int, solver: Solver, own: Sequence[str], spare: Sequence[str]):
        self.rng, self.level, self.solver = rng, level, solver
        self.own = [template for code in own if (template := read_template(code)) is not None]
        self.spare = spare
        self.world = World(rng.choice(load_domains()), rng, INSTANCES[level])
        self.speaker = Speaker(self.world, rng)
        self.statements: list[Statement] = []
        self.types: list[dict[str, str]] = []
        self.said: list[str] = []
        self.outcomes: list[Outcome] = []

    def grow(self) -> bool:
        """Find statements; whether there are enough that all matter."""
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
            return False
        self._show()
        if not self._all_matter(low):
            return False
        self.world.keep_used({atom.name for statement in self.statements for atom in atoms(statement)})
        return True

    def finished(self, name: str) -> Generated:
        """The problem."""
        steps = tuple(zip(self.said, (statement.code() for statement in self.statements), strict=True))
        instances = {f"case_{n + 1}": self.world.code(n) for n in range(len(self.world.instances))}
        family = f"{GENERATED}{self.world.domain.name}"
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

    def _unchanged(
        self, programs: Sequence[Sequence[Statement]], outcomes: Sequence[Outcome], first: bool
    ) -> list[int]:
        """The positions of those `programs` that have the `outcomes` on all instances.

        With `first`, the search ends with the first few of them.
        """
        left = list(range(len(programs)))
        texts = [self._programs(statements) for statements in programs]
        size = 4 if first else max(len(left), 1)
        found: list[int] = []
        for start in range(0, len(left), size):
            part = left[start : start + size]
            for instance, outcome in enumerate(outcomes):
                solved = self._run([texts[n][instance] for n in part])
                part = [
                    n
                    for n, one in zip(part, solved, strict=True)
                    if one.passes and one.answer_sets == outcome.answer_sets
                ]
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
        if any(repeats(statement, self.statements) for statement in filled.statements):
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
        self.types += filled.types
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
            self.types.append({})
            self.said.append(self.speaker.instruction(show, {}, []))
        self.outcomes = self._solve(self.statements)

    def _all_matter(self, low: int) -> bool:
        """Drop `#show` where it hides what others change; then drop what changes nothing."""
        for hidden in (True, False):
            idle = self._idle()
            if not idle:
                return len(self.statements) >= low
            if hidden and any(isinstance(s, Show) and isinstance(s.term, tuple) for s in self.statements):
                idle = {
                    n
                    for n, s in enumerate(self.statements)
                    if isinstance(s, Show) and isinstance(s.term, tuple)
                }
            self._drop(idle)
        for _ in range(3):
            if not (idle := self._idle()):
                break
            self._drop(idle)
        return not self._idle() and len(self.statements) >= low and all(o.answer_sets for o in self.outcomes)

    def _drop(self, idle: set[int]) -> None:
        self.statements = [s for n, s in enumerate(self.statements) if n not in idle]
        self.types = [t for n, t in enumerate(self.types) if n not in idle]
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
        constants = {one.name for one in self.statements if isinstance(one, Define)}
        missing = set(self.world.constants) - constants
        return [
            n
            for n, statement in enumerate(self.statements)
            if any((atom.name, "-" in atom.sign) not in defined for atom in atoms(statement))
            or any(isinstance(node, Const) and node.value in missing for node in nodes(statement))
        ]


def _same(first: Sequence[Outcome], second: Sequence[Outcome]) -> bool:
    return all(a.answer_sets == b.answer_sets for a, b in zip(first, second, strict=True))
