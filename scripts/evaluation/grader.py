"""The grader: compares answers of a model with the gold program of a problem, on all its instances.

A step is graded in the place of the gold step: does it parse, does it ground, are all answer sets (of the
shown atoms, with their costs) of all instances those of the gold program? An answer that meets a limit of
the solver is never equivalent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from scripts.asp.comparison import Comparison, Relation, compare
from scripts.asp.constructs import constructs
from scripts.asp.feedback import context_of
from scripts.asp.solver import Outcome, Solver, Verdict
from scripts.data.gold import gold_outcomes, on_instance, solve_gold, solve_requests, variant_of
from scripts.data.left_out import LeftOut, left_out, nothing_left
from scripts.data.problems import Problem
from scripts.evaluation.items import Item, judgement
from scripts.evaluation.settings import Part
from scripts.inference.attempts import NO_CODE, Attempt, has_code, is_satisfiable
from scripts.inference.requests import StepRequest, Task

NO_ANSWER_SET = "no instance has an answer set"
NO_INSTANCE = "no instance tests this step"


class Grader:
    """Grades answers to the steps of one problem.

    Attributes:
        problem: The problem.
        solver: The solver of all checks.
        steps: The steps of the encoding that have an instruction.
        variant: Instructions and codes of the steps, and the given code.
        facts: The instance in whose context steps are checked.
        task: The problem as a task for a model.
    """

    def __init__(self, problem: Problem, solver: Solver, gold: Sequence[Outcome] | None = None):
        self.problem = problem
        self.solver = solver
        self.steps = problem.encoding.instructed
        self.variant = variant_of(problem)
        _, self.facts = problem.example
        instructions = tuple(step.instruction for step in self.steps)
        self.task = Task(problem.description, instructions, self.facts, self.variant.given)
        self._codes = [step.code for step in self.steps]
        if gold is not None:
            self.gold = list(gold)  # in place of the cached property
        self._comparisons = {self.variant.program: Comparison(Relation.EQUAL, Verdict.OK)}

    @cached_property
    def gold(self) -> list[Outcome]:
        """The outcome of the gold program on each instance. UserError if not all answer sets are found."""
        return gold_outcomes(self.problem, self.solver)

    @cached_property
    def untested_steps(self) -> frozenset[int]:
        """The steps that no instance tests: without one of them all answer sets stay the same.

        Nearly every answer to such a step would be equivalent.
        """
        programs = [self.program_with(index, "") for index in range(len(self.steps))]
        compare_programs((self, program) for program in programs)
        return frozenset(
            index
            for index, program in enumerate(programs)
            if self._comparisons[program].relation is Relation.EQUAL
        )

    def why_untested(self, index: int | None = None) -> str:
        """Why answers to step `index`, or whole programs, do not count in a rate; "" if they do."""
        if not any(outcome.answer_sets for outcome in self.gold):
            return NO_ANSWER_SET
        return NO_INSTANCE if index is not None and index in self.untested_steps else ""

    def requests(self) -> list[StepRequest]:
        """A request for each step, after the gold steps before it."""
        return [
            self.task.next_step(index, self.variant.steps[:index], self._codes[:index])
            for index in range(len(self.steps))
        ]

    def loop_requests(self) -> list[StepRequest]:
        """The same, with `solve` where the step must leave an answer set.

        It must if the problem has facts and the context has an answer set.
        """
        requests = self.requests()
        if not self.facts.strip():
            return requests
        found = is_satisfiable([request.context for request in requests], self.solver)
        return [
            replace(request, solve=satisfiable is True)
            for request, satisfiable in zip(requests, found, strict=True)
        ]

    def context(self, index: int) -> str:
        """The program text before step `index`: facts, given code and the gold steps before it."""
        return self.task.context(self._codes[:index])

    def contexts(self, index: int) -> list[str]:
        """The same text with the facts of each instance."""
        instances = self.problem.instances.values()
        return [context_of(facts, self.variant.given, self._codes[:index]) for facts in instances]

    def program_with(self, index: int, code: str) -> str:
        """The gold program with `code` in place of step `index`."""
        return context_of("", self.variant.given, [*self._codes[:index], code, *self._codes[index + 1 :]])

    def compare(self, program: str) -> Comparison:
        """The comparison of a program with the gold program. Each program is solved once."""
        compare_programs([(self, program)])
        return self._comparisons[program]

    def step_item(self, part: Part, index: int, prompt: str, attempt: Attempt, tries: int = 1) -> Item:
        """The item for an attempt at step `index` that was checked in the context of the gold steps before
        it.
        """
        step = self.steps[index]
        outcome, comparison = self._grade_step(index, attempt)
        found = set().union(*(constructs(statement) for statement in step.statements))
        return Item(
            part=part,
            problem=self.problem.id,
            family=self.problem.family,
            prompt=prompt,
            output=attempt.output,
            code=attempt.code,
            gold=step.code,
            index=index,
            fenced=attempt.fenced,
            constructs=tuple(sorted(found)),
            tries=tries,
            untested=self.why_untested(index),
            **judgement(outcome, comparison),
        )

    def _grade_step(self, index: int, attempt: Attempt) -> tuple[Outcome, Comparison]:
        if not has_code(attempt.code):
            return _NO_CODE
        outcome = attempt.outcome
        if not outcome.passes:
            return outcome, Comparison(Relation.DIFFERENT, outcome.verdict, outcome.message)
        return outcome, self.compare(self.program_with(index, attempt.code))

    def program_item(self, part: Part, text: str, tries: int, outcome: Outcome | None = None) -> Item:
        """The item for a whole program. `outcome` is that of the program on one instance, if it is known."""
        if has_code(text):
            outcome = outcome or self.solver.check(self.instance_program(text))
            comparison = self.compare(text)
        else:
            outcome, comparison = _NO_CODE
        return Item(
            part=part,
            problem=self.problem.id,
            family=self.problem.family,
            prompt=self.problem.description,
            output=text,
            code=text,
            gold=self.variant.program,
            tries=tries,
            untested=self.why_untested(),
            **judgement(outcome, comparison),
        )

    def instance_program(self, program: str) -> str:
        """A whole program together with the facts of one instance."""
        return on_instance(self.facts, program)

    def add_comparison(self, program: str, outcomes: Sequence[Outcome]) -> None:
        """Store the comparison of `program`, from its outcome on each instance."""
        self._comparisons[program] = compare(self.gold, outcomes)

    def is_compared(self, program: str) -> bool:
        """Whether the comparison of `program` is stored."""
        return program in self._comparisons


@dataclass(frozen=True)
class Answer:
    """An attempt at a step of a problem, for `step_items`.

    Attributes:
        grader: The grader of the problem.
        index: The number of the step.
        prompt: What the item shows as its prompt.
        attempt: The attempt, checked in the context of the gold steps before it.
        tries: The number of answers that it took.
    """

    grader: Grader
    index: int
    prompt: str
    attempt: Attempt
    tries: int = 1


def step_items(part: Part, answers: Sequence[Answer]) -> list[Item]:
    """The items for attempts at steps. All programs to compare are solved in one run."""
    compare_programs(
        (answer.grader, answer.grader.program_with(answer.index, answer.attempt.code))
        for answer in answers
        if has_code(answer.attempt.code) and answer.attempt.outcome.passes
    )
    return [
        answer.grader.step_item(part, answer.index, answer.prompt, answer.attempt, answer.tries)
        for answer in answers
    ]


def compare_programs(programs: Iterable[tuple[Grader, str]]) -> None:
    """Compare programs with the gold programs of their graders, in one run of the solver."""
    missing = [pair for pair in dict.fromkeys(programs) if not pair[0].is_compared(pair[1])]
    if not missing:
        return
    outcomes = missing[0][0].solver.run(
        request for grader, program in missing for request in solve_requests(grader.problem, program)
    )
    for grader, program in missing:
        grader.add_comparison(program, list(islice(outcomes, len(grader.problem.instances))))


def graders_of(problems: Sequence[Problem], solver: Solver) -> tuple[list[Grader], list[LeftOut]]:
    """A grader for each problem that can be used, and why the others are left out.

    Raises:
        UserError: No problem is left.
    """
    graders: list[Grader] = []
    entries: list[LeftOut] = []
    for problem in problems:
        gold = solve_gold(problem, solver)
        if gold.faults:
            entries += left_out(problem.id, gold.faults)
        else:
            graders.append(Grader(problem, solver, gold.outcomes))
    if not graders:
        raise nothing_left(entries, "no problem can be graded")
    return graders, entries


_NO_CODE = (
    Outcome(Verdict.SYNTAX, NO_CODE),
    Comparison(Relation.DIFFERENT, Verdict.SYNTAX, NO_CODE),
)
"""The result for an answer without code: it has no statement, so it does not parse."""
