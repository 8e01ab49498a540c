"""The settings of an evaluation, and the parts that it has."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from scripts.inference.repair_loop import LoopSettings
from scripts.inference.requests import MAX_NEW_TOKENS

KINDS = ("steps", "loop", "repair", "programs", "samples", "whole")
"""What the model writes: steps, steps with the repair loop, repairs, programs step by step, several samples
of each step, and programs in one answer."""

DEFAULT_KINDS = KINDS[:4]
"""The kinds that are evaluated if nothing else is asked for."""

WHOLE = 8
"""A program in one answer may have as many tokens as this number of steps."""


@dataclass(frozen=True)
class Part:
    """A part of an evaluation, such as "the steps with up to 3 repairs".

    Attributes:
        kind: One of `KINDS`.
        k: Repairs of a step, at most; None for a part without the repair loop.
        samples: Answers to each prompt.
        repair: One of `prompts.REPAIR_PROMPTS`.
    """

    kind: str
    k: int | None = None
    samples: int = 1
    repair: str = "turn"

    @property
    def name(self) -> str:
        """The name in the JSON file: `steps`, `loop k3n4`, `loop k3c`, `programs k0`."""
        return self.kind if self.k is None else f"{self.kind} {self.loop.name}"

    @property
    def loop(self) -> LoopSettings:
        """The settings of the repair loop."""
        return LoopSettings(self.k, self.samples, self.repair)

    @classmethod
    def from_name(cls, name: str) -> Part:
        """The part with this name."""
        kind, k, samples, seen = re.fullmatch(r"(\w+)(?: k(\d+)(?:n(\d+))?(c)?)?", name).groups()
        repair = "conversation" if seen else "turn"
        return cls(kind, None if k is None else int(k), int(samples or 1), repair)


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how the answers are generated.

    Attributes:
        parts: Some of `KINDS`.
        k: Repairs of a step, at most; `loop` and `programs` are evaluated once for each number.
        samples: Answers to each prompt in `loop`, `programs` and `samples`; the first one is greedy, but not
            in `samples`.
        temperature: Of the samples.
        grammar: Whether an answer must be one well-formed statement.
        max_new_tokens: Tokens of an answer, at most; `WHOLE` times as many for a program in one answer.
        seed: Of the samples, and of the broken code in `repair`.
        shots: Solved examples from training problems before each question.
        repair_prompt: How repairs are asked for: one of `prompts.REPAIR_PROMPTS`.
    """

    parts: tuple[str, ...] = DEFAULT_KINDS
    k: tuple[int, ...] = (0, 3)
    samples: int = 1
    temperature: float = 0.8
    grammar: bool = False
    max_new_tokens: int = MAX_NEW_TOKENS
    seed: int = 0
    shots: int = 0
    repair_prompt: str = "turn"

    @property
    def loop_parts(self) -> list[Part]:
        """The parts of `loop`. The plain model is left out: it is the part `steps`."""
        return [part for part in self._parts("loop") if part.loop.uses_solver]

    @property
    def program_parts(self) -> list[Part]:
        """The parts of `programs`."""
        return self._parts("programs")

    def _parts(self, kind: str) -> list[Part]:
        """A part for each number of repairs. Without repairs nothing depends on their prompt."""
        return [Part(kind, k, self.samples, self.repair_prompt if k else "turn") for k in self.k]

    def as_json(self) -> dict:
        """The settings as the JSON file has them.

        The default way to ask for repairs is left out, so that results of before this setting stay valid.
        """
        found = asdict(self) | {"parts": list(self.parts), "k": list(self.k)}
        if self.repair_prompt == "turn":
            del found["repair_prompt"]
        return found


DEFAULT_SETTINGS = EvaluationSettings()
