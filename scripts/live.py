"""The loss curve that a notebook draws while a model trains."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from scripts.plots import loss_curve


@dataclass
class LiveCurve:
    """Called with the log after each step: redraws the curve in place, every `every` seconds at the most; gone at the end."""

    every: float = 10.0
    _last: float = field(default_factory=time.monotonic)

    def __call__(self, log: list[dict]) -> None:
        if time.monotonic() - self._last < self.every:
            return
        from IPython.display import clear_output, display

        self._last = time.monotonic()
        clear_output(wait=True)
        display(loss_curve(log))
