"""The sandboxed solver: it checks programs and enumerates their answer sets.

A program that a model wrote may do anything, so it is grounded and solved only in the worker processes of a
`Solver` (`scripts/asp/worker.py`). A worker has limits on processor time, wall-clock time and memory, and can
open no file or socket. A worker that exceeds a limit is killed and replaced. Programs with `#include` or
`#script` are refused before they reach a worker (`scripts/asp/gate.py`). Programs that pass the gate are also
parsed in this process (`scripts/asp/syntax.py`), but never grounded here.

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

from scripts.asp.gate import rejection
from utils_ft import UserError

AnswerSet = tuple[tuple[str, ...], tuple[int, ...]]
"""The shown atoms, sorted, and the costs by descending priority (empty if the program optimises nothing)."""


class Verdict(StrEnum):
    """The solver's result for one program.

    All but `OK` and `UNSATISFIABLE` are reasons why there is no answer.
    """

    OK = "ok"
    SYNTAX = "syntax"
    UNSAFE = "unsafe"  # unsafe variables, and everything else that grounding rejects
    UNSATISFIABLE = "unsatisfiable"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    REFUSED = "refused"  # by the gate
    TOO_MANY = "too many answer sets"


@dataclass(frozen=True)
class Limits:
    """The limits of one request.

    Attributes:
        cpu_seconds: Processor time, in seconds.
        wall_seconds: Wall-clock time, in seconds.
        memory_bytes: Memory above that of an idle worker, in bytes.
        answer_sets: The largest number of answer sets that are enumerated.
    """

    cpu_seconds: float = 2.0
    wall_seconds: float = 20.0
    memory_bytes: int = 512 * 2**20
    answer_sets: int = 2000


@dataclass(frozen=True)
class Request:
    """One program for the solver.

    Attributes:
        program: The text. It is parsed and grounded.
        solve: Whether its answer sets are enumerated as well.
        first: With `solve`, stop at the first answer set, optimal or not.
        answer_sets: A limit on the answer sets for this request, or None for the solver's.
        cpu_seconds: A limit on processor time for this request, or None for the solver's.
        parse: Parse the program and do nothing else. Only then may it name parts other than `base`.
    """

    program: str
    solve: bool = False
    first: bool = False
    answer_sets: int | None = None
    cpu_seconds: float | None = None
    parse: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the solver found out about one program.

    Attributes:
        verdict: The verdict.
        message: clingo's first errors as it printed them, or the reason of a refusal. It is "" only if the
            program passes.
        notes: clingo's warnings and infos.
        answer_sets: All (optimal) answer sets, or None if they were not requested or not all found.
    """

    verdict: Verdict
    message: str = ""
    notes: tuple[str, ...] = ()
    answer_sets: frozenset[AnswerSet] | None = None

    def __post_init__(self) -> None:
        """A program that does not pass has a message, even if clingo printed none."""
        if not self.passes and not self.message:
            object.__setattr__(self, "message", _LIMITS_MET.get(self.verdict, f"error: {self.verdict}"))

    @property
    def passes(self) -> bool:
        """Whether clingo accepts the program: it parses and grounds. It may still have no answer set."""
        return self.verdict in (Verdict.OK, Verdict.UNSATISFIABLE, Verdict.TOO_MANY)

    @property
    def position(self) -> tuple[int, int] | None:
        """Line and column (in bytes, from 1) of the first message, or None."""
        match = re.search(r":(\d+):(\d+)", self.message)
        return (int(match[1]), int(match[2])) if match else None


_LIMITS_MET = {Verdict.TIMEOUT: "error: out of time", Verdict.MEMORY: "error: out of memory"}
_PARSE_SECONDS = 20.0  # processor time to parse a text; the longest that passes the gate takes a few
_START_SECONDS = 60.0  # for a worker to start, on a machine with much else to do
_WORKER = Path(__file__).with_name("worker.py")
_PIPE = 30_000 if sys.platform == "linux" else 3_000  # bytes that fit into a pipe that is not being read
_SIGPROF = getattr(signal, "SIGPROF", 27)
_ARITHMETIC = (-signal.SIGFPE, 0xC0000095)  # the code of a process that ends so, on POSIX and on Windows


class _Worker:
    """One worker process.

    One thread at a time uses it; the watchdog thread kills it if it exceeds a limit.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.deadline = float("inf")
        self.first_size = sys.maxsize  # until the process has started
        self.cpu_at_start, self.cpu_limit = 0.0, float("inf")
        self.killed_for: Verdict | None = None
        self.served = 0
        self.spent = False  # the process has ended, or has used up its memory: start another one
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER), str(limits.memory_bytes), *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal must not reach the worker
            env={
                name: os.environ[name]
                for name in ("PATH", "SYSTEMROOT", "TEMP", "LD_LIBRARY_PATH")
                if name in os.environ
            },
        )
        self.usage = psutil.Process(self.process.pid)
        if not self._has_started():
            self.end()
            raise UserError(
                "the solver's process does not start",
                where=_WORKER,
                remedy=f"run this and read its message: {sys.executable} -I -c 'import clingo'",
            )
        self.first_size = self.usage.memory_info().rss

    def _has_started(self) -> bool:
        """Wait for the first frame, which the worker sends when its limits are set."""
        timer = threading.Timer(_START_SECONDS, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            return self._read() is not None
        finally:
            timer.cancel()

    def frame(self, request: Request) -> bytes:
        """`request` as the bytes that go through the pipe."""
        message = {
            "program": request.program,
            "solve": request.solve,
            "first": request.first,
            "parse": request.parse,
            "cpu_seconds": self._cpu_limit(request),
            "cap": self.limits.answer_sets if request.answer_sets is None else request.answer_sets,
        }
        data = json.dumps(message, ensure_ascii=False).encode()
        return struct.pack(">I", len(data)) + data

    def send(self, frames: bytes) -> None:
        """Send requests. If the process has ended, or does not read them in time, `receive` finds out why."""
        self.deadline = time.monotonic() + self.limits.wall_seconds
        with contextlib.suppress(OSError):
            self.process.stdin.write(frames)
            self.process.stdin.flush()
        self.deadline = float("inf")

    def receive(self, request: Request) -> Outcome:
        """Wait for the outcome of `request`, the oldest request without an answer."""
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
            reply["message"],
            tuple(reply["notes"]),
            None if sets is None else frozenset((tuple(atoms), tuple(costs)) for atoms, costs in sets),
        )

    @property
    def grown(self) -> bool:
        """Whether the process has grown much since its start: clingo never frees the symbols of a program."""
        try:
            return self.usage.memory_info().rss - self.first_size > self.limits.memory_bytes // 4
        except psutil.Error:
            return True

    def over(self, now: float) -> Verdict | None:
        """Return the verdict for which the watchdog should kill this process, or None."""
        with contextlib.suppress(psutil.Error):
            if self.deadline == float("inf"):
                return None
            if now > self.deadline or self._cpu() - self.cpu_at_start > self.cpu_limit:
                return Verdict.TIMEOUT
            if self.usage.memory_info().rss > self.first_size + self.limits.memory_bytes * 1.2:
                return Verdict.MEMORY
        return None

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):  # unsent bytes are dropped
            self.process.stdin.close()

    def _read(self) -> bytes | None:
        """The next frame, or None if the process has ended."""
        head = self.process.stdout.read(4)
        size = struct.unpack(">I", head)[0] if len(head) == 4 else 0
        data = self.process.stdout.read(size)
        return data if size and len(data) == size else None

    def _cpu_limit(self, request: Request) -> float:
        return self.limits.cpu_seconds if request.cpu_seconds is None else request.cpu_seconds

    def _cpu(self) -> float:
        """Processor seconds used so far. On POSIX 0: there the worker has a timer that ends it."""
        if hasattr(signal, "setitimer"):
            return 0.0
        times = self.usage.cpu_times()
        return times.user + times.system

    def _cause_of_death(self) -> Outcome:
        code = self.process.wait()
        if self.killed_for is Verdict.TIMEOUT or code == -_SIGPROF:
            return Outcome(Verdict.TIMEOUT)
        if self.killed_for is Verdict.MEMORY or code in (-9, 1):
            return Outcome(Verdict.MEMORY)
        if code in _ARITHMETIC:
            return Outcome(Verdict.UNSAFE, "error: the result of a division is too large for an integer")
        return Outcome(Verdict.MEMORY, "error: the solver crashed, as it does on terms nested too deeply")


class Solver:
    """A pool of worker processes.

    Any thread may use it; close it at the end, or use it in a `with` statement.

    Arguments:
        workers: The number of processes, by default one for each core. They start when they are needed.
        limits: The limits of each request.
    """

    def __init__(self, workers: int | None = None, limits: Limits = Limits()):
        self.limits = limits
        self.size = workers or os.cpu_count() or 1
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.size):
            self._idle.put(None)  # None: a worker that has not started yet
        self._alive: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, daemon=True, name="asp-watchdog")
        self._watchdog.start()

    def parse(self, program: str) -> Outcome:
        """Parse `program` and do nothing else."""
        return self._run_batch([Request(program, cpu_seconds=_PARSE_SECONDS, parse=True)])[0]

    def check(self, program: str) -> Outcome:
        """Parse and ground `program`."""
        return self._run_batch([Request(program)])[0]

    def answer_sets(self, program: str) -> Outcome:
        """Enumerate all (optimal) answer sets of `program`, projected on its shown atoms."""
        return self._run_batch([Request(program, solve=True)])[0]

    def run(self, requests: Iterable[Request], batch: int = 16) -> Iterator[Outcome]:
        """Yield the outcomes of `requests`, in their order.

        All workers compute, a few batches ahead of the reader.

        A batch is `batch` requests for one worker. If there are few requests, the batches are made smaller,
        so that every worker gets some.
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
        """End all workers.

        A running request ends with the verdict timeout; a later one raises RuntimeError.
        """
        self._closed.set()
        with self._lock:
            for worker in self._alive:
                worker.killed_for = worker.killed_for or Verdict.TIMEOUT
                worker.process.kill()
        self._watchdog.join()
        for _ in range(self.size):  # a thread that uses a worker puts it back into the queue
            if worker := self._idle.get():
                self._retire(worker)
        for _ in range(self.size):
            self._idle.put(None)

    def __enter__(self) -> Solver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        """Kill workers that exceed a limit; the watchdog thread runs this."""
        while not self._closed.wait(0.05):
            now = time.monotonic()
            with self._lock:
                for worker in self._alive:
                    if worker.killed_for is None and (reason := worker.over(now)):
                        worker.killed_for = reason
                        worker.process.kill()

    def _run_batch(self, requests: Sequence[Request]) -> list[Outcome]:
        """Run `requests` in one worker; the gate refuses some before."""
        outcomes = [_rejected(request) for request in requests]
        todo = deque(index for index, outcome in enumerate(outcomes) if outcome is None)
        worker = self._idle.get()
        try:
            while todo:
                worker = worker or self._start()
                for index in self._send_ahead(worker, requests, todo):
                    outcome = worker.receive(requests[index])
                    if outcome.verdict is Verdict.MEMORY and worker.served > 1:
                        break  # earlier programs may have used the memory: repeat it in a new process
                    outcomes[index] = outcome
                    todo.popleft()
                    if worker.spent:
                        break
                if worker.spent or worker.grown:
                    worker = self._retire(worker)
            return outcomes
        except BaseException:  # also an interrupt: unread answers may still be in the pipe
            worker = self._retire(worker)
            raise
        finally:
            self._idle.put(worker)

    @staticmethod
    def _send_ahead(worker: _Worker, requests: Sequence[Request], todo: Iterable[int]) -> list[int]:
        """Send as many of `todo` as fit into the pipe, at least one. Return their indices.

        With more, both sides could block: the worker on its full output pipe, this process on its input pipe.
        """
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


def _rejected(request: Request) -> Outcome | None:
    """The outcome of a program that the gate rejects, or None."""
    found = rejection(request.program, parts=request.parse)
    return found and Outcome(Verdict.SYNTAX if found.syntax else Verdict.REFUSED, found.message)


@cache
def shared_solver() -> Solver:
    """Return the solver that the whole process shares, with the default limits. It is closed at exit."""
    solver = Solver()
    atexit.register(solver.close)
    return solver
