"""The loss curve that a notebook draws while a model trains."""

from __future__ import annotations

import time
from typing import Any

from scripts.plots import loss_curve


class LiveCurve:
    """Called with the log after each step: draws the curve anew in its place, every `every` seconds at the most.

    It is gone at the end of the `with` block, where the final curve takes over:

        with LiveCurve() as curve:
            train(…, on_log=curve)
    """

    def __init__(self, every: float = 10.0):
        self.every = every
        self._last = time.monotonic()
        self._place: Any = None

    def __call__(self, log: list[dict]) -> None:
        if time.monotonic() - self._last < self.every:
            return
        from IPython.display import display

        self._last = time.monotonic()
        figure = loss_curve(log)
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
