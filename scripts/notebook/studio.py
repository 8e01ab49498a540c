"""Cells in which a person watches the solver in the loop: each step as it comes, refused, repaired, let through.

studio.write(load_generator(model), DESCRIPTION, INSTRUCTIONS, facts=FACTS)    a program, on its own history
studio.watch(load_generator(model), judge.loop_requests())                  the steps of a problem, as they are scored
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from scripts.asp.solver import shared_solver
from scripts.inference.attempts import Attempt, StepRequest, StepResult
from scripts.inference.generator import Generator
from scripts.inference.programs import Task, program_text, write_programs
from scripts.inference.repair_loop import write_steps
from scripts.notebook.html import BOX, CODE, ERROR, SMALL, highlight

_REFUSED = "color:#6b7280;margin-top:5px;background:#fef2f2;"  # a line through it would hide the dash of :-
_INK = {"clingo has no objection": "#0d9488", "failed": "#dc2626", "writing": "#9ca3af"}


def write(
    generator: Generator,
    description: str,
    instructions: str | Sequence[str],
    facts: str = "",
    k: int = 3,
    samples: int = 1,
) -> str:
    """Write a program and draw each try into the cell as it comes; the program, steps that failed as comments.

    `instructions` is a list or a text with one a line. With `facts`, a step that leaves no answer set is refused as well.
    """
    lines = instructions.splitlines() if isinstance(instructions, str) else instructions
    task = Task(description.strip(), tuple(line.strip() for line in lines if line.strip()), facts)
    steps: list[StepResult] = []
    done = 0
    draw = _place(lambda: page(task.instructions, steps, done))

    def tried(_: int, step: StepResult) -> None:
        if len(steps) == done:
            steps.append(step)
        draw()

    def finished(_: int, step: StepResult) -> None:
        nonlocal done
        done += 1
        draw()

    [written] = write_programs(generator, [task], k, shared_solver(), finished, samples, tried)
    return program_text(task, written)


def watch(generator: Generator, requests: Sequence[StepRequest], k: int = 3) -> list[StepResult]:
    """Write the steps of a problem, each with the gold history before it, and draw those that the solver refused at first.

    Every try stays in view with what the solver said of it; the steps, in their order.
    """
    refused: dict[int, StepResult] = {}
    draw = _place(lambda: _refused(refused, len(requests)))

    def tried(index: int, step: StepResult) -> None:
        if len(step.attempts) > 1 or not step.ok:
            refused[index] = step
            draw()

    return write_steps(generator, requests, k, shared_solver(), on_attempt=tried)


def _place(shown: Callable[[], str]) -> Callable[[], None]:
    """A place in the cell's output for the HTML that `shown` returns; call it to draw it anew."""
    from IPython.display import HTML, display

    handle = display(HTML(shown()), display_id=True)  # None outside of a notebook
    return lambda: handle.update(HTML(shown())) if handle else None


def _refused(steps: dict[int, StepResult], count: int) -> str:
    """The steps that were refused at first, and how it ended with them."""
    boxes = [_step(index + 1, step, True) for index, step in sorted(steps.items())]
    mended = sum(step.ok for step in steps.values())
    told = f"{count} steps: {count - len(steps)} without objection at once, {mended} of the other {len(steps)} mended"
    return "".join(boxes) + f"<small>{told}</small>"


def page(instructions: Sequence[str], steps: Sequence[StepResult], done: int) -> str:
    """The steps so far as HTML: those `done`, the one in hand, and how many there are to come."""
    boxes = [_step(number, step, number <= done) for number, step in enumerate(steps, 1)]
    passed = sum(step.ok for step in steps[:done])
    boxes.append(
        f"<small>{passed} without objection, {done - passed} failed, {len(instructions) - done} to come</small>"
    )
    return "".join(boxes)


def _step(number: int, step: StepResult, done: bool) -> str:
    state = ("clingo has no objection" if step.ok else "failed") if done else "writing"
    attempts = "".join(
        _try(found, place == len(step.attempts) and step.ok) for place, found in enumerate(step.attempts, 1)
    )
    return (
        f'<div style="{BOX}border-left:4px solid {_INK[state]}"><span style="{SMALL}">'
        f"{number}. {html.escape(step.instruction)} — {state}</span>{attempts}</div>"
    )


def _try(found: Attempt, stands: bool) -> str:
    if stands:
        return f'<pre style="{CODE}margin-top:5px;">{highlight(found.code)}</pre>'
    return (
        f'<pre style="{CODE}{_REFUSED}">{html.escape(found.code)}</pre>'
        f'<pre style="{ERROR}">{html.escape(found.message)}</pre>'
    )
