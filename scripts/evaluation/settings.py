"""The settings of an evaluation, and the parts that it has."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from scripts.inference.repair_loop import LoopSettings
from scripts.inference.requests import MAX_NEW_TOKENS

KINDS = ("steps", "loop", "repair", "programs", "whole")
"""What the model writes: steps, steps with the repair loop, repairs, programs step by step, and programs in
one answer."""

STEP_KINDS = KINDS[:-1]
"""The kinds that need an encoding with instructions."""

WHOLE = 8
"""A program in one answer may have as many tokens as this number of steps."""


@dataclass(frozen=True)
class Part:
    """A part of an evaluation, such as "the steps with up to 3 repairs".

    Attributes:
        kind: One of `KINDS`.
        k: Repairs of a step, at most; None for a part without the repair loop.
        samples: Answers to each prompt.
    """

    kind: str
    k: int | None = None
    samples: int = 1

    @property
    def name(self) -> str:
        """The name in the JSON file: `steps`, `loop k3n4`, `programs k0`."""
        return self.kind if self.k is None else f"{self.kind} {self.loop.name}"

    @property
    def loop(self) -> LoopSettings:
        """The settings of the repair loop."""
        return LoopSettings(self.k, self.samples)

    @classmethod
    def from_name(cls, name: str) -> Part:
        """The part with this name."""
        kind, k, samples = re.fullmatch(r"(\w+)(?: k(\d+)(?:n(\d+))?)?", name).groups()
        return cls(kind, None if k is None else int(k), int(samples or 1))


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how the answers are generated.

    Attributes:
        parts: Some of `KINDS`.
        k: Repairs of a step, at most; `loop` and `programs` are evaluated once for each number.
        samples: Answers to each prompt in `loop` and `programs`; the first one is greedy.
        temperature: Of the samples.
        grammar: Whether an answer must be one well-formed statement.
        max_new_tokens: Tokens of an answer, at most; `WHOLE` times as many for a program in one answer.
        seed: Of the samples, and of the broken code in `repair`.
        shots: Solved examples from training problems before each question.
    """

    parts: tuple[str, ...] = STEP_KINDS
    k: tuple[int, ...] = (0, 3)
    samples: int = 1
    temperature: float = 0.8
    grammar: bool = False
    max_new_tokens: int = MAX_NEW_TOKENS
    seed: int = 0
    shots: int = 0

    @property
    def loop_parts(self) -> list[Part]:
        """The parts of `loop`. The plain model is left out: it is the part `steps`."""
        parts = [Part("loop", k, self.samples) for k in self.k]
        return [part for part in parts if part.loop.uses_solver]

    @property
    def program_parts(self) -> list[Part]:
        """The parts of `programs`."""
        return [Part("programs", k, self.samples) for k in self.k]

    def as_json(self) -> dict:
        """The settings as the JSON file has them."""
        return asdict(self) | {"parts": list(self.parts), "k": list(self.k)}


DEFAULT_SETTINGS = EvaluationSettings()
