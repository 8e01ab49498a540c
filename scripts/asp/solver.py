"""clingo behind a wall: check a program, enumerate its answer sets, compare two programs.

Everything a model writes is hostile input: it is grounded and solved only in the worker processes of a `Solver`, each
with limits on processor time, wall-clock time and memory, without files or network, killed and replaced when a request
overruns. Programs that try to reach outside (`#include`, `#script`) never get that far. What the wall has let pass may be
parsed in our own process, for the arities of its predicates; it is never grounded there.

    with Solver() as solver:
        solver.check("p(X) :- not q(X).").message
        solver.answer_sets("{a; b} = 1.").answer_sets
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import chain, islice
from pathlib import Path

import psutil

from scripts.asp.gate import refusal
from utils_ft import UserError

AnswerSet = tuple[tuple[str, ...], tuple[int, ...]]
"""The shown atoms in order, and the costs by descending priority (empty where nothing is optimised)."""


class Verdict(StrEnum):
    """What became of a program. Only `OK` and `UNSATISFIABLE` are answers; the others are reasons for having none."""

    OK = "ok"
    SYNTAX = "syntax"
    UNSAFE = "unsafe"  # unsafe variables, and whatever else grounding refuses
    UNSATISFIABLE = "unsatisfiable"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    REFUSED = "refused"
    TOO_MANY = "too many answer sets"


@dataclass(frozen=True)
class Limits:
    """Limits of one request: processor seconds, wall-clock seconds, bytes above the idle worker, answer sets."""

    cpu_seconds: float = 2.0
    wall_seconds: float = 20.0
    memory_bytes: int = 512 * 2**20
    answer_sets: int = 2000


@dataclass(frozen=True)
class Request:
    """One program for the wall: parsed and grounded, and with `solve` also enumerated. None: the solver's limit.

    `first` stops at the first answer set, optimal or not: enough to know that there is one.
    """

    program: str
    solve: bool = False
    first: bool = False
    answer_sets: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A verdict with clingo's errors as it printed them, its notes (warnings, infos) and, if solved, the answer sets."""

    verdict: Verdict
    message: str = ""
    notes: tuple[str, ...] = ()
    answer_sets: frozenset[AnswerSet] | None = None

    @property
    def passes(self) -> bool:
        """Whether clingo took the program: it parses and grounds (it may still have no answer set)."""
        return self.verdict in (Verdict.OK, Verdict.UNSATISFIABLE, Verdict.TOO_MANY)

    @property
    def position(self) -> tuple[int, int] | None:
        """Line and column (bytes, from 1) of the first message, or None."""
        found = re.search(r":(\d+):(\d+)", self.message)
        return (int(found[1]), int(found[2])) if found else None


# --- refusals ---------------------------------------------------------------------------------------------------


# --- workers ----------------------------------------------------------------------------------------------------

_WORKER = Path(__file__).with_name("worker.py")
_PIPE = (
    30_000 if sys.platform == "linux" else 3_000
)  # bytes that a pipe takes for certain while nobody reads it
_SIGPROF = getattr(signal, "SIGPROF", 27)


class _Worker:
    """One live process, and the limits of what it is doing. Used by one thread at a time, watched by another."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.deadline = float("inf")
        self.killed_for: Verdict | None = None
        self.served = 0
        self.spent = False  # it died, or may not have the memory that a fresh one has
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER), str(limits.memory_bytes), *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt typed at the terminal is for the person's own process
            env={
                name: os.environ[name]
                for name in ("PATH", "SYSTEMROOT", "TEMP", "LD_LIBRARY_PATH")
                if name in os.environ
            },
        )
        self.usage = psutil.Process(self.process.pid)
        if self._read() is None:  # the first frame says that it is up and has given up its rights
            self.end()
            raise UserError(
                "the solver's process does not start",
                where=_WORKER,
                remedy=f"see what this says: {sys.executable} -I -c 'import clingo'",
            )
        self.first_size = self.usage.memory_info().rss

    def frame(self, request: Request) -> bytes:
        """`request` as it goes over the pipe."""
        message = {
            "program": request.program,
            "solve": request.solve,
            "first": request.first,
            "cpu_seconds": self._cpu_limit(request),
            "cap": self.limits.answer_sets if request.answer_sets is None else request.answer_sets,
        }
        data = json.dumps(message, ensure_ascii=False).encode()
        return struct.pack(">I", len(data)) + data

    def send(self, frames: bytes) -> None:
        """Send requests; where the process has died, `receive` finds out and says of what."""
        with contextlib.suppress(OSError):
            self.process.stdin.write(frames)
            self.process.stdin.flush()

    def receive(self, request: Request) -> Outcome:
        """The outcome of `request`, the oldest one sent and not yet answered."""
        self.cpu_at_start, self.cpu_limit = self._cpu(), self._cpu_limit(request)
        self.deadline = time.monotonic() + self.limits.wall_seconds
        data = self._read()
        self.deadline = float("inf")
        self.served += 1
        if data is None:
            self.spent = True
            return self._cause_of_death()
        reply = json.loads(data)
        self.spent = reply["verdict"] == Verdict.MEMORY
        sets = reply.get("answer_sets")
        return Outcome(
            Verdict(reply["verdict"]),
            "\n".join(reply["errors"]),
            tuple(reply["notes"]),
            None if sets is None else frozenset((tuple(atoms), tuple(costs)) for atoms, costs in sets),
        )

    @property
    def grown(self) -> bool:
        """Whether it holds much more memory than when it was fresh: clingo never forgets a symbol."""
        try:
            return self.usage.memory_info().rss - self.first_size > self.limits.memory_bytes // 4
        except psutil.Error:
            return True

    def over(self, now: float) -> Verdict | None:
        """Why the watchdog should end the running request, if it should."""
        with contextlib.suppress(psutil.Error):
            if self.deadline == float("inf"):
                return None
            if now > self.deadline or self._cpu() - self.cpu_at_start > self.cpu_limit:
                return Verdict.TIMEOUT
            if self.usage.memory_info().rss > self.first_size + self.limits.memory_bytes * 1.2:
                return Verdict.MEMORY
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):  # what was not sent yet goes nowhere
            self.process.stdin.close()

    def _read(self) -> bytes | None:
        """The next frame, or None where the process ended instead."""
        head = self.process.stdout.read(4)
        size = struct.unpack(">I", head)[0] if len(head) == 4 else 0
        data = self.process.stdout.read(size)
        return data if size and len(data) == size else None

    def _cpu_limit(self, request: Request) -> float:
        return self.limits.cpu_seconds if request.cpu_seconds is None else request.cpu_seconds

    def _cpu(self) -> float:
        """Processor seconds so far, where the process has no timer to stop itself by (Windows)."""
        if hasattr(signal, "setitimer"):
            return 0.0
        times = self.usage.cpu_times()
        return times.user + times.system

    def _cause_of_death(self) -> Outcome:
        code = self.process.wait()
        if self.killed_for is Verdict.TIMEOUT or code == -_SIGPROF:
            return Outcome(Verdict.TIMEOUT, "error: out of time")
        if self.killed_for is Verdict.MEMORY or code in (-9, 1):
            return Outcome(Verdict.MEMORY, "error: out of memory")
        return Outcome(Verdict.MEMORY, "error: the solver crashed, as it does on terms nested too deeply")


class Solver:
    """A pool of live workers; use it from any thread, close it when done.

    Parameters
    ----------
    workers: processes to keep; by default one a core.
    limits: of each request.
    """

    def __init__(self, workers: int | None = None, limits: Limits = Limits()):
        self.limits = limits
        self.size = workers or os.cpu_count() or 1
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.size):
            self._idle.put(None)  # started when first needed
        self._alive: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, daemon=True, name="asp-watchdog")
        self._watchdog.start()

    def check(self, program: str) -> Outcome:
        """Parse and ground `program`: `OK`, or why not."""
        return self._run_batch([Request(program)])[0]

    def answer_sets(self, program: str) -> Outcome:
        """All (optimal) answer sets of `program`, projected on what it shows."""
        return self._run_batch([Request(program, solve=True)])[0]

    def run(self, requests: Iterable[Request], batch: int = 16) -> Iterator[Outcome]:
        """The outcomes of `requests`, in order, computed by all workers, at most a few batches ahead of the reader.

        A short list is shared out evenly, so that no worker idles while another has a whole batch.
        """
        requests = iter(requests)
        first = list(islice(requests, batch * self.size))
        batch = min(batch, -(-len(first) // self.size)) or 1
        requests = chain(first, requests)
        batches = iter(lambda: list(islice(requests, batch)), [])
        with ThreadPoolExecutor(self.size) as pool:
            pending = deque(pool.submit(self._run_batch, part) for part in islice(batches, 2 * self.size))
            while pending:
                yield from pending.popleft().result()
                pending.extend(pool.submit(self._run_batch, part) for part in islice(batches, 1))

    def close(self) -> None:
        """End all workers. A request that still runs comes back as a timeout, a later one is an error."""
        self._closed.set()
        with self._lock:
            for worker in self._alive:
                worker.killed_for = worker.killed_for or Verdict.TIMEOUT
                worker.process.kill()
        self._watchdog.join()
        for _ in range(self.size):  # each worker comes back to the queue when its thread is done with it
            if worker := self._idle.get():
                self._retire(worker)
        for _ in range(self.size):
            self._idle.put(None)

    def __enter__(self) -> Solver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        while not self._closed.wait(0.05):
            now = time.monotonic()
            with self._lock:
                for worker in self._alive:
                    if worker.killed_for is None and (reason := worker.over(now)):
                        worker.killed_for = reason
                        worker.process.kill()

    def _run_batch(self, requests: Sequence[Request]) -> list[Outcome]:
        reasons = [refusal(request.program) for request in requests]
        outcomes = [Outcome(Verdict.REFUSED, reason) if reason else None for reason in reasons]
        todo = deque(index for index, reason in enumerate(reasons) if not reason)
        worker = self._idle.get()
        try:
            while todo:
                worker = worker or self._start()
                for index in self._send_ahead(worker, requests, todo):
                    outcome = worker.receive(requests[index])
                    if outcome.verdict is Verdict.MEMORY and worker.served > 1:
                        break  # what earlier programs left behind may be to blame: once more, in a fresh process
                    outcomes[index] = outcome
                    todo.popleft()
                    if worker.spent:
                        break
                if worker.spent or worker.grown:
                    worker = self._retire(worker)
            return outcomes
        except BaseException:  # an interrupt among them: answers may be under way that nobody will read
            worker = self._retire(worker)
            raise
        finally:
            self._idle.put(worker)

    @staticmethod
    def _send_ahead(worker: _Worker, requests: Sequence[Request], todo: Iterable[int]) -> list[int]:
        """Send the next of `todo` that fit the pipe together (at least one), so that neither side waits for the other."""
        sent: list[int] = []
        frames = b""
        for index in todo:
            frame = worker.frame(requests[index])
            if sent and len(frames) + len(frame) > _PIPE:
                break
            sent.append(index)
            frames += frame
        worker.send(frames)
        return sent

    def _start(self) -> _Worker:
        worker = _Worker(self.limits)
        with self._lock:
            self._alive.add(worker)
            closed = self._closed.is_set()
        if closed:
            self._retire(worker)
            raise RuntimeError("this Solver is closed")
        return worker

    def _retire(self, worker: _Worker | None) -> None:
        if worker:
            with self._lock:
                self._alive.discard(worker)
            worker.end()


@cache
def shared_solver() -> Solver:
    """The process-wide solver with default limits; ended at exit."""
    solver = Solver()
    atexit.register(solver.close)
    return solver


# --- equivalence ------------------------------------------------------------------------------------------------
