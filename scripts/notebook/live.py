"""The loss curve that a notebook draws while a model trains, with its speed and the time it will still take."""

from __future__ import annotations

import time
from typing import Any

from scripts.notebook.plots import loss_curve


class LiveCurve:
    """Called with the log after each step: draws the curve anew in its place, every `every` seconds at the most.

    `max_steps` is how many steps the run has. The curve is gone at the end of the `with` block, where the final one takes over:

        with LiveCurve(recipe.max_steps) as curve:
            train(…, on_log=curve)
    """

    def __init__(self, max_steps: int, every: float = 10.0):
        self.max_steps = max_steps
        self.every = every
        self._last = time.monotonic()
        self._place: Any = None

    def __call__(self, log: list[dict]) -> None:
        if time.monotonic() - self._last < self.every:
            return
        from IPython.display import display

        self._last = time.monotonic()
        figure = loss_curve(log, progress(log, self.max_steps))
        if self._place:
            self._place.update(figure)
        else:
            self._place = display(figure, display_id=True)  # None outside of a notebook

    def __enter__(self) -> LiveCurve:
        return self

    def __exit__(self, *_: object) -> None:
        if self._place:
            from IPython.display import HTML

            self._place.update(HTML(""))


def progress(log: list[dict], max_steps: int) -> str:
    """Step, speed and time to go, as far as the rows of a log tell: `step 120 of 550, 230 tokens/s, 75 min to go`."""
    first, last = log[0], log[-1]
    told = [f"step {last['step']} of {max_steps}"]
    if last["tokens_per_second"]:
        told.append(f"{last['tokens_per_second']:.0f} tokens/s")
    if last["step"] > first["step"] and last["seconds"] and first["seconds"]:
        left = (
            (last["seconds"] - first["seconds"]) / (last["step"] - first["step"]) * (max_steps - last["step"])
        )
        told.append(f"{left / 60:.0f} min to go" if left >= 60 else "less than a minute to go")
    return ", ".join(told)
