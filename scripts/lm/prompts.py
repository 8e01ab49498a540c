"""Every text a model reads, for training and for inference: one builder, so that the two can never differ.

A conversation is [system: persona and description] then, a step, [user: instruction] [assistant: rule]. A repair is
an independent turn of the same shape: the instruction, the code that failed and the solver's message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Message = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`"""

PERSONA = (
    "You are an expert in Answer Set Programming. You write clingo code one step at a time: for each instruction, "
    "answer with the one statement that implements it and nothing else. Use the predicates of the problem below."
)


def describe(description: str, given: str = "") -> str:
    """The description for the opening message; code that came without an instruction is shown with it."""
    return f"{description}\n\nThe program already contains:\n{given}" if given else description


def system(description: str) -> Message:
    """The opening message: who the model is, and the full description of the problem."""
    return {"role": "system", "content": f"{PERSONA}\n\n{description.strip()}"}


def step(instruction: str) -> Message:
    """The user's turn for one step."""
    return {"role": "user", "content": instruction.strip()}


def answer(code: str) -> Message:
    """The assistant's turn: the code of one step."""
    return {"role": "assistant", "content": code.strip()}


def conversation(description: str, steps: Sequence[tuple[str, str]]) -> list[Message]:
    """The messages for `steps`, pairs of instruction and code, with the history in view."""
    messages = [system(description)]
    for instruction, code in steps:
        messages += [step(instruction), answer(code)]
    return messages


AT_ONCE = "Write the whole program: one statement for each of these instructions, in their order, a blank line after each."


def at_once(messages: Sequence[Message]) -> list[Message]:
    """A conversation as one exchange: all instructions in, all code out. What step by step is measured against."""
    opening, *turns = messages
    asked = "\n".join(turn["content"] for turn in turns if turn["role"] == "user")
    told = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
    return [opening, step(f"{AT_ONCE}\n\n{asked}"), answer(told)]


REPAIR_PERSONA = (
    "You are an expert in Answer Set Programming. You get one clingo statement that is wrong and what the solver says "
    "of it. Answer with the corrected statement and nothing else."
)


def repair(instruction: str, broken: str, error: str) -> list[Message]:
    """The prompt of a repair: an independent turn with the instruction, the broken code and the solver's message.

    It leaves the problem's description out: the instruction says what is meant, and the turn stays short enough to be
    asked several times a step.
    """
    text = f"Instruction: {instruction.strip()}\n\nCode:\n{broken}\n\nSolver:\n{error}"
    return [{"role": "system", "content": REPAIR_PERSONA}, {"role": "user", "content": text}]


_FENCE = re.compile(
    r"```(?:[^\n`]*\n)?(.*?)(?:```|\Z)", re.DOTALL
)  # a language only where a line ends behind it


def code_of(output: str) -> tuple[str, bool]:
    """The code in a model's output, and whether a Markdown fence had to be stripped for it. Nothing else is mended.

    What stands before a fence is left out, unless nothing stands behind it: then the fence only closes.
    """
    fence = _FENCE.search(output)
    if not fence:
        return output.strip(), False
    return fence[1].strip() or output[: fence.start()].strip(), True
