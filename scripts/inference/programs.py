"""A whole program from a description and a list of instructions, step by step, with the repair loop.

Each step is written after the model's own steps before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from scripts.asp.solver import Solver
from scripts.inference.attempts import OnAttempt, StepResult, is_satisfiable
from scripts.inference.repair_loop import LoopSettings, write_steps
from scripts.inference.requests import StepRequest, Task, TextGenerator

OnStep = Callable[[int, StepResult], None]
"""Gets the number of a task and the result of a step of it, when the step is finished."""


def write_programs(
    generator: TextGenerator,
    tasks: Sequence[Task],
    settings: LoopSettings,
    solver: Solver,
    on_step: OnStep | None = None,
    on_attempt: OnAttempt | None = None,
) -> list[list[StepResult]]:
    """Write all `tasks` side by side; the steps of each.

    `on_attempt` gets the number of the task after each attempt.
    """
    programs: list[list[StepResult]] = [[] for _ in tasks]
    satisfiable = _start_satisfiable(tasks, solver)
    for number in range(max((len(task.instructions) for task in tasks), default=0)):
        active = [index for index, task in enumerate(tasks) if number < len(task.instructions)]
        requests = [
            _request(tasks[index], number, programs[index], settings, satisfiable[index] is True)
            for index in active
        ]
        for index, step in zip(
            active,
            write_steps(generator, requests, settings, solver, _for_task(on_attempt, active)),
            strict=True,
        ):
            programs[index].append(step)
            if step.ok and step.best.satisfiable is not None:
                satisfiable[index] = step.best.satisfiable
            if on_step:
                on_step(index, step)
    return programs


def _start_satisfiable(tasks: Sequence[Task], solver: Solver) -> dict[int, bool | None]:
    """By task: whether its facts and given code have an answer set.

    None without facts, or if it is not known in time.

    Only a program with an answer set can lose it, so a step must keep one only where this is True.
    """
    with_facts = [index for index, task in enumerate(tasks) if task.facts.strip()]
    found = is_satisfiable([tasks[index].context(()) for index in with_facts], solver)
    return dict.fromkeys(range(len(tasks))) | dict(zip(with_facts, found, strict=True))


def _request(
    task: Task, index: int, steps: Sequence[StepResult], settings: LoopSettings, solve: bool
) -> StepRequest:
    """The request for the next step of a task.

    The context leaves out the steps that failed, so that they do not break later ones. The model sees its
    failed steps only if there is no solver to find them.
    """
    history = [(step.instruction, step.code) for step in steps if step.ok or not settings.uses_solver]
    codes = [step.code for step in steps if step.ok]
    return replace(task.next_step(index, history, codes), solve=solve)


def _for_task(on_attempt: OnAttempt | None, active: Sequence[int]) -> OnAttempt | None:
    """`on_attempt`, called with the number of the task in place of the number of the request."""
    if on_attempt is None:
        return None
    return lambda place, step: on_attempt(active[place], step)


def program_text(task: Task, steps: Sequence[StepResult], only_accepted: bool = True) -> str:
    """The program, each statement below its instruction as a comment.

    With `only_accepted`, a step that failed stands in comments, with its solver message.
    """
    parts = [task.given] if task.given else []
    for step in steps:
        comment = "\n".join(f"% {line}" for line in step.instruction.splitlines())
        if step.ok or not only_accepted:
            parts.append(f"{comment}\n{step.code}")
        else:
            # clingo accepts no control characters, not even in a comment.
            text = re.sub(r"[^\n -~\u00a0-\U0010ffff]", " ", f"{step.code}\n{step.best.message}")
            failed = "\n".join(f"%! {line}" for line in text.splitlines())
            parts.append(f"{comment}\n{failed}")
    return "\n\n".join(parts) + "\n"
