"""A generator without a model, for tests that need known answers. The solver in these tests is real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from scripts.lm import prompts

Conversation = list[prompts.Message]
Answer = Callable[[Conversation, int], str]
"""Gets a conversation and the number of the answer (0 is the greedy one, 1, 2, … are samples); returns the
text.
"""


@dataclass
class ScriptedGenerator:
    """Answers as `answer` says. It has the two methods of `scripts.inference.generator.Generator`.

    `asked` records every conversation in order, `sampled` the instruction and the count of each call of
    `sample`.
    """

    answer: Answer
    asked: list[Conversation] = field(default_factory=list)
    sampled: list[tuple[str, int]] = field(default_factory=list)
    usage: Counter[str] = field(default_factory=Counter)

    @classmethod
    def by_instruction(
        cls, step: Callable[[str], str], repair: Callable[[str], str] | None = None
    ) -> ScriptedGenerator:
        """Answers by a function of the instruction.

        `repair` answers repair prompts, if they have other answers.
        """

        def answer(messages: Conversation, _number: int) -> str:
            is_repair = messages[0]["content"] == prompts.REPAIR_PERSONA or prompts.split_repair(messages)[1]
            return (repair if repair and is_repair else step)(instruction_of(messages))

        return cls(answer)

    @classmethod
    def by_list(
        cls, greedy: dict[str, list[str]], samples: dict[str, list[str]] | None = None
    ) -> ScriptedGenerator:
        """Answers to an instruction one after another: `greedy` for the first answer and the repairs, and
        `samples`.
        """
        queues = [
            {instruction: list(texts) for instruction, texts in part.items()}
            for part in (greedy, samples or {})
        ]

        def answer(messages: Conversation, number: int) -> str:
            return queues[number > 0][instruction_of(messages)].pop(0)

        return cls(answer)

    @classmethod
    def in_order(cls, *texts: str) -> ScriptedGenerator:
        """Answers with `texts` in their order, and from the beginning again after the last one."""
        endless = cycle(texts)
        return cls(lambda _messages, _number: next(endless))

    def generate(
        self, conversations: Sequence[Conversation], on_done: Callable[[int], None] | None = None
    ) -> list[str]:
        """The greedy answer to each conversation."""
        self.asked += conversations
        if on_done:
            on_done(len(conversations))
        return [self.answer(messages, 0) for messages in conversations]

    def for_programs(self, max_new_tokens: int) -> ScriptedGenerator:
        """The same generator: its answers have no limit."""
        return self

    def sample(self, conversations: Sequence[Conversation], count: int) -> list[list[str]]:
        """`count` samples for each conversation."""
        self.asked += conversations
        self.sampled += [(instruction_of(messages), count) for messages in conversations]
        return [
            [self.answer(messages, number) for number in range(1, count + 1)] for messages in conversations
        ]


def instruction_of(messages: Conversation) -> str:
    """The instruction that a conversation or a repair prompt ends with."""
    asked, _ = prompts.split_repair(messages)
    return asked[-1]["content"].removeprefix("Instruction: ").split("\n\nCode:\n")[0]
