"""Whole programs in one answer: the description and the output contract go in, a program comes out.

A program is graded on all instances, on the shown predicates alone: what else it shows, and its costs, do not
count. The answer sets to compare with are those of the gold program, or the expected ones beside an instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from clingo.ast import ASTType
from tqdm.auto import tqdm

from scripts.asp.comparison import Comparison, Relation, compare
from scripts.asp.encoding import Encoding
from scripts.asp.feedback import arity
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.asp.syntax import predicates
from scripts.data.gold import gold_outcomes, on_instance
from scripts.data.left_out import LeftOut, left_out, nothing_left
from scripts.data.problems import Problem
from scripts.evaluation.items import Item, judgement
from scripts.evaluation.settings import Part
from scripts.inference.attempts import NO_CODE, has_code
from scripts.inference.requests import TextGenerator, Unanswered
from scripts.lm import prompts
from utils_ft import UserError

PART = Part("whole")


@dataclass(frozen=True)
class WholeTask:
    """A problem as a task for a model that writes programs in one answer.

    Attributes:
        problem: The problem.
        contract: The predicates on which answer sets are compared, as `name/arity`.
        gold: The projected outcome for each instance, in the order of the instances.
    """

    problem: Problem
    contract: tuple[str, ...]
    gold: tuple[Outcome, ...]

    @property
    def prompt(self) -> list[prompts.Message]:
        """The prompt: description and output contract."""
        return prompts.program(self.problem.description, self.contract)

    def requests(self, program: str) -> list[Request]:
        """The requests to solve a program on each instance. It also shows what the contract names."""
        show = "".join(f"\n#show {name}." for name in self.contract)
        return [
            Request(on_instance(facts, f"{program}{show}"), solve=True)
            for facts in self.problem.instances.values()
        ]

    def item(self, output: str, outcomes: Sequence[Outcome]) -> Item:
        """The item for an answer, from the outcome of its program on each instance."""
        code, fenced = prompts.code_of(output)
        if has_code(code):
            comparison = compare(self.gold, [project(outcome, self.contract) for outcome in outcomes])
            rejected = (outcome for outcome in outcomes if not outcome.passes)
            outcome = next(rejected, outcomes[0])
        else:
            reason = output.reason if isinstance(output, Unanswered) else NO_CODE
            outcome = Outcome(Verdict.SYNTAX, reason)
            comparison = Comparison(Relation.DIFFERENT, Verdict.SYNTAX, reason)
        return Item(
            part=PART,
            problem=self.problem.id,
            family=self.problem.family,
            prompt=self.prompt[-1]["content"],
            output=output,
            code=code,
            gold=self.problem.encoding.program if self.problem.source else "",
            fenced=fenced,
            **judgement(outcome, comparison),
        )


def whole_tasks(problems: Sequence[Problem], solver: Solver) -> tuple[list[WholeTask], list[LeftOut]]:
    """A task for each problem that can be used, and why the others are left out.

    Raises:
        UserError: No problem is left.
    """
    tasks: list[WholeTask] = []
    entries: list[LeftOut] = []
    for problem in problems:
        try:
            tasks.append(whole_task(problem, solver))
        except UserError as fault:
            entries += left_out(problem.id, [fault])
    if not tasks:
        raise nothing_left(entries, "no problem can be scored as a program in one answer")
    return tasks, entries


def whole_task(problem: Problem, solver: Solver) -> WholeTask:
    """The task of a problem.

    Raises:
        UserError: It has no instance, or the answer sets to compare with are not all known.
    """
    if list(problem.instances) == [""]:
        raise UserError(
            "the problem has no instances",
            where=problem.folder / "instances",
            remedy="add NAME.lp with facts; without an encoding.lp also the expected answer sets, NAME.json",
        )
    if problem.expected:
        if missing := [name for name in problem.instances if name not in problem.expected]:
            raise UserError(
                "the instance has no expected answer sets, though others have",
                where=problem.folder / "instances" / f"{missing[0]}.lp",
                remedy=f"write them into {missing[0]}.json",
            )
        found = [problem.expected[name] for name in problem.instances]
        contract = tuple(sorted({name for one in found for name in one.shown}))
        return WholeTask(problem, contract, tuple(_outcome(one.answer_sets) for one in found))
    outcomes = gold_outcomes(problem, solver)
    contract = tuple(sorted(contract_of(problem.encoding)))
    return WholeTask(problem, contract, tuple(project(outcome, contract) for outcome in outcomes))


def contract_of(encoding: Encoding) -> set[str]:
    """The predicates that a program shows, as `name/arity`: those of `#show`, or else those of its rules."""
    statements = [statement for step in encoding.steps for statement in step.statements]
    trees = [tree for statement in statements for tree in statement.trees]
    shown = {
        f"{'' if tree.positive else '-'}{tree.name}/{tree.arity}"
        for tree in trees
        if tree.ast_type == ASTType.ShowSignature and tree.name
    }
    terms = [tree.term for tree in trees if tree.ast_type == ASTType.ShowTerm]
    shown |= {f"{term.name}/{len(term.arguments)}" for term in terms if term.ast_type == ASTType.Function}
    if shown:
        return shown
    return {f"{name}/{number}" for statement in statements for name, number in predicates(statement)}


def project(outcome: Outcome, contract: Sequence[str]) -> Outcome:
    """The outcome with the atoms of these predicates alone, and without costs."""
    if outcome.answer_sets is None:
        return outcome
    found = {atom for atoms, _ in outcome.answer_sets for atom in atoms}
    counted = {atom for atom in found if _signature(atom) in contract}
    # An atom that a program shows as a term as well is listed twice.
    projected = {tuple(sorted(counted.intersection(atoms))) for atoms, _ in outcome.answer_sets}
    return replace(outcome, answer_sets=frozenset((atoms, ()) for atoms in projected))


def _signature(atom: str) -> str:
    """The predicate of a shown atom, as `name/arity`."""
    name, bracket, _ = atom.partition("(")
    return f"{name}/{arity(atom[len(name) :]) if bracket else 0}"


def _outcome(answer_sets: frozenset[tuple[str, ...]]) -> Outcome:
    verdict = Verdict.OK if answer_sets else Verdict.UNSATISFIABLE
    return Outcome(verdict, answer_sets=frozenset((atoms, ()) for atoms in answer_sets))


def score_whole_programs(generator: TextGenerator, tasks: Sequence[WholeTask], solver: Solver) -> list[Item]:
    """The program that the model writes for each task, graded on all instances."""
    with tqdm(total=len(tasks), desc="whole programs", unit="program", disable=None) as bar:
        outputs = generator.generate([task.prompt for task in tasks], bar.update)
    outcomes = solver.run(
        request
        for task, output in zip(tasks, outputs, strict=True)
        for request in task.requests(prompts.code_of(output)[0])
    )
    return [
        task.item(output, list(islice(outcomes, len(task.problem.instances))))
        for task, output in zip(tasks, outputs, strict=True)
    ]
