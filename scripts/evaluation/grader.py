"""The solver as judge: what a model wrote, compared with the gold program of a problem on all its instances.

A step is judged in the place of the gold step: does it parse, does it ground, are ALL answer sets (projected, with
costs) of ALL instances those of the gold program? A limit that is met is a verdict of its own and never equality.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from scripts.asp.comparison import Comparison, Relation, compare
from scripts.asp.constructs import constructs
from scripts.asp.feedback import context_of
from scripts.asp.solver import Outcome, Solver, Verdict
from scripts.data.gold import given_stands_first, gold_outcomes, solve, variant_of
from scripts.data.problems import Problem
from scripts.inference.attempts import NO_CODE, has_code, is_satisfiable
from scripts.inference.requests import StepRequest
from scripts.lm import prompts
from utils_ft import UserError, show_path


@dataclass(frozen=True)
class Item:
    """One thing that was asked of the model and what became of it; `verdict` is `equal` or why not.

    `fenced`: a Markdown fence was stripped from the output, the one thing that is cleaned. `tries` counts the answers.
    """

    part: str
    problem: str
    family: str
    prompt: str
    output: str
    code: str
    gold: str
    verdict: str
    evidence: str
    parse: bool
    ground: bool
    equivalent: bool
    index: int = 0
    fenced: bool = False
    constructs: tuple[str, ...] = ()
    tries: int = 1


class Grader:
    """Compares code with the gold program of one problem, on all its instances."""

    def __init__(self, problem: Problem, solver: Solver):
        self.problem, self.solver = problem, solver
        self.steps = problem.encoding.instructed
        self.variant = variant_of(problem)
        self._compared = {self.variant.program: Comparison(Relation.EQUAL, Verdict.OK)}
        _, self.facts = problem.example

    @cached_property
    def gold(self) -> list[Outcome]:
        """The gold program's answer sets, one outcome an instance. UserError where the solver does not find them all."""
        return gold_outcomes(self.problem, self.solver)

    def _compare(self, program: str) -> Comparison:
        """How a program compares with the gold program; each text is solved once."""
        if program not in self._compared:
            self._compared[program] = compare(self.gold, solve(self.problem, program, self.solver))
        return self._compared[program]

    def requests(self) -> Iterator[StepRequest]:
        """Each step to be written, with the gold history before it."""
        description = prompts.describe(self.problem.description, self.variant.given)
        codes = [step.code for step in self.steps]
        for index, step in enumerate(self.steps):
            messages = [
                *prompts.conversation(description, self.variant.steps[:index]),
                prompts.step(step.instruction),
            ]
            yield StepRequest(
                messages, step.instruction, context_of(self.facts, self.variant.given, codes[:index])
            )

    def loop_requests(self) -> list[StepRequest]:
        """The same with `solve` where a step must leave an answer set.

        Without facts nothing need follow; a context that has no answer set, or none that was found in time, cannot lose it.
        """
        requests = list(self.requests())
        found = (
            is_satisfiable([ask.context for ask in requests], self.solver)
            if self.facts.strip()
            else [None] * len(requests)
        )
        return [
            replace(ask, solve=satisfiable is True) for ask, satisfiable in zip(requests, found, strict=True)
        ]

    def step(self, index: int, code: str) -> tuple[Outcome, Comparison]:
        """What clingo says of `code` after the gold steps before `index`, and how the whole program with it compares."""
        if not has_code(code):
            return _nothing()
        codes = [step.code for step in self.steps]
        outcome = self.solver.check(context_of(self.facts, self.variant.given, codes[:index]) + code)
        if not outcome.passes:
            return outcome, Comparison(Relation.DIFFERENT, outcome.verdict, outcome.message)
        return outcome, self._compare(
            context_of("", self.variant.given, [*codes[:index], code, *codes[index + 1 :]])
        )

    def program(self, program: str) -> tuple[Outcome, Comparison]:
        """What clingo says of a whole program on one instance, and how it compares on all."""
        if not has_code(program):
            return _nothing()
        return self.solver.check(f"{self.facts}\n{program}"), self._compare(program)

    def step_item(self, part: str, index: int, prompt: str, output: str, attempts: int = 1) -> Item:
        """The item for an answer to step `index`."""
        step = self.steps[index]
        code, fenced = prompts.code_of(output)
        shown = set().union(*(constructs(statement) for statement in step.statements))
        item = self._item(part, prompt, output, code, step.code, *self.step(index, code))
        return replace(item, index=index, fenced=fenced, constructs=tuple(sorted(shown)), tries=attempts)

    def program_item(self, part: str, text: str, attempts: int) -> Item:
        """The item for a whole program."""
        item = self._item(
            part, self.problem.description, text, text, self.variant.program, *self.program(text)
        )
        return replace(item, tries=attempts)

    def _item(
        self,
        part: str,
        prompt: str,
        output: str,
        code: str,
        gold: str,
        outcome: Outcome,
        comparison: Comparison,
    ) -> Item:
        equal = comparison.relation is Relation.EQUAL
        return Item(
            part=part,
            problem=self.problem.id,
            family=self.problem.family,
            prompt=prompt,
            output=output,
            code=code,
            gold=gold,
            verdict=verdict(outcome, comparison),
            evidence="" if equal else comparison.evidence or outcome.message or str(comparison.verdict),
            parse=outcome.verdict not in (Verdict.SYNTAX, Verdict.REFUSED),
            ground=outcome.passes,
            equivalent=equal,
        )


def graders_of(problems: Sequence[Problem], solver: Solver) -> list[Grader]:
    """A judge for each problem that has a step to ask for. UserError for a gold program that cannot be compared with."""
    graders = []
    for grader in (Grader(problem, solver) for problem in problems):
        where = show_path(grader.problem.encoding_file)
        if not grader.steps:
            print(f"left out, no statement has an instruction: {where}", flush=True)
        elif not given_stands_first(grader.problem, grader.gold, solver):
            print(
                f"left out, its code without instructions cannot stand before the rest: {where}", flush=True
            )
        else:
            graders.append(grader)
    if not graders:
        raise UserError(
            "there is no step to ask for in these problems",
            remedy="write a comment above each rule that says what it does",
        )
    return graders


def _nothing() -> tuple[Outcome, Comparison]:
    """The judgement of an empty answer, or one that is only comments: no code is no statement, so it does not parse."""
    return Outcome(Verdict.SYNTAX, NO_CODE), Comparison(Relation.DIFFERENT, Verdict.SYNTAX, NO_CODE)


def verdict(outcome: Outcome, comparison: Comparison) -> str:
    """`equal`, or the one reason why not: of the check on its own, else of the comparison."""
    if comparison.relation is Relation.EQUAL:
        return "equal"
    if not outcome.passes:
        return str(outcome.verdict)
    if comparison.verdict not in (Verdict.OK, Verdict.UNSATISFIABLE):
        return "undecided" if comparison.verdict is Verdict.TOO_MANY else str(comparison.verdict)
    if comparison.relation is Relation.UNDECIDED:
        return "undecided"
    return "unsatisfiable" if comparison.verdict is Verdict.UNSATISFIABLE else "wrong"
