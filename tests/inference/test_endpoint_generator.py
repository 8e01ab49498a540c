"""A model behind an endpoint: every question is answered once, and nothing is paid for twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.inference.endpoint_generator import EndpointGenerator, PaidLimits, open_endpoint
from scripts.lm import paid_calls
from scripts.lm.endpoint import read_endpoint
from tests.lm.chat_server import FAULTS, ChatServer, completion, content, error
from utils_ft import UserError

Open = Callable[..., EndpointGenerator]


def ask(number: int) -> list[dict]:
    """A conversation whose answer is `a(number).`."""
    return [{"role": "system", "content": "Write ASP."}, {"role": "user", "content": f"fact {number}"}]


def right(body: dict, _number: int = 1) -> dict:
    """The answer to such a conversation."""
    return completion(f"a({body['messages'][-1]['content'].split()[1]}).")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, and no key."""
    monkeypatch.setattr(paid_calls, "BACKOFF", 0.01)
    monkeypatch.setenv("ENDPOINT_API_KEY", "")


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Open]:
    """Opens a generator for a server; `limits` are fields of `PaidLimits`."""
    with ExitStack() as stack:

        def open_one(server: ChatServer | str, **limits: object) -> EndpointGenerator:
            url = server if isinstance(server, str) else stack.enter_context(server).url
            settings = {"answers": tmp_path / "answers", "timeout": 0.5} | limits
            opened = open_endpoint(read_endpoint(url, "tiny"), PaidLimits(**settings), 32)
            return stack.enter_context(opened)

        yield open_one


def test_500_questions_between_all_faults_are_answered_once_and_in_order(connect: Open) -> None:
    def reply(body: dict, times: int) -> object:
        number = int(body["messages"][-1]["content"].split()[1])
        faults = [FAULTS[number % len(FAULTS)], FAULTS[number // len(FAULTS) % len(FAULTS)]]
        if number % 3 and times <= number % 3:
            return faults[times - 1]
        return right(body) if number % 7 else completion(f"a({number}).", "length")

    server = ChatServer(reply)
    generator = connect(server, workers=32)
    done: list[int] = []
    texts = generator.generate([ask(number) for number in range(500)], done.append)
    assert texts == [f"a({number})." for number in range(500)]
    assert set(server.answered.values()) == {1} and len(server.answered) == sum(done) == 500
    assert generator.client.spent["calls"] == server.requests == 500 + 167 + 2 * 166
    assert generator.usage == {"answers": 500, "prompt_tokens": 5000, "answer_tokens": 2500}
    before = server.requests
    assert generator.generate([ask(number) for number in range(500)]) == texts
    assert server.requests == before, "kept answers are not asked for again"


def test_equal_questions_at_the_same_time_are_paid_for_once(connect: Open) -> None:
    server = ChatServer(right)
    assert connect(server).generate([ask(7)] * 20) == ["a(7)."] * 20
    assert server.requests == 1


@pytest.mark.parametrize(
    ("limits", "calls"), [({"max_calls": 10}, 10), ({"max_tokens": 600, "workers": 1}, 9)]
)
def test_a_budget_ends_the_run_and_the_same_run_continues(connect: Open, limits: dict, calls: int) -> None:
    server = ChatServer(right)
    generator = connect(server, **limits)
    with pytest.raises(UserError, match=r"budget of \d+ (calls|tokens)(.|\n)*run the same command again"):
        generator.generate([ask(number) for number in range(50)])
    first = server.requests
    assert first > 0 and (first == calls or "max_tokens" in limits)
    more = EndpointGenerator(
        paid_calls.RateLimitedClient(generator.client.provider, generator.client.store), 32
    )
    assert more.generate([ask(number) for number in range(50)]) == [f"a({number})." for number in range(50)]
    assert server.requests == 50 and more.client.spent["calls"] == 50 - first


def test_a_dry_run_counts_calls_and_tokens_and_asks_nothing(connect: Open, tmp_path: Path) -> None:
    server = ChatServer(right)
    generator = connect(server, dry_run=True)
    assert generator.generate([ask(1), ask(2), ask(2)]) == [""] * 3
    assert generator.spent.startswith("dry run: 2 calls") and server.requests == 0
    assert 2 * 32 < generator.client.spent["tokens"] < 400 and not (tmp_path / "answers").exists()


def test_samples_have_seeds_of_their_own_and_choosing_is_said_to_be_by_agreement(
    connect: Open, capsys: pytest.CaptureFixture
) -> None:
    server = ChatServer(right)
    generator = connect(server)
    assert generator.sample([ask(1), ask(2)], 3) == [["a(1)."] * 3, ["a(2)."] * 3]
    seeds = {body["seed"] for body in server.bodies}
    assert len(seeds) == 6 and {body["temperature"] for body in server.bodies} == {0.8}
    generator.sample([ask(3)], 1)
    assert capsys.readouterr().out.count("by agreement") == 1


def test_a_prompt_that_is_refused_has_no_answer_and_is_reported(connect: Open) -> None:
    generator = connect(
        ChatServer(
            lambda body, n: error(400, "too long") if "3" in body["messages"][-1]["content"] else right(body)
        ),
        workers=1,
    )
    assert generator.generate([ask(number) for number in range(5)]) == [
        "a(0).",
        "a(1).",
        "a(2).",
        "",
        "a(4).",
    ]
    assert "refused 1 prompts, the first: HTTP 400: too long" in generator.spent


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(400, "pinned to another model"), "refuses every prompt: HTTP 400: pinned to another model"),
        (error(401), "does not accept the key"),
        (error(404, "no such model"), "knows no model 'tiny'"),
        (content(200, b"<html></html>"), "does not answer as OpenAI's chat completions do"),
        (error(500), "a question has no answer: HTTP 500, 6 times"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_one_error_after_few_requests(
    connect: Open, reply: object, message: str
) -> None:
    server = ChatServer(lambda body, number: reply)
    with pytest.raises(UserError, match=message):
        connect(server).generate([ask(number) for number in range(100)])
    assert server.requests <= 8 * paid_calls.REQUESTS + 8


def test_a_host_that_does_not_answer_is_one_error(connect: Open) -> None:
    with pytest.raises(UserError, match=r"no server answers at http://127\.0\.0\.1:9/v1"):
        connect("http://127.0.0.1:9").generate([ask(1)])


def test_two_runs_do_not_ask_one_model_at_the_same_time(connect: Open) -> None:
    server = ChatServer(right)
    connect(server)
    with pytest.raises(UserError, match="another process writes here"):
        connect(server.url)


@pytest.mark.parametrize("limits", [{"workers": 0}, {"max_calls": 0}, {"max_tokens": -1}])
def test_a_limit_below_one_is_an_error(connect: Open, limits: dict) -> None:
    with pytest.raises(UserError, match="must be at least 1"):
        connect("http://127.0.0.1:9", **limits)
