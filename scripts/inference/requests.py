"""What a model is asked to write: a task of several steps, and the request for one step.

The repair loop, the grader and the ablations build their prompts and contexts here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from scripts.asp.feedback import context_of
from scripts.lm import prompts
from utils_ft import UserError

MAX_NEW_TOKENS = 160
"""Tokens of one answer, at most.

The longest answer in the shipped training rows has 89 (SmolLM2's tokenizer).
"""


class Unanswered(str):
    """An empty answer: the model was not asked.

    Attributes:
        reason: Why not, in the form of a solver message.
    """

    def __new__(cls, reason: str) -> Unanswered:
        """Make an empty text with its reason."""
        answer = super().__new__(cls)
        answer.reason = reason
        return answer


class Sampled(str):
    """A random answer of a model whose probabilities are known.

    Attributes:
        log_probability: The sum of the log-probabilities of its tokens and of the one that ends it: those of
            the model itself, whatever the temperature or the grammar.
    """

    def __new__(cls, text: str, log_probability: float = 0.0) -> Sampled:
        """Make a text with its log-probability."""
        answer = super().__new__(cls, text)
        answer.log_probability = log_probability
        return answer


OnDone = Callable[[int], None]
"""Gets the number of answers that were finished since the last call."""


class TextGenerator(Protocol):
    """What the repair loop and the evaluation need of a generator. Tests use one without a model.

    `usage` counts `answers`, `prompt_tokens` and `answer_tokens`.
    """

    usage: Counter[str]

    def generate(
        self, conversations: Sequence[list[prompts.Message]], on_done: OnDone | None = None
    ) -> list[str]:
        """The greedy answer to each conversation; `Unanswered` if the model cannot be asked."""
        ...

    def sample(self, conversations: Sequence[list[prompts.Message]], count: int) -> list[list[str]]:
        """`count` random answers to each conversation; `Sampled` if their probabilities are known."""
        ...

    def for_programs(self, max_new_tokens: int) -> TextGenerator:
        """The same model for answers that are whole programs: they may be longer than one statement."""
        ...


def check_drawing(temperature: float, max_new_tokens: int) -> None:
    """UserError if samples cannot be drawn at this temperature, or if an answer has no token."""
    if not 0.001 <= temperature <= 1000:  # nan is in no range
        raise UserError(
            f"samples cannot be drawn at a temperature of {temperature}",
            remedy="give one from 0.001 to 1000, such as 0.8; the first answer is greedy at any temperature",
        )
    if max_new_tokens < 1:
        raise UserError(f"--max-new-tokens must be at least 1, not {max_new_tokens}")


@dataclass(frozen=True)
class StepRequest:
    """A step that a model shall write.

    Attributes:
        messages: The prompt.
        instruction: The instruction of the step, which a repair prompt repeats.
        context: The program text before the step.
        solve: Whether the program must still have an answer set after the step. Set it only if the context
            has one.
        draft: An answer that is known already. The model is then asked for repairs only.
    """

    messages: list[prompts.Message]
    instruction: str
    context: str
    solve: bool = False
    draft: str | None = None


@dataclass(frozen=True)
class Task:
    """A program to write, step by step.

    Attributes:
        description: The text of the problem.
        instructions: One for each step, in order.
        facts: An instance. Each step is checked after these facts.
        given: Code that stands before the steps.
    """

    description: str
    instructions: tuple[str, ...]
    facts: str = ""
    given: str = ""

    def conversation(self, history: Sequence[tuple[str, str]]) -> list[prompts.Message]:
        """The opening message and the turns of `history`, pairs of instruction and code."""
        return prompts.conversation(prompts.describe(self.description, self.given), history)

    def context(self, codes: Sequence[str]) -> str:
        """The program text before the next step, if `codes` are the code of the steps before it."""
        return context_of(self.facts, self.given, codes)

    def next_step(self, index: int, history: Sequence[tuple[str, str]], codes: Sequence[str]) -> StepRequest:
        """The request for step `index`: the model sees `history`, the solver sees `codes`."""
        instruction = self.instructions[index]
        messages = [*self.conversation(history), prompts.step(instruction)]
        return StepRequest(messages, instruction, self.context(codes))
