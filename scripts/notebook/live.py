"""Cells that change while they run: the loss curve of a training, and a model that writes rules.

Each function redraws one place in the cell's output. Outside of a notebook nothing is drawn.
"""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scripts.asp.solver import shared_solver
from scripts.data.problems import Problem
from scripts.evaluation.grader import Grader
from scripts.inference import repair_loop
from scripts.inference.attempts import Attempt, StepResult
from scripts.inference.programs import program_text, write_programs
from scripts.inference.repair_loop import LoopSettings
from scripts.inference.requests import Task, TextGenerator
from scripts.notebook import plots
from scripts.notebook.html import BOX, CODE, ERROR, SMALL, highlight
from scripts.training.log import OnLog

_REJECTED = "color:#6b7280;margin-top:5px;background:#fef2f2;"  # no strike-through: it would hide `:-`
_INK = {"accepted": "#0d9488", "failed": "#dc2626", "writing": "#9ca3af"}


@contextlib.contextmanager
def loss_curve(max_steps: int, every: float = 10.0) -> Iterator[OnLog]:
    """Draw the loss curve while a model trains. The drawing is removed at the end of the `with` block.

        with live.loss_curve(recipe.max_steps) as curve:
            train(…, on_log=curve)

    Arguments:
        max_steps: The number of training steps of the run.
        every: The shortest time between two drawings, in seconds.
    """
    place: Any = None
    last = time.monotonic()

    def draw(log: list[dict]) -> None:
        nonlocal place, last
        if time.monotonic() - last < every:
            return
        from IPython.display import display

        last = time.monotonic()
        figure = plots.loss_curve(log, progress(log, max_steps))
        if place:
            place.update(figure)
        else:
            place = display(figure, display_id=True)  # None outside of a notebook

    try:
        yield draw
    finally:
        if place:
            from IPython.display import HTML

            place.update(HTML(""))


def progress(log: list[dict], max_steps: int) -> str:
    """Step, speed and remaining time of a run, from its log: `step 120 of 550, 230 tokens/s, 75 min left`."""
    first, last = log[0], log[-1]
    parts = [f"step {last['step']} of {max_steps}"]
    if last["tokens_per_second"]:
        parts.append(f"{last['tokens_per_second']:.0f} tokens/s")
    if last["step"] > first["step"] and last["seconds"] and first["seconds"]:
        per_step = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
        left = per_step * (max_steps - last["step"])
        parts.append(f"{left / 60:.0f} min left" if left >= 60 else "less than a minute left")
    return ", ".join(parts)


def write(
    generator: TextGenerator,
    description: str,
    instructions: str | Sequence[str],
    facts: str = "",
    k: int = 3,
    samples: int = 1,
) -> str:
    """Write a program and draw each attempt as it comes.

    Arguments:
        generator: The model.
        description: The description of the problem.
        instructions: One instruction for each rule, as a list or as lines of a text.
        facts: An instance. With facts, a step is also rejected if no answer set is left.
        k: The number of repairs for each step.
        samples: The number of answers for each step; the solver and a vote choose one.

    Returns:
        The program. Steps that failed are comments in it.
    """
    lines = instructions.splitlines() if isinstance(instructions, str) else instructions
    task = Task(description.strip(), tuple(line.strip() for line in lines if line.strip()), facts)
    steps: list[StepResult] = []
    finished = 0
    draw = _redrawn(lambda: _program_page(task.instructions, steps, finished))

    def on_attempt(_: int, step: StepResult) -> None:
        if len(steps) == finished:
            steps.append(step)
        draw()

    def on_step(_: int, step: StepResult) -> None:
        nonlocal finished
        finished += 1
        draw()

    settings = LoopSettings(k, samples)
    [written] = write_programs(generator, [task], settings, shared_solver(), on_step, on_attempt)
    return program_text(task, written)


def write_steps(generator: TextGenerator, problem: Problem, k: int = 3) -> list[StepResult]:
    """Write each step of a problem after the gold steps before it.

    Draws the steps whose first attempt was rejected, with all attempts and their solver messages.
    Returns all steps in order.
    """
    solver = shared_solver()
    requests = Grader(problem, solver).loop_requests()
    rejected: dict[int, StepResult] = {}
    draw = _redrawn(lambda: _rejected_page(rejected, len(requests)))

    def on_attempt(index: int, step: StepResult) -> None:
        if len(step.attempts) > 1 or not step.ok:
            rejected[index] = step
            draw()

    return repair_loop.write_steps(generator, requests, LoopSettings(k), solver, on_attempt)


def _redrawn(page: Callable[[], str]) -> Callable[[], None]:
    """A place in the cell's output that shows the HTML of `page()`. Call the result to draw it again."""
    from IPython.display import HTML, display

    handle = display(HTML(page()), display_id=True)  # None outside of a notebook
    return lambda: handle.update(HTML(page())) if handle else None


def _rejected_page(rejected: dict[int, StepResult], count: int) -> str:
    """The steps whose first attempt was rejected. `count` is the number of all steps."""
    boxes = [_step(index + 1, step, True) for index, step in sorted(rejected.items())]
    repaired = sum(step.ok for step in rejected.values())
    at_once = f"{count - len(rejected)} accepted at once"
    total = f"{count} steps: {at_once}, {repaired} of the other {len(rejected)} repaired"
    return "".join(boxes) + f"<small>{total}</small>"


def _program_page(instructions: Sequence[str], steps: Sequence[StepResult], finished: int) -> str:
    """The steps of a program so far. The first `finished` of `steps` are done."""
    boxes = [_step(number, step, number <= finished) for number, step in enumerate(steps, 1)]
    accepted = sum(step.ok for step in steps[:finished])
    counts = f"{accepted} accepted, {finished - accepted} failed, {len(instructions) - finished} to do"
    return "".join(boxes) + f"<small>{counts}</small>"


def _step(number: int, step: StepResult, is_finished: bool) -> str:
    state = ("accepted" if step.ok else "failed") if is_finished else "writing"
    attempts = "".join(
        _attempt(attempt, step.ok and place == len(step.attempts))
        for place, attempt in enumerate(step.attempts, 1)
    )
    return (
        f'<div style="{BOX}border-left:4px solid {_INK[state]}"><span style="{SMALL}">'
        f"{number}. {html.escape(step.instruction)} — {state}</span>{attempts}</div>"
    )


def _attempt(attempt: Attempt, is_accepted: bool) -> str:
    if is_accepted:
        return f'<pre style="{CODE}margin-top:5px;">{highlight(attempt.code)}</pre>'
    return (
        f'<pre style="{CODE}{_REJECTED}">{html.escape(attempt.code)}</pre>'
        f'<pre style="{ERROR}">{html.escape(attempt.message)}</pre>'
    )
