"""An interrupted run of the generator is one message, loses nothing, and goes on with the same command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils_ft import ROOT

SLOW = """
import signal, sys, time
from pathlib import Path
from scripts.data.generator import folder
from scripts.data.generator.problem import Generated
from utils_ft import command

def generate(seed, index, level, *_):
    time.sleep(0.3)
    steps = tuple((f"Instruction {number}.", f"a({index},{number}).") for number in range(4000))
    return Generated(f"p{seed}_{index:05d}_{level}", f"generated_{index % 3}", "Text.", steps, {"i1": "b."})

def main(out: Path, problems: int = 8):
    written = folder.generate_folder(out, problems)
    print(f"{written.kept} kept, {len(written.problems)} new")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a script ignores it
folder.generate, folder.templates_by_level, folder._solver = generate, lambda *_: None, lambda: None
command(main)()
"""
"""The command with a generator that needs 0.3 s for a problem and no solver."""


def start(out: Path, limit: str = "") -> subprocess.Popen:
    """The command in a process group of its own, after the shell command `limit`."""
    words = [
        "bash",
        "-c",
        f'{limit or ":"}; exec "$@"',
        "bash",
        sys.executable,
        "-c",
        SLOW,
        "--out",
        str(out),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=env, start_new_session=True, **streams)


def run(out: Path, limit: str = "") -> tuple[int, str, str]:
    """The exit code, the output and the message of a command that ends by itself."""
    process = start(out, limit)
    output, message = process.communicate()
    return process.returncode, output, message


def wait_for_problem(out: Path) -> None:
    while not list(out.glob("generated_*/p*/encoding.lp")):
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def files(out: Path) -> dict[str, bytes]:
    found = (file for file in out.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out)[0] == 0
    return files(out)


def goes_on(out: Path, whole: dict[str, bytes]) -> None:
    """The same command keeps what is there, and the end is that of an undisturbed run."""
    code, output, message = run(out)
    assert code == 0, message
    assert output.split()[0] != "0" and files(out) == whole


def test_an_interrupt_is_one_message_and_loses_nothing(tmp_path: Path, whole: dict[str, bytes]):
    process = start(tmp_path)
    wait_for_problem(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    _, message = process.communicate()
    assert process.returncode == 130 and "Traceback" not in message and len(message.splitlines()) <= 1, (
        message
    )
    goes_on(tmp_path, whole)


def test_a_killed_command_leaves_no_process(tmp_path: Path, whole: dict[str, bytes]):
    process = start(tmp_path)
    wait_for_problem(tmp_path)
    process.kill()  # its children are not killed
    process.communicate(timeout=300)  # ends when no process has the streams any more
    goes_on(tmp_path, whole)


@pytest.mark.skipif(sys.platform != "linux", reason="the children are found in /proc")
def test_a_killed_child_is_one_message(tmp_path: Path, whole: dict[str, bytes]):
    process = start(tmp_path)
    wait_for_problem(tmp_path)
    os.kill(children_of(process.pid)[-1], signal.SIGKILL)
    _, message = process.communicate()
    assert process.returncode == 2 and message.count("error: ") == 1 and "Traceback" not in message, message
    assert "was killed, most likely because memory ran out" in message and "run the same command" in message
    goes_on(tmp_path, whole)


@pytest.mark.skipif(sys.platform == "win32", reason="no ulimit")
def test_a_disk_without_space_is_one_message(tmp_path: Path):
    """The limit on the size of files stands for a full disk: the folder can be written, a problem cannot."""
    code, _, message = run(tmp_path, "ulimit -f 16")
    assert code == 2 and message.count("error: ") == 1 and "Traceback" not in message, message
    assert "File too large" in message and "then run the same command again" in message
    assert not files(tmp_path), "no problem is half there"
