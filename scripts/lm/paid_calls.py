"""Requests that cost money: stored answers, limits, and repetition.

Each answer is stored as soon as it arrives, so that no question is paid for twice. If the process is killed,
only the answers to running requests are lost. Several threads may use one client.

A service is anything with a `model` and a function `ask` from a prompt to an `Answer`: Gemini for
paraphrases, an endpoint for an evaluation.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol, TypeVar

from utils_ft import UserError, content_hash, read_json, write_json

REQUESTS = 6  # the most requests for one answer, if the service does not answer
BACKOFF = 1.0  # seconds before the first repetition; doubled for each further one, then shortened at random
LONGEST_WAIT = 300.0  # seconds; if the service demands a longer wait (a daily quota), the run ends
FIRST_REQUESTS = 2  # the most requests before the first answer of a run, if they fail as a wrong setting does
GIVE_UP_AFTER = 5  # questions in a row without an answer, after which the run ends
CHARACTERS_PER_TOKEN = 3.5

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        text: The text.
        tokens: The tokens that it cost: prompt, thoughts and answer.
        stopped: Why the text is not complete: `empty`, `cut off` or `blocked (REASON)`; "" if it is complete.
        written: Those of the tokens that the model wrote; 0 if the service does not tell.
    """

    text: str
    tokens: int
    stopped: str = ""
    written: int = 0

    @property
    def blocked(self) -> bool:
        """Whether the service blocks the question; another try would change nothing."""
        return self.stopped.startswith("blocked")


class Unavailable(Exception):
    """The service did not answer. The request may be repeated.

    Attributes:
        wait: Seconds to wait before, if the service named a time.
        tokens: The tokens that the request cost all the same.
        if_first: The error for a person if no request of the run was ever answered: then a setting is wrong.
    """

    def __init__(
        self, why: str, wait: float | None = None, *, tokens: int = 0, if_first: UserError | None = None
    ):
        super().__init__(why)
        self.wait, self.tokens, self.if_first = wait, tokens, if_first


class Refused(Exception):
    """The service refuses this request; a repetition would change nothing."""


class Service(Protocol):
    """What a client needs of a service: the name of its model, and a function that answers a prompt.

    `ask` raises Unavailable, Refused, or UserError if no request can have an answer.
    """

    model: str
    ask: Callable[[str], Answer]


def seconds_to_wait(header: str | None) -> float | None:
    """The seconds that a header Retry-After names, as a number or as a date; None if it names none."""
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return None


class Stopped(Exception):
    """The run makes no further requests. The text says why."""


class Failed(Exception):
    """There was no answer to a question after `requests` requests."""

    requests = REQUESTS


class RateLimitedClient:
    """Sends requests to a service, within limits.

    Arguments:
        provider: The service.
        store: The folder of stored answers.
        max_calls: The most requests of this run, or None.
        max_tokens: The most tokens of this run, or None.
        per_minute: The most requests in a minute.
        dry_run: Only count the requests that would be made, and estimate their tokens.

    Attributes:
        spent: `calls` and `tokens` of this run.
        reason: Why the run was stopped, or "".
    """

    def __init__(
        self,
        provider: Service,
        store: Path,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        per_minute: float = math.inf,
        dry_run: bool = False,
    ):
        self.provider, self.store, self.dry_run = provider, store, dry_run
        self.max_calls, self.max_tokens = max_calls, max_tokens
        self.spent: Counter[str] = Counter()
        self.reason = ""
        self._interval = 60 / per_minute
        self._next = 0.0  # when the next request may start
        self._reserved_tokens = 0  # an estimate for the running requests
        self._given_up = 0
        self._answered = False  # whether the service has ever answered in this run
        self._planned: set[str] = set()
        self._lock = threading.Lock()
        self._keys: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._stop = threading.Event()

    def stop(self, reason: str) -> None:
        """End the run. Answers to running requests are still stored; no new request starts."""
        self.reason = self.reason or reason
        self._stop.set()

    def stored(self, name: str) -> Answer | None:
        """Return the answer that is stored as `name`, or None."""
        file = self.store / f"{name}.json"
        if not file.exists():
            return None
        remedy = "remove it; the next run asks its question again"
        try:
            answer = Answer(**read_json(file, remedy)["answer"])
        except (KeyError, TypeError):
            answer = None
        if not answer or not isinstance(answer.text, str) or not isinstance(answer.tokens, int):
            raise UserError("not a stored answer", where=file, remedy=remedy)
        return answer

    def ask(
        self, prompt: str, text: str = "", attempt: int = 0, longest: int | None = None
    ) -> tuple[Answer, int]:
        """Return the answer to a question, and the number of requests that it took: 0 if it was stored.

        Arguments:
            prompt: The prompt.
            text: A text in the prompt that the answer tells in other words: it is about as long.
            attempt: The number of the attempt: each attempt has an answer of its own.
            longest: The tokens of an answer, at most, if there is a limit.

        Raises:
            Stopped: The run has ended.
            Failed: The service does not answer.
            Refused: The service refuses this question.
        """
        name = content_hash(self.provider.model, prompt, text, str(attempt))
        with self._lock:
            alone = self._keys[name]
        with alone:  # of two equal questions at the same time, the second waits and finds the answer
            if answer := self.stored(name):
                return answer, 0
            estimate = round((len(prompt) + len(text)) / CHARACTERS_PER_TOKEN) + (longest or 0)
            if self.dry_run:
                self._plan(name, estimate)
            answer, requests = self._request(prompt, estimate)
            record = {"model": self.provider.model, "attempt": attempt, "answer": asdict(answer)}
            write_json(self.store / f"{name}.json", record)
            return answer, requests

    def _plan(self, name: str, estimate: int) -> None:
        """Count a question of a dry run."""
        with self._lock:
            if name not in self._planned:
                self._planned.add(name)
                self.spent.update(calls=1, tokens=estimate)
        raise Stopped("dry run")

    def _request(self, prompt: str, estimate: int) -> tuple[Answer, int]:
        """Send requests until there is an answer; return it and the number of requests."""
        why = ""
        for number in range(1, REQUESTS + 1):
            self._wait_for_slot()
            self._take_from_budget(estimate)
            answer, tokens = None, 0
            try:
                answer = self.provider.ask(prompt)
                return answer, number
            except Unavailable as error:
                why, wait, tokens = str(error), error.wait, error.tokens
                if error.if_first and not self._answered and number >= FIRST_REQUESTS:
                    raise error.if_first from None
            finally:
                with self._lock:
                    self._reserved_tokens -= estimate
                    self.spent["tokens"] += answer.tokens if answer else tokens
                    if answer:
                        self._answered, self._given_up = True, 0
            if number < REQUESTS:
                self._back_off(number, wait, why)
        with self._lock:
            self._given_up += 1
            gone = self._given_up >= GIVE_UP_AFTER
        if gone:
            self.stop(f"the service does not answer: {why}")
        raise Failed(f"{why}, {REQUESTS} times")

    def _wait_for_slot(self) -> None:
        """Wait until the next request may start."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        if self._stop.wait(start - now):
            raise Stopped(self.reason)

    def _take_from_budget(self, estimate: int) -> None:
        """Count a request, or raise Stopped if it is beyond a limit."""
        with self._lock:
            if self.max_calls is not None and self.spent["calls"] >= self.max_calls:
                self.stop(f"the budget of {self.max_calls} calls is spent")
            elif (
                self.max_tokens is not None
                and self.spent["tokens"] + self._reserved_tokens + estimate > self.max_tokens
            ):
                self.stop(f"the next call would pass the budget of {self.max_tokens} tokens")
            if self._stop.is_set():
                raise Stopped(self.reason)
            self.spent["calls"] += 1
            self._reserved_tokens += estimate

    def _back_off(self, number: int, wait: float | None, why: str) -> None:
        """Wait before a repetition.

        If the service names a time, all requests wait; otherwise only this one.
        """
        if wait is None:
            self._stop.wait(BACKOFF * 2 ** (number - 1) * random.uniform(0.5, 1.0))
        elif wait > LONGEST_WAIT:
            self.stop(f"the service asks to wait {wait:.0f} seconds ({why})")
        else:
            with self._lock:
                self._next = max(self._next, time.monotonic() + wait)


def in_parallel(
    tasks: Sequence[Callable[[], Result]],
    workers: int,
    client: RateLimitedClient,
    on_result: Callable[[Result], object] | None = None,
) -> list[Result]:
    """Run tasks that use `client` in threads and return their results, in order.

    On an error, the client is stopped: answers to running requests are waited for and stored, and no new
    request starts.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in as_completed(futures):
                result = future.result()
                if on_result:
                    on_result(result)
        except BaseException:
            client.stop("interrupted")
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]
