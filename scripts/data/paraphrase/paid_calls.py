"""Calls that cost money: each answer is stored the moment it arrives, none is asked for twice, and limits hold.

Safe to use from several threads. Killed at any point, it loses the calls in flight and nothing else.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

from scripts.data.paraphrase.providers import Answer, Provider, Unavailable
from utils_ft import UserError, content_hash, read_text, write_json

REQUESTS = 6  # for one answer, at the most, while the service does not answer
BACKOFF = 1.0  # seconds before the first repetition; doubled for each further one, with jitter
LONGEST_WAIT = 300.0  # seconds; a service that asks for more (a daily quota) ends the run
GIVE_UP_AFTER = 5  # answers given up one after another, with nothing in between: the service is gone
CHARACTERS_PER_TOKEN = 3.5


class Stopped(Exception):
    """No further call is made in this run, and why."""


class Failed(Exception):
    """One answer was given up, after `requests` requests."""

    requests = REQUESTS


class RateLimitedClient:
    """Asks a provider within limits; `spent` counts the requests (`calls`) and their `tokens`."""

    def __init__(
        self,
        provider: Provider,
        store: Path,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        per_minute: float = 60,
        dry_run: bool = False,
    ):
        self.provider, self.store, self.dry_run = provider, store, dry_run
        self.max_calls, self.max_tokens = max_calls, max_tokens
        self.spent: Counter[str] = Counter()
        self.reason = ""  # why the run was stopped, if it was
        self._interval = 60 / per_minute
        self._next = 0.0  # when the next request may start
        self._reserved_tokens = 0  # tokens of the requests in flight, estimated
        self._given_up = 0
        self._planned: set[str] = set()
        self._lock = threading.Lock()
        self._keys: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._stop = threading.Event()

    def stop(self, reason: str) -> None:
        """End the run: requests in flight come home and are stored, no new one starts."""
        self.reason = self.reason or reason
        self._stop.set()

    def stored(self, name: str) -> Answer | None:
        """The answer stored under a hash, or None."""
        file = self.store / f"{name}.json"
        if not file.exists():
            return None
        try:
            return Answer(**json.loads(read_text(file))["answer"])
        except (KeyError, TypeError, ValueError):
            raise UserError(
                "not a stored answer", where=file, remedy="remove it; its question is then asked again"
            ) from None

    def ask(self, prompt: str, text: str, attempt: int) -> tuple[Answer, int]:
        """The answer to `prompt` about `text`, and how many requests it took: none where it was stored already.

        Raises Stopped where the run is over, Failed or Refused where this answer is not to be had.
        """
        name = content_hash(self.provider.model, prompt, text, str(attempt))
        with self._lock:
            alone = self._keys[name]
        with alone:  # equal questions of two problems wait for each other, and the second finds the answer
            if answer := self.stored(name):
                return answer, 0
            estimate = round((len(prompt) + len(text)) / CHARACTERS_PER_TOKEN)
            if self.dry_run:
                self._plan(name, estimate)
            answer, requests = self._request(prompt, estimate)
            record = {"model": self.provider.model, "attempt": attempt, "answer": asdict(answer)}
            write_json(self.store / f"{name}.json", record)
            return answer, requests

    def _plan(self, name: str, estimate: int) -> None:
        with self._lock:
            if name not in self._planned:
                self._planned.add(name)
                self.spent.update(calls=1, tokens=estimate)
        raise Stopped("dry run")

    def _request(self, prompt: str, estimate: int) -> tuple[Answer, int]:
        why = ""
        for number in range(1, REQUESTS + 1):
            self._wait_for_slot()
            self._take_from_budget(estimate)
            answer = None
            try:
                answer = self.provider.ask(prompt)
                return answer, number
            except Unavailable as error:
                why, wait = str(error), error.wait
            finally:
                with self._lock:
                    self._reserved_tokens -= estimate
                    if answer:
                        self.spent["tokens"] += answer.tokens
                        self._given_up = 0
            if number < REQUESTS:
                self._back_off(number, wait, why)
        with self._lock:
            self._given_up += 1
            gone = self._given_up >= GIVE_UP_AFTER
        if gone:
            self.stop(f"the service does not answer: {why}")
        raise Failed(f"{why}, {REQUESTS} times")

    def _wait_for_slot(self) -> None:
        """Wait for this request's place in the rate."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        if self._stop.wait(start - now):
            raise Stopped(self.reason)

    def _take_from_budget(self, estimate: int) -> None:
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
        """Delay the repetition: every request where the service named a time, otherwise this thread's own."""
        if wait is None:
            self._stop.wait(BACKOFF * 2 ** (number - 1) * random.uniform(0.5, 1.0))
        elif wait > LONGEST_WAIT:
            self.stop(f"the service asks to wait {wait:.0f} seconds ({why})")
        else:
            with self._lock:
                self._next = max(self._next, time.monotonic() + wait)
