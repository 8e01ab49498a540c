"""Paraphrasing against a server: answers are stored, limits hold, and interrupted runs continue."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas
import pytest

from scripts.data.paraphrase import providers
from scripts.data.paraphrase.augmentor import ParaphraseSettings, paraphrase, tasks_of
from scripts.data.paraphrase.files import load_instructions, load_paraphrases, with_paraphrases
from scripts.data.paraphrase.report import ParaphraseReport
from scripts.data.problems import Problem, read_problems
from scripts.data.settings import STYLES
from scripts.data_augmentor import main
from scripts.lm import paid_calls
from tests.data.gemini_server import (
    MAX_TOKENS,
    NEWER_THAN_THE_LIBRARY,
    SAFETY,
    Gemini,
    Plan,
    answer,
    error,
    faithful,
    hang_up,
)
from tests.examples import write_problem
from utils_ft import ROOT, UserError
from utils_ft import command as command_line

KEY = "AIzaSyTest-0123456789-secret"


REAL = ROOT / "data" / "benchmarks" / "games"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gemini]]:
    """A function that starts a server, to which the library sends its requests."""
    running: list[Gemini] = []

    def start(plan: Plan = lambda text, times: None, seconds: float = 0.0) -> Gemini:
        running.append(Gemini(plan, seconds))
        monkeypatch.setenv("GEMINI_ENDPOINT", running[-1].address)
        return running[-1]

    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GEMINI_MODEL", raising=False)
    yield start
    for server in running:
        server.http.shutdown()
        server.http.server_close()


VILLAGE = """# The village {name}

Each house gets 1 of 3 colours, and neighbours differ; `limit` is 4 by default.

- `house(H)`: H is a house.
- `near(G, H)`: G is near H.
- `paint(H, C)`: house H gets colour C.
"""
ENCODING = """% The constant limit.
#const limit = 4.

% Each house H gets exactly one colour C.
{ paint(H, C) : C = 1..3 } = 1 :- house(H).

% Houses G and H that are near have no colour C in common.
:- near(G, H), paint(G, C), paint(H, C), C <= limit.
"""


@pytest.fixture
def villages(tmp_path: Path) -> Callable[..., list[Problem]]:
    """A function that adds problems with these names to a folder and returns all problems of the folder."""

    def make(*names: str) -> list[Problem]:
        for name in names:
            write_problem(tmp_path / "problems" / "villages" / name, VILLAGE.format(name=name), ENCODING)
        return read_problems(tmp_path / "problems")

    return make


def run(problems: list[Problem], out: Path, dry_run: bool = False, **settings: object) -> ParaphraseReport:
    """Paraphrase with Gemini and `settings`, without a limit on the rate."""
    settings = {"per_minute": 60_000, "workers": 8} | settings
    return paraphrase(problems, "gemini", ParaphraseSettings(**settings), out=out, dry_run=dry_run)


@pytest.mark.filterwarnings("ignore:Unrecognized FinishReason")
def test_a_run_handles_every_behaviour_of_a_service(serve, villages, tmp_path, monkeypatch) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.2s"}
    once = {
        "limited": error(429, headers={"Retry-After": "1"}),
        "quota": error(429, details=[info]),
        "down": error(503),
        "broken": error(500),
        "gone": hang_up,
        "slow": lambda handler: time.sleep(2.5),
        "empty": answer(""),
        "nothing": {"usageMetadata": {"totalTokenCount": 7}},
        "long": answer("In", MAX_TOKENS),
        "malformed": lambda handler: handler.send(200, b'{"candidates": [{"con'),
        "text": lambda handler: handler.send(200, b"<html>proxy</html>"),
        "list": lambda handler: handler.send(502, b'["x"]'),
    }
    always = {
        "blocked": {"promptFeedback": {"blockReason": 1}, "usageMetadata": {"totalTokenCount": 7}},
        "unsafe": answer("In", SAFETY),
        "unheard": answer("In", NEWER_THAN_THE_LIBRARY),
        "hopeless": "Paint the houses.",
        "refused": error(400, "the request is not valid"),
    }

    def plan(text: str, times: int) -> object:
        name = re.search(r"The village (\w+)", text)[1]
        if name == "liar" and times == 1:
            return faithful(text).replace("`near(G, H)`", "`close(G, H)`")
        return always[name] if name in always else once.get(name) if times == 1 else None

    names = ["well", "liar", *once, *always]
    server = serve(plan)
    monkeypatch.setattr(providers, "gemini", partial(providers.gemini, timeout=1.0))
    monkeypatch.setattr(paid_calls, "BACKOFF", 0.05)
    out = tmp_path / "out"
    report = run(villages(*names), styles=["natural"], out=out, workers=len(names))
    results = {result.problem: result for result in report.results}
    assert {name for name, result in results.items() if result.status == "made"} == set(names) - set(always)
    assert results["blocked"].why == results["unsafe"].why == "the answer is blocked (SAFETY)"
    assert results["unheard"].why == "the answer is blocked (99)"
    hopeless, refused = results["hopeless"], results["refused"]
    assert hopeless.status == "dropped" and "the predicate near/2 is missing" in hopeless.why
    assert (refused.status, refused.why) == ("failed", "HTTP 400: the request is not valid")
    assert results["liar"].retried == 1 and "`near(G, H)`" in str(results["liar"].texts.values())
    (again,) = [prompt for prompt in server.prompts if "close(G, H)" in prompt]
    assert "the predicate near/2 is missing, the predicate close/2 is invented" in again
    assert server.paths == {"/v1beta/models/gemini-3.8-flash:generateContent"} and server.keys == {KEY}
    assert report.calls == server.requests and report.stopped == ""

    before = server.requests
    second = run(villages(), styles=["natural"], out=out)
    assert server.requests == before + 1, "only the refused question is sent again"
    assert Counter(result.status for result in second.results) == {"cached": 14, "dropped": 4, "failed": 1}
    table = pandas.DataFrame(second.summary())
    assert table.loc[0, ["made", "cached", "dropped", "failed", "tokens"]].tolist() == [0, 14, 4, 1, 0]
    [well] = [problem for problem in villages() if problem.name == "well"]
    assert second.descriptions(well) == {"original": well.description, "natural": faithful(well.description)}


def test_retry_after_delays_all_requests(serve, villages, tmp_path) -> None:
    server = serve(lambda text, times: error(429, headers={"Retry-After": "1"}) if times == 1 else None)
    report = run(villages("a"), out=tmp_path / "out", workers=1)
    assert [result.status for result in report.results] == ["made"] * 3
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps[::2]) >= 0.99


def test_a_wait_of_hours_and_a_dead_service_end_the_run(serve, villages, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(paid_calls, "BACKOFF", 0.01)
    problems = villages(*"abcdef")
    server = serve(lambda text, times: error(429, headers={"Retry-After": "7200"}))
    report = run(problems, out=tmp_path / "one", workers=2)
    assert "7200 seconds" in report.stopped and server.requests <= 2
    assert {result.status for result in report.results} == {"open"}
    server = serve(lambda text, times: error(503))
    report = run(problems, out=tmp_path / "two", workers=2)
    assert report.stopped == "the service does not answer: HTTP 503"
    assert server.requests <= (paid_calls.GIVE_UP_AFTER + 1) * paid_calls.REQUESTS
    assert Counter(result.status for result in report.results)["open"] >= 12


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (400, f"API key not valid: {KEY}", "GOOGLE_API_KEY"),
        (403, "no", "GOOGLE_API_KEY"),
        (404, "no such model", "GEMINI_MODEL"),
    ],
)
def test_a_wrong_key_or_model_is_a_user_error_without_the_key(
    serve, villages, tmp_path, status, message, words
) -> None:
    server = serve(lambda text, times: error(status, message))
    with pytest.raises(UserError, match=words) as caught:
        run(villages(*"abcdef"), out=tmp_path / "out", workers=2, model="gemini-x")
    assert server.requests <= 4 and server.paths == {"/v1beta/models/gemini-x:generateContent"}
    seen: BaseException | None = caught.value
    while seen is not None:
        assert KEY not in str(seen)
        assert not hasattr(seen, "response")
        seen = seen.__cause__ or seen.__context__


def test_a_run_stops_at_its_budget_and_the_next_run_continues(serve, villages, tmp_path) -> None:
    server, problems, out = serve(), villages(*"abcdef"), tmp_path / "out"
    first = run(problems, out=out, max_calls=5)
    assert server.requests == 5 == first.calls and "5 calls" in first.stopped
    assert Counter(result.status for result in first.results) == {"made": 5, "open": 13}
    # An answer costs 100 tokens; about 480 are reserved before each.
    second = run(problems, out=out, max_tokens=1200, workers=2)
    assert 0 < second.calls < 13 and second.tokens <= 1200 and "1200 tokens" in second.stopped
    third = run(problems, out=out)
    assert server.requests == 18 and set(server.prompts.values()) == {1}
    assert first.calls + second.calls + third.calls == 18 and third.stopped == ""


def test_a_dry_run_counts_the_calls_and_makes_none(serve, villages, tmp_path) -> None:
    server, problems, out = serve(), villages(*"abcd"), tmp_path / "out"
    planned = run(problems, out=out, instructions=True, dry_run=True)
    assert server.requests == 0 and not out.exists() and planned.tokens > 1000
    run(problems, out=out, max_calls=7, instructions=True)
    rest = run(problems, out=out, instructions=True, dry_run=True)
    assert (planned.calls - 7, server.requests) == (rest.calls, 7)
    run(problems, out=out, instructions=True)
    # The instructions of the four villages are the same, so there is one question for each style.
    assert server.requests == planned.calls == 4 * 3 + 3


def test_a_changed_problem_needs_new_paraphrases_and_others_do_not(serve, villages, tmp_path) -> None:
    server, out = serve(), tmp_path / "out"
    problems = villages("a", "b")
    run(problems, out=out)
    file = tmp_path / "problems" / "villages" / "a" / "problem.md"
    file.write_text(file.read_text().replace("neighbours differ", "neighbours of a house differ"))
    changed = read_problems(tmp_path / "problems")
    assert load_paraphrases(changed[0], out) == {} and set(load_paraphrases(changed[1], out)) == set(STYLES)
    report = run(changed, out=out)
    assert Counter((result.problem, result.status) for result in report.results) == {
        ("a", "made"): 3,
        ("b", "cached"): 3,
    }
    assert server.requests == 9
    assert "neighbours of a house differ" in load_paraphrases(changed[0], out)["academic"]


def test_generated_paraphrases_leave_the_hand_written_ones_alone(serve, tmp_path) -> None:
    serve()
    problem = next(problem for problem in read_problems(REAL) if problem.paraphrases)
    before = {file: file.read_bytes() for file in problem.folder.rglob("*") if file.is_file()}
    run([problem], styles=["natural"], out=tmp_path / "out")
    assert before == {file: file.read_bytes() for file in problem.folder.rglob("*") if file.is_file()}
    (merged,) = with_paraphrases([problem], tmp_path / "out")
    assert merged.paraphrases == problem.paraphrases | {"natural": faithful(problem.description)}
    head = (tmp_path / "out" / problem.family / problem.name / "natural.md").read_text().split("---")[1]
    assert "style: natural\nsource: gemini\nmodel: gemini-3.8-flash\n" in head


def test_only_unfaithful_instructions_are_asked_again(serve, villages, tmp_path) -> None:
    def plan(text: str, times: int) -> object:
        if text.startswith(
            "1. The constant"
        ):  # without the third line, and without the variable of the second
            return "1. Please note: the constant limit.\n2. Every house gets exactly one colour C.\n"
        return None

    server = serve(plan)
    (problem,) = villages("a")
    task = tasks_of(problem, ["natural"], True)[1]
    assert len(task.parts) == 3
    report = run([problem], styles=["natural"], out=tmp_path / "out", instructions=True)
    result = next(result for result in report.results if result.kind == "instructions")
    assert result.status == "made" and result.retried == 1 and len(result.texts) == 3
    (again,) = [prompt for prompt in server.prompts if "Your last answer" in prompt]
    assert "1. Each house H gets" in again and "The constant" not in again
    assert "1: the name `H` is missing; 2: its line is missing" in again
    assert load_instructions(problem, tmp_path / "out") == {"natural": result.texts}


def command(
    problems: Path, out: Path, *options: str, env: dict | None = None, **named: object
) -> subprocess.Popen:
    """Start the command on all problems of a folder."""
    folders = ("--benchmarks", str(problems), "--out", str(out))
    arguments = [*folders, "--per-minute", "60000", "--every", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.data_augmentor", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "FT_WORKDIR": str(out.parent), **(env or {})},
        **named,
    )


def test_a_killed_run_continues_and_repeats_no_stored_answer(serve, villages, tmp_path) -> None:
    server, out = serve(seconds=0.05), tmp_path / "out"
    villages(*(f"v{number}" for number in range(20)))
    for goal in (12, 30):
        process = command(tmp_path / "problems", out, "--provider", "gemini", "--workers", "4")
        while server.requests < goal and process.poll() is None:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    stored = len(list((out / ".answers").glob("*.json")))
    sent = server.requests
    assert 0 < stored <= sent < 60
    assert sent - stored <= 8, "only the requests that were running at the two kills may be lost"
    process = command(tmp_path / "problems", out, "--workers", "4")  # the provider is auto
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "GOOGLE_API_KEY is set" in output, output
    assert server.requests == sent + (60 - stored)
    problems = read_problems(tmp_path / "problems")
    assert all(
        load_paraphrases(problem, out)[style] == faithful(problem.description)
        for problem in problems
        for style in STYLES
    )


def test_two_hundred_problems_lose_nothing_and_ask_nothing_twice(
    serve, villages, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(paid_calls, "BACKOFF", 0.05)
    failures = [error(503), hang_up, error(429, headers={"Retry-After": "0.05"})]
    turn = iter(range(10_000))

    def plan(text: str, times: int) -> object:
        number = next(turn)
        return failures[number // 23 % 3] if number % 23 == 0 else None

    server, out = serve(plan), tmp_path / "out"
    problems = villages(*(f"v{number}" for number in range(200)))
    report = run(problems, out=out, workers=16)
    assert [result.status for result in report.results] == ["made"] * 600
    assert len(server.answered) == 600 and set(server.answered.values()) == {1}
    assert report.calls == server.requests > 600
    assert report.tokens == 60_000 == sum(record["tokens"] for record in report.summary())
    assert len(list((out / ".answers").glob("*.json"))) == len(list(out.rglob("*.md"))) == 600
    hidden = {file.name for file in out.rglob(".*")}
    assert hidden <= {".answers", ".lock"}, "no incomplete file is left"


def test_the_command_fails_if_every_text_failed(serve, villages, tmp_path, capsys) -> None:
    villages(*"ab")
    words = [
        "--benchmarks",
        str(tmp_path / "problems"),
        "--out",
        str(tmp_path / "out"),
        "--provider",
        "gemini",
    ]
    words += ["--styles", "natural", "--tries", "1", "--every"]
    for plan, code in ((lambda *_: "An unfaithful text.", 1), (None, 0)):
        serve(plan) if plan else serve()
        with pytest.raises(SystemExit) as ended:
            command_line(main)([*words, "--model", f"gemini-{code}"])
        assert ended.value.code == code
    assert "no text has a faithful paraphrase" in capsys.readouterr().err


def test_two_runs_in_one_folder_are_refused(serve, villages, tmp_path) -> None:
    serve(seconds=0.1)
    problems, out = villages(*"abcd"), tmp_path / "out"
    first = threading.Thread(target=run, args=(problems,), kwargs={"out": out, "workers": 1})
    first.start()
    while not (out / ".lock").exists():
        time.sleep(0.01)
    time.sleep(0.05)
    with pytest.raises(UserError, match="another process writes here: process"):
        run(problems, out=out)
    first.join()


def test_the_key_reaches_no_output_and_no_file(serve, villages, tmp_path) -> None:
    def plan(text: str, times: int) -> object:
        name = re.search(r"The village (\w+)", text)[1]
        if name == "gone":
            return hang_up if times == 1 else None
        return {"echo": f"Your key is {KEY}.", "refused": error(400, f"bad request by {KEY}")}.get(name)

    server, out = serve(plan), tmp_path / "out"
    villages("echo", "refused", "gone", "well")
    loud = {"GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google", "PYTHONUNBUFFERED": "1"}
    process = command(tmp_path / "problems", out, "--styles", "natural", "--tries", "2", env=loud)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and server.keys == {KEY}
    assert "dropped: villages/echo" in output and "HTTP 400: bad request by [key]" in output
    texts = [output] + [file.read_text() for file in out.rglob("*") if file.is_file()]
    assert len(texts) > 5 and not [text for text in texts if KEY in text]
    assert any("[key]" in text for text in texts[1:]), "the answer that contains the key is stored without it"

    serve(lambda text, times: error(403, f"{KEY} may not"))
    process = command(tmp_path / "problems", tmp_path / "other", env=loud)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and KEY not in output and "Traceback" not in output
    assert output.count("error:") == 1 and "remedy: check GOOGLE_API_KEY" in output


def test_without_a_key_gemini_is_an_error_and_auto_uses_hand_written_paraphrases(
    tmp_path, villages, monkeypatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "")
    academic = ParaphraseSettings(styles=["academic"])
    with pytest.raises(UserError, match="GOOGLE_API_KEY is not set"):
        paraphrase(villages("a"), "gemini", out=tmp_path / "out")
    report = paraphrase(read_problems(REAL), "auto", academic, out=tmp_path / "out")
    assert report.provider == "shipped" and "GOOGLE_API_KEY is not set" in report.chosen and report.calls == 0
    assert report.summary()[0]["shipped"] == len(read_problems(REAL)) and not (tmp_path / "out").exists()
    report = paraphrase(villages(), "auto", academic)
    assert {result.why for result in report.results} == {"no hand-written description in this style"}
    for provider, settings in (
        ("other", {}),
        ("local", {}),
        ("shipped", {"styles": ["poetic"]}),
        ("shipped", {"tries": 0}),
    ):
        with pytest.raises(UserError, match="remedy"):
            paraphrase(villages(), provider, ParaphraseSettings(**settings))


def test_a_local_chat_model_answers_with_its_own_template(smoke, villages, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(providers, "LOCAL_TOKENS", 24)
    settings = ParaphraseSettings(styles=["natural"], model=str(smoke), tries=2, per_minute=6000)
    ask = partial(paraphrase, provider="local", settings=settings, out=tmp_path / "out")
    first = ask(villages("a"))
    (result,) = first.results
    assert result.status == "dropped" and first.calls == 2 and first.tokens > 1000
    assert first.model.startswith(str(smoke))
    second = ask(villages())
    assert second.calls == 0 and second.results[0].why == result.why
