"""Paraphrasing, against a real HTTP server that speaks Gemini's REST shape to the real client library."""

from __future__ import annotations

import json
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas
import pytest

from scripts.data.paraphrase import paid_calls, providers
from scripts.data.paraphrase.augmentor import ParaphraseSettings, paraphrase, tasks_of
from scripts.data.paraphrase.faithfulness import content, faithfulness_errors, vocabulary
from scripts.data.paraphrase.files import load_instructions, load_paraphrases, with_paraphrases
from scripts.data.paraphrase.report import ParaphraseReport
from scripts.data.problems import Problem, read_problems
from scripts.data.settings import STYLES
from scripts.lm.smoke_model import smoke_model
from utils_ft import ROOT, UserError

KEY = "AIzaSyTest-0123456789-secret"
REAL = ROOT / "data" / "benchmarks" / "games"

# --- the server -------------------------------------------------------------------------------------------------

Plan = Callable[[str, int], object]
"""The text to rewrite, and the how-manieth question about it in this style, to what happens; None is a faithful answer."""


def faithful(text: str) -> str:
    if re.match(r"1\. ", text):
        return "\n".join(re.sub(r"^(\d+)\. ", r"\1. Please note: ", line) for line in text.split("\n"))
    return f"In other words, this is what is asked.\n\n{text}"


class Gemini:
    """A server on the loopback address. `asked` counts the requests of each prompt, `answered` the whole answers sent."""

    def __init__(self, plan: Plan, seconds: float):
        self.plan, self.seconds = plan, seconds
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.times: list[float] = []
        self.paths: set[str] = set()
        self.keys: set[str | None] = set()
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:  # noqa: N802 - the name http.server dispatches on
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["contents"][0]["parts"][0]["text"]
                question = prompt.split("\n\nYour last answer was:")[0]
                text = re.split(r"\n(?:Description|Instructions):\n", question)[1]
                with lock:
                    server.asked[prompt] += 1
                    times = sum(
                        number for asked, number in server.asked.items() if asked.startswith(question)
                    )
                    server.times.append(time.monotonic())
                    server.paths.add(
                        self.path.split("?")[0]
                    )  # behind it `$alt=json;enum-encoding=int`: enums as numbers
                    server.keys.add(self.headers["x-goog-api-key"])
                time.sleep(server.seconds)
                action = server.plan(text, times)
                if callable(action):
                    action(self)
                    return
                if not isinstance(action, dict):
                    action = answer(faithful(text) if action is None else action)
                self.send(200, action)
                with lock:
                    server.answered[prompt] += 1

            def send(self, status: int, body: dict | bytes, headers: dict | None = None) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64  # with the usual five, a burst of connections loses some

        self.http = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def requests(self) -> int:
        return sum(self.asked.values())


STOP, MAX_TOKENS, SAFETY, NEWER_THAN_THE_LIBRARY = 1, 2, 3, 99


def answer(text: str, finish: int = STOP, tokens: int = 100) -> dict:
    """A response as the service sends it, with fields that this library is too old to know."""
    usage = {
        "promptTokenCount": 40,
        "candidatesTokenCount": 50,
        "thoughtsTokenCount": tokens - 90,
        "totalTokenCount": tokens,
    }
    return {
        "candidates": [
            {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}
        ],
        "usageMetadata": usage,
        "modelVersion": "gemini-3-flash",
        "responseId": "x",
    }


def error(
    status: int, message: str = "no", headers: dict | None = None, details: list | None = None
) -> Callable:
    body = {"error": {"code": status, "message": message, "status": "X", "details": details or []}}
    return lambda handler: handler.send(status, body, headers)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Half of an answer, then the connection is gone."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"candidates": [')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(2)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gemini]]:
    """Start a server and point the library at it."""
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


def write_problem(root: Path, name: str, number: int = 3) -> None:
    folder = root / "villages" / name
    folder.mkdir(parents=True)
    (folder / "problem.md").write_text(
        f"# The village {name}\n\nEach house gets 1 of {number} colours, and neighbours differ; "
        f"`limit` is {number + 1} by default.\n\n"
        f"- `house(H)`: H is a house.\n- `near(G, H)`: G is near H.\n- `paint(H, C)`: house H gets colour C.\n"
    )
    (folder / "encoding.lp").write_text(
        "% The constant limit.\n#const limit = 4.\n\n% Each house H gets exactly one colour C.\n"
        f"{{ paint(H, C) : C = 1..{number} }} = 1 :- house(H).\n\n% Houses G and H that are near have no colour C in common.\n"
        ":- near(G, H), paint(G, C), paint(H, C), C <= limit.\n"
    )


@pytest.fixture
def villages(tmp_path: Path) -> Callable[..., list[Problem]]:
    def make(*names: str) -> list[Problem]:
        for name in names:
            write_problem(tmp_path / "problems", name)
        return read_problems(tmp_path / "problems")

    return make


def run(problems: list[Problem], out: Path, dry_run: bool = False, **settings: object) -> ParaphraseReport:
    """Paraphrase with Gemini and `settings`, without a limit on the rate."""
    settings = {"per_minute": 60_000, "workers": 8} | settings
    return paraphrase(problems, "gemini", ParaphraseSettings(**settings), out=out, dry_run=dry_run)


# --- the gate ---------------------------------------------------------------------------------------------------

ORIGINAL = (
    '# Lamps\n\nEach lamp is `on` or `off` for 3 hours, at least -5 degrees; `limit` is 7. The sign says `label(L, "a.b")`.\n'
    "- `lamp(L)`: L is a lamp.\n- `-lit(L, T)`: lamp L is certainly dark at T."
)
FAITHFUL = (
    "Some lamps, `lamp(X)`, are each `on` or `off` during 3 hours, never below -5 degrees. The constant `limit` is 7, "
    'a sign reads `label(X, "a.b")`, and `-lit(X, T)` says that X is known to be dark at T.'
)


@pytest.mark.parametrize(
    ("change", "solver_message"),
    [
        (lambda t: t, None),
        (lambda t: t.replace("`lamp(X)`", "them"), "the predicate lamp/1 is missing"),
        (lambda t: t.replace("`lamp(X)`", "`lamp(X, Y)`"), "the predicate lamp/2 is invented"),
        (lambda t: t.replace("-lit", "lit"), "the predicate -lit/2 is missing"),
        (lambda t: t + " See `dark(X)`.", "the predicate dark/1 is invented"),
        (lambda t: t.replace("3 hours", "some hours"), "the number 3 is missing"),
        (lambda t: t.replace("3 hours", "three hours"), "the number 3 is missing"),
        (lambda t: t.replace("-5", "5"), "the number -5 is missing"),
        (lambda t: t.replace("7", "8"), "the number 8 is invented"),
        (lambda t: t.replace("a.b", "ab"), 'the string "a.b" is missing'),
        (lambda t: t.replace("`limit`", "bound"), "the name `limit` is missing"),
        (lambda t: t + " Use `max_lamps`.", "the name `max_lamps` is invented"),
        (lambda t: t + " There may be lamp(s) and X - 1 or f(X).", None),
        (lambda t: "1. " + t.replace(". ", ".\n2. "), None),  # numbers that count a list
        (lambda t: t + "\n```\nlamp(a).\n```", "it contains ASP code"),
        (lambda t: t + "\nlamp(a) :- on.", "it contains ASP code"),
        (lambda t: t + "\nlamp(a).", "it contains ASP code"),
        (lambda t: "Here is the rewritten text: " + t, "it opens with a remark instead of the text"),
        (lambda t: t + " and so on" * 60, "it is much longer than the original"),
        (lambda t: "", "it is empty"),
        (lambda t: ORIGINAL, "it is the original unchanged"),
    ],
)
def test_the_gate_names_what_is_wrong(change: Callable[[str], str], solver_message: str | None) -> None:
    found = faithfulness_errors(ORIGINAL, change(FAITHFUL), frozenset({"lamp", "lit", "on", "off", "limit"}))
    assert any(solver_message in fault for fault in found) if solver_message else found == []


def test_hand_written_paraphrases_pass_and_lose_nothing_unnoticed() -> None:
    problems = read_problems()
    report = paraphrase(problems, "shipped")
    assert [row for row in report.results if row.status != "shipped"] == []
    assert len(report.results) == 3 * len(problems)
    for problem in (problem for problem in problems if problem.family == REAL.name):
        names = vocabulary(problem.encoding)
        said = content(problem.description, names)
        text = problem.paraphrases["natural"]
        for word in [item.split("/")[0] for item in said.predicates] + sorted(said.names | said.numbers):
            mutilated = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "thing", text, flags=re.IGNORECASE)
            assert faithfulness_errors(problem.description, mutilated, names), (problem.id, word)


# --- one run through everything that a service does -------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Unrecognized FinishReason")
def test_a_run_survives_everything_a_service_does(serve, villages, tmp_path, monkeypatch) -> None:  # noqa: ANN001
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
    rows = {row.problem: row for row in report.results}
    assert {name for name, row in rows.items() if row.status == "made"} == set(names) - set(always)
    assert (
        rows["blocked"].why == "the answer is blocked (SAFETY)"
        and rows["unsafe"].why == "the answer is blocked (SAFETY)"
    )
    assert rows["unheard"].why == "the answer is blocked (99)"
    assert rows["hopeless"].status == "dropped" and "the predicate near/2 is missing" in rows["hopeless"].why
    assert (rows["refused"].status, rows["refused"].why) == ("failed", "HTTP 400: the request is not valid")
    assert rows["liar"].retried == 1 and "`near(G, H)`" in str(rows["liar"].texts.values())
    (again,) = [prompt for prompt in server.asked if "close(G, H)" in prompt]
    assert "the predicate near/2 is missing, the predicate close/2 is invented" in again
    assert server.paths == {"/v1beta/models/gemini-3-flash:generateContent"} and server.keys == {KEY}
    assert report.calls == server.requests and report.stopped == ""

    before = server.requests
    second = run(villages(), styles=["natural"], out=out)
    assert server.requests == before + 1, "only what was refused is asked again"
    assert Counter(row.status for row in second.results) == {"cached": 14, "dropped": 4, "failed": 1}
    table = pandas.DataFrame(second.summary())
    assert table.loc[0, ["made", "cached", "dropped", "failed", "tokens"]].tolist() == [0, 14, 4, 1, 0]
    [well] = [problem for problem in villages() if problem.name == "well"]
    assert second.descriptions(well) == {"original": well.description, "natural": faithful(well.description)}


def test_retry_after_holds_every_request_back(serve, villages, tmp_path) -> None:  # noqa: ANN001
    server = serve(lambda text, times: error(429, headers={"Retry-After": "1"}) if times == 1 else None)
    report = run(villages("a"), out=tmp_path / "out", workers=1)
    assert [row.status for row in report.results] == ["made"] * 3
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps[::2]) >= 0.99


def test_a_wait_of_hours_and_a_dead_service_end_the_run(serve, villages, tmp_path, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.setattr(paid_calls, "BACKOFF", 0.01)
    problems = villages(*"abcdef")
    server = serve(lambda text, times: error(429, headers={"Retry-After": "7200"}))
    report = run(problems, out=tmp_path / "one", workers=2)
    assert (
        "7200 seconds" in report.stopped
        and server.requests <= 2
        and {row.status for row in report.results} == {"open"}
    )
    server = serve(lambda text, times: error(503))
    report = run(problems, out=tmp_path / "two", workers=2)
    assert report.stopped == "the service does not answer: HTTP 503"
    assert server.requests <= (paid_calls.GIVE_UP_AFTER + 1) * paid_calls.REQUESTS
    assert Counter(row.status for row in report.results)["open"] >= 12


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (400, f"API key not valid: {KEY}", "GOOGLE_API_KEY"),
        (403, "no", "GOOGLE_API_KEY"),
        (404, "no such model", "GEMINI_MODEL"),
    ],
)
def test_a_wrong_key_or_model_ends_in_one_message(serve, villages, tmp_path, status, message, words) -> None:  # noqa: ANN001
    server = serve(lambda text, times: error(status, message))
    with pytest.raises(UserError, match=words) as caught:
        run(villages(*"abcdef"), out=tmp_path / "out", workers=2, model="gemini-x")
    assert server.requests <= 4 and server.paths == {"/v1beta/models/gemini-x:generateContent"}
    seen: BaseException | None = caught.value
    while seen is not None:
        assert KEY not in str(seen)
        assert not hasattr(seen, "response")
        seen = seen.__cause__ or seen.__context__


# --- budgets, plans, changes ------------------------------------------------------------------------------------


def test_budgets_stop_cleanly_and_the_next_run_goes_on(serve, villages, tmp_path) -> None:  # noqa: ANN001
    server, problems, out = serve(), villages(*"abcdef"), tmp_path / "out"
    first = run(problems, out=out, max_calls=5)
    assert server.requests == 5 == first.calls and "5 calls" in first.stopped
    assert Counter(row.status for row in first.results) == {"made": 5, "open": 13}
    second = run(
        problems, out=out, max_tokens=1200, workers=2
    )  # an answer costs 100, about 480 are set aside before it
    assert 0 < second.calls < 13 and second.tokens <= 1200 and "1200 tokens" in second.stopped
    third = run(problems, out=out)
    assert server.requests == 18 and set(server.asked.values()) == {1}
    assert first.calls + second.calls + third.calls == 18 and third.stopped == ""


def test_a_dry_run_counts_the_calls_and_makes_none(serve, villages, tmp_path) -> None:  # noqa: ANN001
    server, problems, out = serve(), villages(*"abcd"), tmp_path / "out"
    planned = run(problems, out=out, instructions=True, dry_run=True)
    assert server.requests == 0 and not out.exists() and planned.tokens > 1000
    run(problems, out=out, max_calls=7, instructions=True)
    rest = run(problems, out=out, instructions=True, dry_run=True)
    assert (planned.calls - 7, server.requests) == (rest.calls, 7)
    run(problems, out=out, instructions=True)
    # The instructions of the four villages are the same, so they are asked for once a style.
    assert server.requests == planned.calls == 4 * 3 + 3


def test_a_changed_problem_invalidates_only_its_own(serve, villages, tmp_path) -> None:  # noqa: ANN001
    server, out = serve(), tmp_path / "out"
    problems = villages("a", "b")
    run(problems, out=out)
    file = tmp_path / "problems" / "villages" / "a" / "problem.md"
    file.write_text(file.read_text().replace("neighbours differ", "neighbours of a house differ"))
    changed = read_problems(tmp_path / "problems")
    assert load_paraphrases(changed[0], out) == {} and set(load_paraphrases(changed[1], out)) == set(STYLES)
    report = run(changed, out=out)
    assert Counter((row.problem, row.status) for row in report.results) == {
        ("a", "made"): 3,
        ("b", "cached"): 3,
    }
    assert server.requests == 9
    assert "neighbours of a house differ" in load_paraphrases(changed[0], out)["academic"]


def test_generated_paraphrases_leave_the_hand_written_ones_alone(serve, tmp_path) -> None:  # noqa: ANN001
    serve()
    problem = next(problem for problem in read_problems(REAL) if problem.paraphrases)
    before = {file: file.read_bytes() for file in problem.folder.rglob("*") if file.is_file()}
    run([problem], styles=["natural"], out=tmp_path / "out")
    assert before == {file: file.read_bytes() for file in problem.folder.rglob("*") if file.is_file()}
    (merged,) = with_paraphrases([problem], tmp_path / "out")
    assert merged.paraphrases == problem.paraphrases | {"natural": faithful(problem.description)}
    head = (tmp_path / "out" / problem.family / problem.name / "natural.md").read_text().split("---")[1]
    assert "style: natural\nsource: gemini\nmodel: gemini-3-flash\n" in head


def test_instructions_keep_variables_and_only_the_failing_are_asked_again(serve, villages, tmp_path) -> None:  # noqa: ANN001
    def plan(text: str, times: int) -> object:
        if text.startswith("1. The constant"):  # drops the third line, loses a variable in the second
            return "1. Please note: the constant limit.\n2. Every house gets exactly one colour C.\n"
        return None

    server = serve(plan)
    (problem,) = villages("a")
    task = tasks_of(problem, ["natural"], True)[1]
    assert len(task.parts) == 3
    report = run([problem], styles=["natural"], out=tmp_path / "out", instructions=True)
    row = next(row for row in report.results if row.kind == "instructions")
    assert row.status == "made" and row.retried == 1 and len(row.texts) == 3
    (again,) = [prompt for prompt in server.asked if "Your last answer" in prompt]
    assert "1. Each house H gets" in again and "The constant" not in again
    assert "1: the name `H` is missing; 2: its line is missing" in again
    assert load_instructions(problem, tmp_path / "out") == {"natural": row.texts}


# --- interrupted, killed, under load ----------------------------------------------------------------------------


def command(
    problems: Path, out: Path, *options: str, env: dict | None = None, **named: object
) -> subprocess.Popen:
    arguments = [
        "--benchmarks",
        str(problems),
        "--out",
        str(out),
        "--per-minute",
        "60000",
        "--every",
        *options,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.data_augmentor", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "FT_WORKDIR": str(out.parent), **(env or {})},
        **named,
    )


def test_a_killed_run_goes_on_and_repeats_no_stored_call(serve, villages, tmp_path) -> None:  # noqa: ANN001
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
    asked = server.requests
    assert 0 < stored <= asked < 60
    assert asked - stored <= 8, "no more than the calls in flight at the two kills may be lost"
    process = command(tmp_path / "problems", out, "--workers", "4")  # auto finds the key
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "GOOGLE_API_KEY is set" in output, output
    assert server.requests == asked + (60 - stored)
    problems = read_problems(tmp_path / "problems")
    assert all(
        load_paraphrases(problem, out)[style] == faithful(problem.description)
        for problem in problems
        for style in STYLES
    )


def test_two_hundred_problems_lose_nothing_and_ask_nothing_twice(
    serve, villages, tmp_path, monkeypatch
) -> None:  # noqa: ANN001
    monkeypatch.setattr(paid_calls, "BACKOFF", 0.05)
    broken = {error(503): "down", hang_up: "gone", error(429, headers={"Retry-After": "0.05"}): "limited"}
    turn = iter(range(10_000))

    def plan(text: str, times: int) -> object:
        number = next(turn)
        return list(broken)[number // 23 % 3] if number % 23 == 0 else None

    server, out = serve(plan), tmp_path / "out"
    problems = villages(*(f"v{number}" for number in range(200)))
    report = run(problems, out=out, workers=16)
    assert [row.status for row in report.results] == ["made"] * 600
    assert len(server.answered) == 600 and set(server.answered.values()) == {1}
    assert report.calls == server.requests > 600
    assert report.tokens == 60_000 == sum(record["tokens"] for record in report.summary())
    assert len(list((out / ".answers").glob("*.json"))) == len(list(out.rglob("*.md"))) == 600
    assert not [file for file in out.rglob(".*") if file.name not in (".answers", ".lock")], (
        "no half-written file is left"
    )


def test_two_runs_in_one_folder_are_refused(serve, villages, tmp_path) -> None:  # noqa: ANN001
    serve(seconds=0.1)
    problems, out = villages(*"abcd"), tmp_path / "out"
    first = threading.Thread(target=run, args=(problems,), kwargs={"out": out, "workers": 1})
    first.start()
    while not (out / ".lock").exists():
        time.sleep(0.01)
    time.sleep(0.05)
    with pytest.raises(UserError, match="another run"):
        run(problems, out=out)
    first.join()


# --- keys and providers -----------------------------------------------------------------------------------------


def test_the_key_reaches_no_output_and_no_file(serve, villages, tmp_path) -> None:  # noqa: ANN001
    def plan(text: str, times: int) -> object:
        name = re.search(r"The village (\w+)", text)[1]
        once = {"gone": hang_up} if times == 1 else {}
        return ({"echo": f"Your key is {KEY}.", "refused": error(400, f"bad request by {KEY}")} | once).get(
            name
        )

    server, out = serve(plan), tmp_path / "out"
    villages("echo", "refused", "gone", "well")
    loud = {"GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google", "PYTHONUNBUFFERED": "1"}
    process = command(tmp_path / "problems", out, "--styles", "natural", "--tries", "2", env=loud)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and server.keys == {KEY}
    assert "dropped: villages/echo" in output and "HTTP 400: bad request by [key]" in output
    texts = [output] + [file.read_text() for file in out.rglob("*") if file.is_file()]
    assert len(texts) > 5 and not [text for text in texts if KEY in text]
    assert any("[key]" in text for text in texts[1:]), "the answer that holds the key is stored without it"

    serve(lambda text, times: error(403, f"{KEY} may not"))
    process = command(tmp_path / "problems", tmp_path / "other", env=loud)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and KEY not in output and "Traceback" not in output
    assert output.count("error:") == 1 and "remedy: check GOOGLE_API_KEY" in output


def test_without_a_key_gemini_says_so_and_auto_takes_the_shipped(tmp_path, villages, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.setenv("GOOGLE_API_KEY", "")
    academic = ParaphraseSettings(styles=["academic"])
    with pytest.raises(UserError, match="GOOGLE_API_KEY is not set"):
        paraphrase(villages("a"), "gemini", out=tmp_path / "out")
    report = paraphrase(read_problems(REAL), "auto", academic, out=tmp_path / "out")
    assert report.provider == "shipped" and "GOOGLE_API_KEY is not set" in report.chosen and report.calls == 0
    assert report.summary()[0]["shipped"] == len(read_problems(REAL)) and not (tmp_path / "out").exists()
    report = paraphrase(villages(), "auto", academic)
    assert report.losses()[0]["why"] == "no hand-written description in this style"
    for provider, settings in (
        ("other", {}),
        ("local", {}),
        ("shipped", {"styles": ["poetic"]}),
        ("shipped", {"tries": 0}),
    ):
        with pytest.raises(UserError, match="remedy"):
            paraphrase(villages(), provider, ParaphraseSettings(**settings))


def test_a_local_chat_model_is_asked_through_its_own_template(villages, tmp_path, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.setattr(providers, "LOCAL_TOKENS", 24)
    folder = smoke_model(tmp_path / "smoke")
    settings = ParaphraseSettings(styles=["natural"], model=str(folder), tries=2, per_minute=6000)
    ask = partial(paraphrase, provider="local", settings=settings, out=tmp_path / "out")
    first = ask(villages("a"))
    (row,) = first.results
    assert (
        row.status == "dropped"
        and first.calls == 2
        and first.tokens > 1000
        and first.model.startswith(str(folder))
    )
    second = ask(villages())
    assert second.calls == 0 and second.results[0].why == row.why
