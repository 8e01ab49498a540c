"""Chat templates that rewrite a conversation, turned into templates that only append text.

Thinking models have templates that remove the thoughts of earlier turns. What the model read and wrote is
then no beginning of the longer conversation. Here such a template is rendered for a few conversations with
thinking switched off. The texts around the messages make a template in which every turn stays as it was
written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from typing import Any

from scripts.lm.prompts import Message

Render = Callable[[list[Message], bool], str]
"""Gets messages, and whether the text ends where an answer begins; returns the text."""

NO_THINKING: tuple[dict[str, Any], ...] = tuple(
    {"enable_thinking": False, "thinking": False} | effort
    for effort in ({"reasoning_effort": "low"}, {"reasoning_effort": "none"}, {})
)
"""Settings with which templates leave out thinking, in the order in which they are tried.

A template may refuse one of them.
"""

_DATE = date(2024, 7, 26)
"""The date that templates print as today's. It is the one that Llama 3.1 prints."""

_SYSTEM, _FIRST, _ANSWER, _SECOND, _REPLY = (
    f"Text {word}." for word in ("one", "two", "three", "four", "five")
)


def probe(has_system: bool) -> list[Message]:
    """A conversation of two questions with their answers."""
    roles = ("system", "user", "assistant", "user", "assistant")
    texts = (_SYSTEM, _FIRST, _ANSWER, _SECOND, _REPLY)
    talk = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    return talk if has_system else talk[1:]


def fix_date(template: str) -> str:
    """`template` with a fixed date in place of today's, so that a prompt is the same on every day."""
    return re.sub(
        r"strftime_now\(\s*(['\"])(.*?)\1\s*\)", lambda call: repr(_DATE.strftime(call[2])), template
    )


@dataclass(frozen=True)
class Pieces:
    """The texts around the messages of a conversation."""

    system: str | None
    """The text before the system message. None if the template takes none."""
    after_system: str
    """The text between the system message and the first question."""
    first: str
    """The text before the first question, without a system message."""
    question: str
    """The text between the end of an answer and the next question."""
    answer: str
    """The text between a question and its answer."""
    end: str
    """The text behind an answer, up to the token that ends it."""

    def template(self) -> str:
        """The chat template that puts these texts around the messages."""
        system, after, first, question, answer, end = (repr(piece) for piece in astuple(self))
        refuse = "{{ raise_exception('this template takes system, user and assistant in turn') }}"
        system_turn = refuse if self.system is None else "{{ " + system + " + message['content'] }}"
        return (
            "{% for message in messages %}{% if message['role'] == 'system' and loop.first %}" + system_turn +
            "{% elif message['role'] == 'user' %}{% if loop.first %}{{ " + first + " }}"
            "{% elif messages[loop.index0 - 1]['role'] == 'system' %}{{ " + after + " }}"
            "{% else %}{{ " + question + " }}{% endif %}{{ message['content'] }}"
            "{% elif message['role'] == 'assistant' %}{{ " + answer + " + message['content'] + " + end + " }}"
            "{% else %}" + refuse + "{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ " + answer + " }}{% endif %}"
        )  # fmt: skip


def pieces(render: Render, has_system: bool, specials: Sequence[str]) -> Pieces | None:
    """The texts that a chat template puts around messages.

    Arguments:
        render: Renders messages with the template, without thinking.
        has_system: Whether the template takes a system message.
        specials: The special tokens of the tokenizer.

    Returns None for a template that changes the messages or ends an answer with no special token.
    """
    talk = probe(has_system)
    opening = talk[: 2 if has_system else 1]
    prompt, last, long = render(opening, True), render(talk[:-2], False), render(talk[:-1], False)
    alone = prompt if not has_system else render(opening[1:], True)
    before = _between(prompt, *([_SYSTEM, _FIRST] if has_system else [_FIRST]))
    single, ended, gone_on = (
        _between(alone, _FIRST), _between(last, _FIRST, _ANSWER), _between(long, _FIRST, _ANSWER, _SECOND)
    )  # fmt: skip
    if not (before and single and ended and gone_on):
        return None
    if prompt.partition(_FIRST)[0] != gone_on[0]:  # Mistral moves the system message to the last question
        return None
    end, question = _end_and_question(ended[-1], gone_on[2], specials)
    if not end:
        return None
    start = before[-1]
    answer = ended[1] if ended[1].startswith(start) else start
    answer = answer.rstrip(" ")  # a tokenizer would merge a space with the answer's first letter
    if answer.count("<think>") > answer.count("</think>"):
        answer += "\n</think>\n\n" if answer.endswith("\n") else "</think>"
    system = before[0] if has_system else None
    return Pieces(system, before[1] if has_system else "", single[0], question, answer, end)


def _between(text: str, *messages: str) -> list[str] | None:
    """The texts before, between and behind `messages`. None if one of them is not in the text."""
    found = []
    for message in messages:
        before, there, text = text.partition(message)
        if not there:
            return None
        found.append(before)
    return [*found, text]


def _end_and_question(last: str, between: str, specials: Sequence[str]) -> tuple[str, str]:
    """The text that ends an answer, and the text from there to the next question.

    `last` is the text behind the last answer, `between` the text from an answer to the next question. GLM
    ends an answer with the token that opens the next question; then `last` has no special token.
    """
    end = _to_first(last, specials) or _to_first(between, specials)
    if between.startswith(end):
        return end, between[len(end) :]
    return end, between[len(_to_first(between, specials)) :]


def _to_first(text: str, specials: Sequence[str]) -> str:
    """The beginning of `text` up to the end of its first special token; empty without one."""
    places = [(text.find(token), -len(token), token) for token in specials if token and token in text]
    if not places:
        return ""
    place, _, token = min(places)
    return text[: place + len(token)]
