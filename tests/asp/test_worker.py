"""The worker process: it can open no file or socket, also if the gate is not used."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.asp import solver as asp_solver
from scripts.asp.solver import Limits, Request, Solver, Verdict, _Worker
from tests.asp.hostile import QUICK


def test_a_worker_cannot_open_a_file_without_the_gate_either(tmp_path):
    secret = tmp_path / "secret.lp"
    secret.write_text("secret(42).\n")
    worker = _Worker(QUICK)
    try:
        for program in (f'#include "{secret}".', '#include "/etc/passwd".', '#include "/dev/stdin".'):
            request = Request(program, solve=True)
            worker.send(worker.frame(request))
            outcome = worker.receive(request)
            assert outcome.verdict is Verdict.SYNTAX
            assert "could not be opened" in outcome.message
        for language in ("python", "lua"):
            request = Request(f"#script ({language})\nimport os\n#end.\na.")
            worker.send(worker.frame(request))
            assert worker.receive(request).verdict is not Verdict.OK
    finally:
        worker.end()


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no such limits; there only the gate protects"
)
def test_after_lock_down_no_file_or_socket_can_be_opened(tmp_path):
    code = """
import importlib.util, os, socket, sys
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
worker = importlib.util.module_from_spec(spec); spec.loader.exec_module(worker)
held = open(sys.argv[2], "w")
hole = os.open("/dev/null", os.O_RDONLY)
high = os.dup2(hole, 40)
os.close(hole)
worker.lock_down(256 * 2**20)
for name, attempt in {
    "read": lambda: open(sys.argv[1]), "write": lambda: open(sys.argv[2] + ".new", "w"),
    "socket": socket.socket, "pair": socket.socketpair, "pipe": os.pipe,
    "held": lambda: (held.write("x"), held.flush()), "memory": lambda: bytearray(2**30),
}.items():
    try:
        attempt(); print(name, "is possible")
    except (OSError, MemoryError) as error:
        print(name, type(error).__name__)
"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + code,
            str(Path(asp_solver.__file__).with_name("worker.py")),
            str(tmp_path / "held"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "possible" not in done.stdout.replace(
        "memory is possible" if sys.platform == "darwin" else "-", ""
    )
    assert len(done.stdout.strip().split("\n")) == 7, done.stderr


def test_the_worker_imports_nothing_of_this_project():
    """It is started as a file: it can import clingo and the standard library only."""
    spec = importlib.util.find_spec("scripts.asp.worker")
    assert "scripts" not in Path(spec.origin).read_text().split('"""', 2)[2]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows has no such signal")
@pytest.mark.parametrize("program", ["a.", "a. % " + "x" * 3_000_000], ids=["short", "long"])
def test_a_worker_that_does_not_read_is_replaced(program):
    with Solver(1, Limits(wall_seconds=0.5)) as pool:
        assert pool.check("a.").passes
        [worker] = pool._alive
        worker.process.send_signal(signal.SIGSTOP)
        assert pool.check(program).verdict is Verdict.TIMEOUT
        assert pool.check("a.").passes
