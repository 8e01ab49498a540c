"""A program from a description and a list of instructions, step by step, with the solver in the loop.

    python -m scripts.generate --model DIR --problem FILE.md --steps FILE.txt --out FILE.lp [--instance FILE.lp] [--k 3]

Write a step; check it in its context; on an error give the model its code and the solver's message, as in training;
at most k tries. k = 0 is the plain model. With the facts of an instance, a step that leaves no answer set is an error too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.asp.feedback import context_of
from scripts.asp.solver import Solver
from scripts.inference.attempts import OnAttempt, StepRequest, StepResult, is_satisfiable
from scripts.inference.generator import Generator
from scripts.inference.repair_loop import write_steps
from scripts.lm import prompts


@dataclass(frozen=True)
class Task:
    """What to write: a description, the instructions in order, facts to check with, code that is there already."""

    description: str
    instructions: tuple[str, ...]
    facts: str = ""
    given: str = ""


def write_programs(
    generator: Generator,
    tasks: Sequence[Task],
    k: int,
    solver: Solver,
    on_step: Callable[[int, StepResult], None] | None = None,
    samples: int = 1,
    on_attempt: OnAttempt | None = None,
) -> list[list[StepResult]]:
    """Write all `tasks` side by side, each on its own history, the best of `samples` for each step.

    `on_step` hears task number and step when a step is done, `on_attempt` after each of its tries.
    """
    programs: list[list[StepResult]] = [[] for _ in tasks]
    # Only a program that had an answer set can lose it: None, nobody knows, and False ask for nothing.
    found = iter(
        is_satisfiable(
            [context_of(task.facts, task.given, ()) for task in tasks if task.facts.strip()], solver
        )
    )
    satisfiable = [next(found) if task.facts.strip() else None for task in tasks]
    for number in range(max((len(task.instructions) for task in tasks), default=0)):
        active = [index for index, task in enumerate(tasks) if number < len(task.instructions)]
        requests = [
            StepRequest(
                _conversation(tasks[index], programs[index], number, k > 0 or samples > 1),
                tasks[index].instructions[number],
                _context(tasks[index], programs[index]),
                satisfiable[index] is True,
            )
            for index in active
        ]
        heard = (lambda place, step, active=active: on_attempt(active[place], step)) if on_attempt else None
        for index, step in zip(
            active, write_steps(generator, requests, k, solver, samples, on_attempt=heard), strict=True
        ):
            programs[index].append(step)
            if step.ok and step.last.satisfiable is not None:
                satisfiable[index] = step.last.satisfiable
            if on_step:
                on_step(index, step)
    return programs


def _conversation(
    task: Task, steps: Sequence[StepResult], number: int, looped: bool
) -> list[prompts.Message]:
    """The turns so far and the next instruction; with the loop, which knows what failed, without the steps that did."""
    history = [(step.instruction, step.code) for step in steps if step.ok or not looped]
    description = prompts.describe(task.description, task.given)
    return [*prompts.conversation(description, history), prompts.step(task.instructions[number])]


def _context(task: Task, steps: Sequence[StepResult]) -> str:
    """What stands before the next step: a step that failed is left out, so that it spoils no later one."""
    return context_of(task.facts, task.given, [step.code for step in steps if step.ok])


def program_text(task: Task, steps: Sequence[StepResult], only_accepted: bool = True) -> str:
    """The program, each statement under its instruction; steps that failed appear as comments if `only_accepted`."""
    parts = [task.given] if task.given else []
    for step in steps:
        comment = "\n".join(f"% {line}" for line in step.instruction.splitlines())
        if step.ok or not only_accepted:
            parts.append(f"{comment}\n{step.code}")
        else:
            # A stray control character is no character of a program, not even in a comment.
            told = re.sub(r"[^\n -~\u00a0-\U0010ffff]", " ", f"{step.code}\n{step.last.message}")
            failed = "\n".join(f"%! {line}" for line in told.splitlines())
            parts.append(f"{comment}\n{failed}")
    return "\n\n".join(parts) + "\n"
