"""A model behind an endpoint gets the scores of its folder, and an evaluation survives kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.data.problems import Problem
from scripts.evaluate import main
from scripts.evaluation.evaluate import evaluate_endpoint, evaluate_once
from scripts.evaluation.settings import EvaluationSettings
from scripts.inference.endpoint_generator import PaidLimits
from scripts.lm.endpoint import read_endpoint
from tests.examples import write_problem
from tests.lm.chat_server import ChatServer, error, smoke_reply
from utils_ft import ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_verdicts_are_those_of_the_local_model(
    smoke: Path, some_problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_API_KEY", "")
    settings = EvaluationSettings(
        ("steps", "repair", "programs", "whole"), k=(0,), max_new_tokens=24, shots=2
    )
    problems = some_problems[:2]
    local = evaluate_once(tmp_path / "local.json", smoke, problems, settings)
    with ChatServer(smoke_reply(smoke)) as server:
        endpoint, paid = read_endpoint(server.url, "smoke"), PaidLimits(answers=tmp_path / "answers")
        remote = evaluate_endpoint(tmp_path / "remote.json", endpoint, problems, settings, paid)
        requests = server.requests
        assert evaluate_endpoint(tmp_path / "other.json", endpoint, problems, settings, paid)["verdicts"]
        assert server.requests == requests, "the second evaluation reads the kept answers"
    assert remote["verdicts"] == local["verdicts"] and len(local["verdicts"]) > 12
    assert remote["usage"] == local["usage"] and remote["usage"]["answer_tokens"] > 200
    assert remote["problem_set"] == local["problem_set"]
    assert (remote["model"], remote["endpoint"]) == ("smoke", f"{server.url}/chat/completions")
    assert local["endpoint"] is None and local["parameters"] > 10_000


def command(folder: Path, url: str, *words: str) -> subprocess.Popen:
    """Start the command on the problems in `folder`."""
    options = ["--endpoint", url, "--model", "m", "--benchmarks", str(folder / "set"), "--parts", "steps"]
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.evaluate", *options, "--out", str(folder / "out.json"), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ
        | {"FT_WORKDIR": str(folder), "OMP_NUM_THREADS": "1", "ENDPOINT_API_KEY": "sk-very-secret"},
    )


@pytest.fixture
def forty_steps(tmp_path: Path) -> Path:
    """A folder with a problem of 40 steps."""
    rules = "\n\n".join(f"% Fact number {number}.\na({number})." for number in range(40))
    write_problem(tmp_path / "set" / "family" / "facts", "Facts `a(N)`.", rules, one="b(1).")
    return tmp_path


def test_after_kill_9_no_kept_answer_is_asked_for_again(forty_steps: Path) -> None:
    def reply(body: dict, _number: int) -> str:
        time.sleep(0.2)
        return f"a({body['messages'][-1]['content'].split()[2]}"  # no period: wrong, but an answer

    workers = 2
    with ChatServer(reply) as server:
        process = command(forty_steps, server.url, "--workers", str(workers))
        deadline = time.monotonic() + 120
        while len(list(forty_steps.glob("data/answers/*/*.json"))) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = len(list(forty_steps.glob("data/answers/*/*.json")))
        assert 8 <= kept < 40 and not (forty_steps / "out.json").exists()
        time.sleep(0.5)
        before = server.requests
        process = command(forty_steps, server.url, "--workers", str(workers))
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
        assert server.requests - before == 40 - kept and before - kept <= workers
    assert f"{40 - kept} calls" in output and "sk-very-secret" not in output
    result = json.loads((forty_steps / "out.json").read_text())
    assert result["steps"]["n"] == result["usage"]["answers"] == 40
    texts = [file.read_text() for file in forty_steps.rglob("*.json")]
    assert len(texts) > 40 and not [text for text in texts if "sk-very-secret" in text]


def test_a_wrong_key_is_one_message_without_the_key(forty_steps: Path) -> None:
    with ChatServer(lambda body, number: error(401, "wrong key sk-very-secret")) as server:
        process = command(forty_steps, server.url)
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 2 and "does not accept the key" in output, output
    assert output.count("error:") == 1 and "Traceback" not in output and "sk-very-secret" not in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "http://host/v1", "grammar": True}, "--grammar needs the weights"),
        ({"endpoint": "http://host/v1", "adapter": Path("x")}, "--adapter needs the weights"),
        ({"endpoint": "host"}, "not an address"),
        ({"max_calls": 3}, "--max-calls is for requests to an endpoint"),
        ({"dry_run": True}, "--dry-run is for requests to an endpoint"),
        ({"shots": -1}, "--shots must be at least 0"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_loaded(
    forty_steps: Path, options: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        main(model="m", out=forty_steps / "out.json", benchmarks=forty_steps / "set", **options)
