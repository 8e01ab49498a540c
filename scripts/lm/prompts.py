"""All texts that a model reads, for training and for inference, so that both are the same.

A conversation is [system: persona and description], then for each step [user: instruction] and [assistant:
rule]. A repair is an independent turn of the same shape (the instruction, the broken code and the solver
message), or it goes on in the conversation: [assistant: broken code] and [user: solver message].
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Message = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`"""

PERSONA = (
    "You are an expert in Answer Set Programming. You write clingo code one step at a time: "
    "for each instruction, answer with the statement or statements that implement it and nothing else. "
    "Use the predicates of the problem below."
)

REPAIR_PERSONA = (
    "You are an expert in Answer Set Programming. You get clingo code that is wrong "
    "and what the solver says of it. Answer with the corrected code and nothing else."
)

PROGRAM_PERSONA = (
    "You are an expert in Answer Set Programming. You write a complete clingo program for the problem "
    "that you get. The program must work for every instance: the facts of an instance are added to it, so "
    "write none of them. Answer with the program and nothing else."
)

EXAMPLES = "Solved steps of other problems, as examples:"

AT_ONCE = (
    "Write the whole program: the code for each of these instructions, in their order, "
    "a blank line after each."
)
"""The instruction for a whole program in one turn."""

REPAIR_PROMPTS = ("turn", "conversation")
"""The ways to ask for a repair: by an independent turn, or in the conversation of the step."""

_SOLVER = "Solver:\n"
_CORRECT = "Answer with the corrected code and nothing else."

_FENCE = re.compile(r"```(?:[^\n`]*\n)?(.*?)(?:```|\Z)", re.DOTALL)
"""A Markdown code block. A language is only recognised if a line ends after it."""


def describe(description: str, given: str = "") -> str:
    """The description for the system message. Given code of the problem is shown after it."""
    return f"{description}\n\nThe program already contains:\n{given}" if given else description


def system(description: str) -> Message:
    """The system message: the persona and the full description of the problem."""
    return {"role": "system", "content": f"{PERSONA}\n\n{description.strip()}"}


def step(instruction: str) -> Message:
    """The user's turn for one step."""
    return {"role": "user", "content": instruction.strip()}


def answer(code: str) -> Message:
    """The assistant's turn for one step."""
    return {"role": "assistant", "content": code.strip()}


def conversation(description: str, steps: Sequence[tuple[str, str]]) -> list[Message]:
    """The messages for `steps`, which are pairs of instruction and code."""
    messages = [system(description)]
    for instruction, code in steps:
        messages += [step(instruction), answer(code)]
    return messages


def at_once(messages: Sequence[Message]) -> list[Message]:
    """A conversation as a single exchange: all instructions in one message, all code in the answer.

    An ablation compares step-by-step writing with it.
    """
    opening, *turns = messages
    instructions = "\n".join(turn["content"] for turn in turns if turn["role"] == "user")
    code = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
    return [opening, step(f"{AT_ONCE}\n\n{instructions}"), answer(code)]


def program(description: str, contract: Sequence[str]) -> list[Message]:
    """The prompt for a whole program in one answer, from the description alone.

    `contract` has the predicates on which the answer sets are compared, such as `colour/2`.
    """
    shown = ", ".join(contract)
    text = (
        f"{description.strip()}\n\nThe answer sets are compared on these predicates, and no others: {shown}."
    )
    return [{"role": "system", "content": PROGRAM_PERSONA}, {"role": "user", "content": text}]


def with_examples(messages: Sequence[Message], examples: Sequence[tuple[str, str]]) -> list[Message]:
    """The same prompt with solved examples before its last question: pairs of question and code.

    They stand in the last message, so that everything before it stays the same for all steps of a problem.
    """
    *before, question = messages
    solved = "\n\n".join(f"{asked.strip()}\nAnswer:\n{code.strip()}" for asked, code in examples)
    return [
        *before,
        question | {"content": f"{EXAMPLES}\n\n{solved}\n\nNow this one:\n{question['content']}"},
    ]


def repair(
    instruction: str, broken: str, error: str, conversation: Sequence[Message] | None = None
) -> list[Message]:
    """The prompt of a repair: the instruction, the broken code and the solver message.

    It leaves out the problem's description, as the instruction says what the rule must do. So the prompt
    stays short enough for several repairs of one step.

    With `conversation`, the prompt of the step that ends with the instruction, the repair goes on there: the
    broken code is the assistant's turn, and the solver message the user's. Code that is empty becomes an
    empty comment, because servers refuse an empty turn.
    """
    if conversation is not None:
        text = f"{_SOLVER}{error}\n\n{_CORRECT}"
        return [*conversation, answer(broken.strip() or "%"), {"role": "user", "content": text}]
    text = f"Instruction: {instruction.strip()}\n\nCode:\n{broken}\n\n{_SOLVER}{error}"
    return [{"role": "system", "content": REPAIR_PERSONA}, {"role": "user", "content": text}]


def split_repair(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The prompt of a step, and the two turns with which a repair goes on in its conversation.

    For any other prompt the second list is empty.
    """
    last = messages[-1]["content"]
    goes_on = last.startswith(_SOLVER) and last.endswith(_CORRECT) and len(messages) > 2
    place = len(messages) - 2 if goes_on else len(messages)
    return list(messages[:place]), list(messages[place:])


def code_of(output: str) -> tuple[str, bool]:
    """The code in a model's output, and whether a Markdown fence was removed. Nothing else is changed.

    Text before a fence is left out, unless nothing follows the fence. Then the fence closes the text before
    it.
    """
    fence = _FENCE.search(output)
    if not fence:
        return output.strip(), False
    return fence[1].strip() or output[: fence.start()].strip(), True
