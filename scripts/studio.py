"""A cell in which a person watches a program being written: each step as it comes, refused, repaired, accepted.

    studio.write(load_writer(model), DESCRIPTION, INSTRUCTIONS, facts=FACTS)
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from scripts.asp_solver import shared_solver
from scripts.generate import Task, program_text, write_programs
from scripts.loop import Try, Written
from scripts.show import BOX, CODE, highlight
from scripts.writer import Writer

_INK = {"accepted": "#0d9488", "failed": "#dc2626", "writing": "#9ca3af"}


def write(
    writer: Writer, description: str, instructions: str | Sequence[str], facts: str = "", k: int = 3, samples: int = 1,
) -> str:
    """Write a program and draw each try into the cell as it comes; the program, steps that failed as comments.

    `instructions` is a list or a text with one a line. With `facts`, a step that leaves no answer set is refused as well.
    """
    from IPython.display import HTML, display

    lines = instructions.splitlines() if isinstance(instructions, str) else instructions
    task = Task(description.strip(), tuple(line.strip() for line in lines if line.strip()), facts)
    steps: list[Written] = []
    done = 0
    handle = display(HTML(page(task.instructions, steps, done)), display_id=True)

    def draw() -> None:
        if handle:  # None outside of a notebook
            handle.update(HTML(page(task.instructions, steps, done)))

    def tried(_: int, step: Written) -> None:
        if len(steps) == done:
            steps.append(step)
        draw()

    def finished(_: int, step: Written) -> None:
        nonlocal done
        done += 1
        draw()

    [written] = write_programs(writer, [task], k, shared_solver(), finished, samples, tried)
    return program_text(task, written)


def page(instructions: Sequence[str], steps: Sequence[Written], done: int) -> str:
    """The steps so far as HTML: those `done`, the one in hand, and how many there are to come."""
    boxes = [_step(number, step, number <= done) for number, step in enumerate(steps, 1)]
    accepted = sum(step.ok for step in steps[:done])
    boxes.append(f"<small>{accepted} accepted, {done - accepted} failed, {len(instructions) - done} to come</small>")
    return "".join(boxes)


def _step(number: int, step: Written, done: bool) -> str:
    state = ("accepted" if step.ok else "failed") if done else "writing"
    tries = "".join(_try(found, number == len(step.tries) and step.ok) for number, found in enumerate(step.tries, 1))
    return (f'<div style="{BOX}border-left:4px solid {_INK[state]}"><small style="color:#6b7280">'
            f"{number}. {html.escape(step.instruction)} — {state}</small>{tries}</div>")


def _try(found: Try, accepted: bool) -> str:
    if accepted:
        return f'<pre style="{CODE}">{highlight(found.code)}</pre>'
    return (f'<pre style="{CODE}text-decoration:line-through;opacity:.6">{html.escape(found.code)}</pre>'
            f'<pre style="{CODE}color:#b91c1c">{html.escape(found.complaint)}</pre>')
