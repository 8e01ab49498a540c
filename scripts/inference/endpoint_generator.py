"""A generator whose model stands behind an endpoint: messages in, text out, several requests at once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from scripts.inference.requests import MAX_NEW_TOKENS, OnDone, Unanswered, check_drawing
from scripts.lm.endpoint import TIMEOUT, ChatService, Endpoint
from scripts.lm.paid_calls import (
    GIVE_UP_AFTER,
    Answer,
    Failed,
    RateLimitedClient,
    Refused,
    Stopped,
    in_parallel,
)
from scripts.lm.prompts import Message
from utils_ft import DATA, UserError, check_writable, content_hash, one_writer, show_path

ANSWERS = DATA / "answers"
"""The folder of kept answers."""

_AGREEMENT = (
    "an endpoint gives no log-probabilities: samples are chosen by the checks that they pass and by agreement"
)
REMEDY = (
    "run the same command again to continue; the answers so far are kept in {} and are not paid for again"
)


@dataclass(frozen=True)
class PaidLimits:
    """What a run may cost.

    Attributes:
        max_calls: Requests of the run, at most; None for no limit.
        max_tokens: Tokens of the run, at most; None for no limit.
        workers: Requests at the same time.
        dry_run: Only count the requests that would be made, and estimate their tokens.
        answers: The folder of kept answers.
        timeout: Seconds without a byte, after which a request has failed.
    """

    max_calls: int | None = None
    max_tokens: int | None = None
    workers: int = 8
    dry_run: bool = False
    answers: Path = ANSWERS
    timeout: float = TIMEOUT


@dataclass(frozen=True)
class EndpointGenerator:
    """A model behind an endpoint; a `TextGenerator`.

    Attributes:
        client: Sends the requests, keeps the answers and counts what they cost.
        max_new_tokens: Tokens of an answer, at most.
        temperature, seed: Of `sample`.
        workers: Requests at the same time.
        usage: The answers, and the tokens of their prompts and of their texts. Kept answers count, too.
        said: What was printed once about the samples.
        refusals: The reason for each prompt that the endpoint refused.
    """

    client: RateLimitedClient
    max_new_tokens: int = MAX_NEW_TOKENS
    temperature: float = 0.8
    seed: int = 0
    workers: int = 8
    usage: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def generate(self, conversations: Sequence[list[Message]], on_done: OnDone | None = None) -> list[str]:
        """The answer to each conversation at temperature 0; `Unanswered` if the endpoint refuses it.

        Raises:
            UserError: A limit of the client is reached, or the endpoint cannot be used.
        """
        return self._ask([(self._prompt(messages), 0) for messages in conversations], on_done)

    def sample(self, conversations: Sequence[list[Message]], count: int) -> list[list[str]]:
        """`count` random answers to each conversation. Raises as `generate` does."""
        if not self.said:
            self.said.append(_AGREEMENT)
            print(_AGREEMENT, flush=True)
        texts = self._ask(
            [
                (self._prompt(messages, number), number)
                for messages in conversations
                for number in range(1, count + 1)
            ]
        )
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def for_programs(self, max_new_tokens: int) -> EndpointGenerator:
        """The same model for answers that are whole programs."""
        return replace(self, max_new_tokens=max_new_tokens)

    @property
    def spent(self) -> str:
        """What this run cost, and what was refused, for a person."""
        calls, tokens = self.client.spent["calls"], self.client.spent["tokens"]
        if self.client.dry_run:
            return f"dry run: {calls} calls, at most about {tokens} tokens"
        lines = [f"{calls} calls, {tokens} tokens in this run; answers: {show_path(self.client.store)}"]
        if self.refusals:
            lines.append(f"the endpoint refused {len(self.refusals)} prompts, the first: {self.refusals[0]}")
        return "\n".join(lines)

    def _prompt(self, messages: Sequence[Message], number: int = 0) -> str:
        """The request as JSON text. `number` is 0 for the greedy answer; samples have seeds of their own."""
        request: dict = {"messages": messages, "max_tokens": self.max_new_tokens, "temperature": 0}
        if number:
            drawn = content_hash(str((self.seed, number, messages)))
            request |= {"temperature": self.temperature, "seed": int(drawn[:7], 16)}
        return json.dumps(request, ensure_ascii=False, sort_keys=True)

    def _ask(self, questions: Sequence[tuple[str, int]], on_done: OnDone | None = None) -> list[str]:
        """The text of the answer to each question: a prompt and the number of the answer."""
        tasks = [partial(self._answer, prompt, number) for prompt, number in questions]
        store = show_path(self.client.store)
        try:
            answers = in_parallel(tasks, self.workers, self.client, partial(self._count, on_done))
        except Stopped as stopped:
            raise UserError(str(stopped), remedy=REMEDY.format(store)) from None
        except Failed as failed:
            raise UserError(f"a question has no answer: {failed}", remedy=REMEDY.format(store)) from None
        if self.refusals and not self.usage["answers"]:
            raise self._refused()
        return [answer.text if isinstance(answer, Answer) else answer for answer in answers]

    def _count(self, on_done: OnDone | None, answer: Answer | Unanswered) -> None:
        """Count an answer that has arrived."""
        if isinstance(answer, Answer):
            read = answer.tokens - answer.written
            self.usage.update(answers=1, prompt_tokens=read, answer_tokens=answer.written)
        if on_done:
            on_done(1)

    def _answer(self, prompt: str, number: int) -> Answer | Unanswered:
        """One answer; `Unanswered` for a prompt that the endpoint refuses, and in a dry run."""
        try:
            return self.client.ask(prompt, attempt=number, longest=self.max_new_tokens)[0]
        except Stopped:
            if self.client.dry_run:
                return Unanswered("error: a dry run")
            raise
        except Refused as refused:
            self.refusals.append(str(refused))
            if len(self.refusals) >= GIVE_UP_AFTER and not self.usage["answers"]:
                raise self._refused() from None
            return Unanswered(f"error: the endpoint refuses the prompt: {refused}")

    def _refused(self) -> UserError:
        return UserError(
            f"the endpoint refuses every prompt: {self.refusals[0]}",
            remedy="check the name after --model, and that the prompts fit into its context",
        )


@contextmanager
def open_endpoint(
    endpoint: Endpoint,
    limits: PaidLimits,
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float = 0.8,
    seed: int = 0,
) -> Iterator[EndpointGenerator]:
    """A generator for the model behind an endpoint; the other arguments are those of `EndpointGenerator`.

    Raises:
        UserError: A limit is below 1, the temperature or the number of tokens is out of range, or another
            run asks the same model.
    """
    check_drawing(temperature, max_new_tokens)
    for name in ("max_calls", "max_tokens", "workers"):
        if (value := getattr(limits, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    store = limits.answers / _folder_name(endpoint)
    client = RateLimitedClient(
        ChatService(endpoint, limits.timeout),
        store,
        max_calls=limits.max_calls,
        max_tokens=limits.max_tokens,
        dry_run=limits.dry_run,
    )
    if not limits.dry_run:
        check_writable(store, folder=True)
    with nullcontext() if limits.dry_run else one_writer(store, inside=True):
        yield EndpointGenerator(client, max_new_tokens, temperature, seed, limits.workers)


def _folder_name(endpoint: Endpoint) -> str:
    """The name of the folder for the answers of a model."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{urlsplit(endpoint.url).netloc}_{endpoint.model}")
    return f"{readable[:80]}-{content_hash(endpoint.url, endpoint.model)[:8]}"
