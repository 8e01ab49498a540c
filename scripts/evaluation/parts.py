"""The parts of an evaluation: a generator writes, the solver checks, the graders make items.

Each part runs in stages over all problems: requests, answers, attempts, items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from tqdm.auto import tqdm

from scripts.asp.comparison import Relation, compare
from scripts.asp.solver import Request, Solver
from scripts.asp.subject import keeps_subject
from scripts.data.renamed_problems import RenamedProblem
from scripts.data.repairs import RepairMaker
from scripts.evaluation.grader import Answer, Grader, compare_programs, step_items
from scripts.evaluation.items import Item, RepairItem
from scripts.evaluation.settings import Part
from scripts.inference.attempts import Attempt, check
from scripts.inference.programs import program_text, write_programs
from scripts.inference.repair_loop import write_steps
from scripts.inference.requests import StepRequest, TextGenerator
from scripts.lm import prompts
from utils_ft import content_hash

REPAIRS = 8
"""Repairs of one problem, at most."""


@dataclass(frozen=True)
class _Question:
    """A request for step `index` of a grader's problem."""

    grader: Grader
    index: int
    request: StepRequest


def score_steps(generator: TextGenerator, graders: Sequence[Grader]) -> list[Item]:
    """Every step of every problem, written once and greedily, after the gold steps before it."""
    questions = [
        _Question(grader, index, request)
        for grader in graders
        for index, request in enumerate(grader.requests())
    ]
    requests = [question.request for question in questions]
    attempts = check(requests, _generate(generator, requests, "steps", "step"), graders[0].solver)
    answers = [
        Answer(question.grader, question.index, question.request.instruction, attempt)
        for question, attempt in zip(questions, attempts, strict=True)
    ]
    return step_items(Part("steps"), answers)


def score_loop(
    generator: TextGenerator,
    graders: Sequence[Grader],
    parts: Sequence[Part],
    drafts: Sequence[str] = (),
) -> list[Item]:
    """The same steps with the repair loop, for each part.

    Args:
        generator: The model.
        graders: One for each problem.
        parts: Loops with the same number of samples. They share their attempts: the one with the largest k
            is run.
        drafts: The plain model's answers to all steps, if they are known.
    """
    questions = [
        _Question(grader, index, request)
        for grader in graders
        for index, request in enumerate(grader.loop_requests())
    ]
    requests = [question.request for question in questions]
    if drafts:
        requests = [replace(request, draft=text) for request, text in zip(requests, drafts, strict=True)]
    longest = max(parts, key=lambda part: part.k).loop
    with tqdm(total=len(requests), desc="steps in the loop", unit="step", disable=None) as bar:
        results = write_steps(generator, requests, longest, graders[0].solver, on_done=bar.update)
    items = []
    for part in parts:
        answers = [
            Answer(
                question.grader,
                question.index,
                question.request.instruction,
                result.after(part.k),
                tries=min(part.k + 1, len(result.attempts)),
            )
            for question, result in zip(questions, results, strict=True)
        ]
        items += step_items(part, answers)
    return items


@dataclass(frozen=True)
class _Repair:
    """A repair row as a question: the grader of its problem, the row's meta and its prompt.

    `shown` is the prompt of its independent turn, which the item has for both ways to ask.
    """

    grader: Grader
    meta: dict
    request: StepRequest
    shown: str


def score_repairs(
    generator: TextGenerator,
    graders: Sequence[Grader],
    seed: int = 0,
    limit: int = REPAIRS,
    prompt: str = "turn",
) -> list[Item]:
    """Repairs of corrupted gold steps, up to `limit` for each problem.

    They are made as the training rows are. `prompt` is one of `prompts.REPAIR_PROMPTS`; the repairs are the
    same for both.
    """
    solver = graders[0].solver
    repairs = [repair for grader in graders for repair in _repairs_of(grader, seed, limit, prompt)]
    requests = [repair.request for repair in repairs]
    attempts = check(requests, _generate(generator, requests, "repairs", "repair"), solver)
    answers = [
        Answer(repair.grader, repair.meta["step"], repair.shown, attempt)
        for repair, attempt in zip(repairs, _in_place(repairs, attempts, solver), strict=True)
    ]
    items = step_items(Part("repair"), answers)
    fixed = _are_fixed(repairs, attempts, solver)
    return [
        _repair_item(item, repair, attempt, is_fixed and (item.equivalent or _on_subject(repair, attempt)))
        for item, repair, attempt, is_fixed in zip(items, repairs, attempts, fixed, strict=True)
    ]


def _on_subject(repair: _Repair, attempt: Attempt) -> bool:
    """Whether an answer that is not equivalent still is about what the gold rule is about."""
    return keeps_subject(repair.meta["fixed"], attempt.code)


def _repairs_of(grader: Grader, seed: int, limit: int, prompt: str) -> Iterator[_Repair]:
    """Repairs of one problem, drawn with a random stream of its own."""
    rng = Random(content_hash("evaluate", str(seed), grader.problem.id))
    maker = RepairMaker(RenamedProblem(grader.problem), grader.solver)
    asked = grader.requests()
    for row in maker.rows(limit, rng):
        meta, messages = row["meta"], row["messages"][:-1]
        shown = messages[-1]["content"]
        if prompt == "conversation":
            conversation = asked[meta["step"]].messages
            messages = prompts.repair(meta["instruction"], meta["broken"], meta["error"], conversation)
        solve = meta["corruption"] == "unsatisfiable"
        yield _Repair(grader, meta, StepRequest(messages, meta["instruction"], meta["context"], solve), shown)


def _in_place(repairs: Sequence[_Repair], attempts: Sequence[Attempt], solver: Solver) -> list[Attempt]:
    """The attempts with their outcome in the grader's context.

    A repair may stand in the context of another instance.
    """
    contexts = [repair.grader.context(repair.meta["step"]) for repair in repairs]
    outcomes = solver.run(
        Request(context + attempt.code) for context, attempt in zip(contexts, attempts, strict=True)
    )
    return [replace(attempt, outcome=outcome) for attempt, outcome in zip(attempts, outcomes, strict=True)]


def _are_fixed(repairs: Sequence[_Repair], attempts: Sequence[Attempt], solver: Solver) -> list[bool]:
    """Whether the solver accepts each repair; if the answer sets were wrong, whether they are right now."""
    fixed = [attempt.accepted for attempt in attempts]
    differing = [
        place for place, repair in enumerate(repairs) if repair.meta["corruption"] == "answer sets differ"
    ]
    outcomes = solver.run(
        Request(repairs[place].meta["context"] + code, solve=True)
        for place in differing
        for code in (repairs[place].meta["fixed"], attempts[place].code)
    )
    for place in differing:
        same = compare([next(outcomes)], [next(outcomes)]).relation is Relation.EQUAL
        fixed[place] = fixed[place] and same
    return fixed


def _repair_item(item: Item, repair: _Repair, attempt: Attempt, is_fixed: bool) -> RepairItem:
    """The item of a repair. A repair that changes nothing is neither fixed nor equivalent."""
    changed = changes_code(repair.meta["broken"], attempt)
    return RepairItem(
        **vars(item) | {"equivalent": item.equivalent and changed},
        fixed=is_fixed and changed,
        corruption=repair.meta["corruption"],
    )


def changes_code(broken: str, attempt: Attempt) -> bool:
    """Whether an answer has another code than the broken one, or the same code without the fence around it.

    The fence is removed before an answer is checked, so an answer that still has it is not repaired.
    """
    code, fenced = prompts.code_of(broken)
    return attempt.code != code or (fenced and not attempt.fenced)


def score_programs(generator: TextGenerator, graders: Sequence[Grader], part: Part) -> list[Item]:
    """Whole programs, each step after the model's own steps before it.

    With the repair loop a step that failed is left out of the program, so nearly every program parses.
    """
    solver = graders[0].solver
    tasks = [grader.task for grader in graders]
    total = sum(len(task.instructions) for task in tasks)
    with tqdm(total=total, desc=part.name, unit="step", disable=None) as bar:
        programs = write_programs(generator, tasks, part.loop, solver, on_step=lambda *_: bar.update())
    texts = [
        program_text(task, steps, only_accepted=part.loop.uses_solver)
        for task, steps in zip(tasks, programs, strict=True)
    ]
    compare_programs(zip(graders, texts, strict=True))
    outcomes = solver.run(
        Request(grader.instance_program(text)) for grader, text in zip(graders, texts, strict=True)
    )
    return [
        grader.program_item(part, text, sum(len(step.attempts) for step in steps), outcome)
        for grader, text, steps, outcome in zip(graders, texts, programs, outcomes, strict=True)
    ]


def _generate(generator: TextGenerator, requests: Sequence[StepRequest], title: str, unit: str) -> list[str]:
    """The greedy answers, with a progress bar."""
    with tqdm(total=len(requests), desc=title, unit=unit, disable=None) as bar:
        return generator.generate([request.messages for request in requests], bar.update)
