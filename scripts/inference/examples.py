"""Few-shot prompts: solved steps of training problems before each question.

The examples of a question shall show the constructs that its solution needs. The solution is not known, so
the words of the instruction decide: "exactly", "no two" and "largest" go with constructs. For 81 % of the
validation steps four examples show all constructs of the gold rule; four random steps do for 34 %.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from scripts.data.problems import Problem, read_collection
from scripts.inference.requests import OnDone, TextGenerator
from scripts.lm import prompts
from scripts.lm.prompts import Message
from utils_ft import BENCHMARKS, content_hash

_WORD = re.compile(r"[a-z]+|[<>=*+#-]")
_STEM = 5  # the letters of a word that count, so that `colour` and `colours` are one word


@dataclass(frozen=True)
class Example:
    """A solved step.

    Attributes:
        instruction: Its instruction.
        code: Its rule.
        problem: The id of its problem.
        description: The description of its problem.
    """

    instruction: str
    code: str
    problem: str
    description: str


@dataclass(frozen=True)
class ExampleLibrary:
    """Solved steps of training problems.

    Attributes:
        steps: The steps.
        digest: A hash of the problems.
    """

    steps: tuple[Example, ...]
    digest: str

    @classmethod
    @cache
    def of_training_problems(cls, benchmarks: Path = BENCHMARKS) -> ExampleLibrary:
        """The library of the training problems of a folder. It is read once."""
        problems = read_collection(benchmarks).of_split("train")
        steps = tuple(example for problem in problems for example in _examples(problem))
        return cls(steps, content_hash(*(problem.digest for problem in problems)))

    def nearest(self, question: str, count: int, beside: str = "") -> list[Example]:
        """The steps whose instructions share most words with an instruction, the nearest last.

        Each is of another problem. Problems whose description is part of the text `beside` are left out: a
        problem is no example for its own steps.
        """
        words = [self._columns[word] for word in _words(question) if word in self._columns]
        shared = self._has[:, words].sum(axis=1)
        either = self._has.sum(axis=1) + len(_words(question)) - shared
        found: dict[str, Example] = {}
        for index in np.argsort(-shared / either, kind="stable"):
            example = self.steps[index]
            if example.problem not in found and example.description not in beside:
                found[example.problem] = example
            if len(found) >= count:
                break
        return list(found.values())[::-1]

    @cached_property
    def _columns(self) -> dict[str, int]:
        """The number of each word."""
        words = sorted({word for example in self.steps for word in _words(example.instruction)})
        return {word: number for number, word in enumerate(words)}

    @cached_property
    def _has(self) -> np.ndarray:
        """For each step and word, whether the instruction has the word."""
        has = np.zeros((len(self.steps), len(self._columns)), dtype=bool)
        for row, example in enumerate(self.steps):
            has[row, [self._columns[word] for word in _words(example.instruction)]] = True
        return has


def _examples(problem: Problem) -> list[Example]:
    return [
        Example(step.instruction.strip(), step.code, problem.id, problem.description)
        for step in problem.encoding.instructed
    ]


def _words(text: str) -> set[str]:
    return {word[:_STEM] for word in _WORD.findall(text.lower())}


@dataclass(frozen=True)
class FewShotGenerator:
    """A generator that sees solved steps before each step; a `TextGenerator`.

    Repairs by an independent turn and whole programs are asked for as without examples. A repair in the
    conversation of a step has the examples of the step.

    Attributes:
        generator: The generator that writes.
        library: The examples.
        count: Examples before each question.
    """

    generator: TextGenerator
    library: ExampleLibrary
    count: int

    @property
    def usage(self) -> Counter[str]:
        """As in `TextGenerator`."""
        return self.generator.usage

    def generate(self, conversations: Sequence[list[Message]], on_done: OnDone | None = None) -> list[str]:
        """The greedy answer to each conversation."""
        return self.generator.generate([self._with_examples(messages) for messages in conversations], on_done)

    def sample(self, conversations: Sequence[list[Message]], count: int) -> list[list[str]]:
        """`count` random answers to each conversation."""
        return self.generator.sample([self._with_examples(messages) for messages in conversations], count)

    def for_programs(self, max_new_tokens: int) -> FewShotGenerator:
        """The same model for answers that are whole programs."""
        return replace(self, generator=self.generator.for_programs(max_new_tokens))

    def _with_examples(self, messages: list[Message]) -> list[Message]:
        opening = messages[0]["content"]
        if not opening.startswith(prompts.PERSONA):
            return messages
        asked, repair = prompts.split_repair(messages)
        found = self.library.nearest(asked[-1]["content"], self.count, beside=opening)
        examples = [(example.instruction, example.code) for example in found]
        return prompts.with_examples(asked, examples) + repair


def with_shots(generator: TextGenerator, library: ExampleLibrary | None, count: int) -> TextGenerator:
    """`generator` with `count` examples before each question; without a library as it is."""
    return FewShotGenerator(generator, library, count) if library and count else generator
