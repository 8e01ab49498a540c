"""Endpoints: addresses, one message for each wrong setting, parameters that a model refuses, the key."""

from __future__ import annotations

import json
import logging

import pytest

from scripts.lm.endpoint import ChatService, read_endpoint
from scripts.lm.paid_calls import Refused, Unavailable
from tests.lm.chat_server import ChatServer, completion, content, error
from utils_ft import UserError

KEY = "sk-test-0123456789-secret"
PROMPT = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "temperature": 0})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of all tests."""
    monkeypatch.setenv("ENDPOINT_API_KEY", KEY)


def ask(reply: object) -> object:
    """The answer of a server that always replies so."""
    with ChatServer(lambda body, number: reply) as server:
        return ChatService(read_endpoint(server.url, "tiny")).ask(PROMPT)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://host/api/v1/", "https://host/api/v1/chat/completions"),
        ("https://host/v1/chat/completions", "https://host/v1/chat/completions"),
        ("https://host/openai?api-version=2", "https://host/openai/chat/completions?api-version=2"),
    ],
)
def test_an_address_may_be_written_in_several_ways(given: str, url: str) -> None:
    assert read_endpoint(given, "m").url == url


@pytest.mark.parametrize(
    "given", ["", "localhost:8000", "ftp://host/v1", "http://", "http://[::1", "file:///etc"]
)
def test_what_is_no_address_is_rejected(given: str) -> None:
    with pytest.raises(UserError, match="not an address"):
        read_endpoint(given, "m")


def test_a_password_in_the_address_is_rejected_without_repeating_it() -> None:
    with pytest.raises(UserError) as caught:
        read_endpoint("http://me:hunter2@host/v1", "m")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(401, f"Incorrect API key provided: {KEY}"), "does not accept the key: HTTP 401"),
        (error(403), "does not accept the key: HTTP 403"),
        (error(404, "The model `tiny` does not exist"), "knows no model 'tiny': HTTP 404"),
        (content(404, {"detail": "Not Found"}), "does not answer as OpenAI's chat completions do: HTTP 404"),
        (content(405, b"<html>"), "does not answer as OpenAI's chat completions do: HTTP 405"),
        (content(302, b""), "does not answer as OpenAI's chat completions do: HTTP 302"),
        (error(402, "no credits"), "asks for payment: HTTP 402: no credits"),
        (error(429, "quota", code="insufficient_quota"), "asks for payment: HTTP 429"),
    ],
)
def test_a_wrong_setting_is_one_message(reply: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ask(reply)
    assert KEY not in str(caught.value) and caught.value.remedy


def test_an_address_without_a_server_and_one_that_answers_otherwise_are_wrong_settings() -> None:
    for url in ("http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"):
        with pytest.raises(Unavailable) as caught:
            ChatService(read_endpoint(url, "m")).ask(PROMPT)
        assert "no server answers at" in str(caught.value.if_first)
    for data in (b"<html>hello</html>", {"text": "hi"}, [], b"\xff\xfe"):
        with pytest.raises(Unavailable) as caught:
            ask(content(200, data))
        assert "does not answer as OpenAI's" in str(caught.value.if_first)


def test_a_server_that_is_busy_may_be_asked_again_and_names_the_time() -> None:
    with pytest.raises(Unavailable, match="HTTP 429") as caught:
        ask(error(429, headers={"Retry-After": "7"}))
    assert caught.value.wait == 7.0 and caught.value.if_first is None
    with pytest.raises(Refused, match="HTTP 400: too long"):
        ask(error(400, "too long"))


@pytest.mark.parametrize(
    ("reply", "text", "stopped"),
    [
        (completion("a."), "a.", ""),
        (completion("a(", "length"), "a(", "cut off"),
        (completion(None), "", "empty"),
        (completion("", "content_filter"), "", "blocked (content filter)"),
        (completion([{"type": "thinking"}, {"type": "text", "text": "b."}]), "b.", ""),
        (completion(f"my key is {KEY}"), "my key is [key]", ""),
    ],
)
def test_an_answer_is_read_with_the_reason_why_it_ended(reply: dict, text: str, stopped: str) -> None:
    answer = ask(reply)
    assert (answer.text, answer.stopped, answer.tokens, answer.written) == (text, stopped, 15, 5)


def test_tokens_are_estimated_for_a_server_that_does_not_count_them() -> None:
    assert ask({"choices": completion("a(1..9).")["choices"]}).tokens > 10


def test_parameters_that_a_model_does_not_take_are_renamed_or_left_out() -> None:
    def reply(body: dict, _number: int) -> object:
        if "max_tokens" in body:
            return error(400, "use max_completion_tokens instead", param="max_tokens")
        if "temperature" in body:
            return error(400, "Unsupported value: 'temperature' does not support 0")
        return "a."

    with ChatServer(reply) as server:
        service = ChatService(read_endpoint(server.url, "tiny"))
        assert service.ask(PROMPT).text == service.ask(PROMPT).text == "a."
        assert len(server.bodies) == 4, "what was learned holds for the next requests"
        assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
        assert server.bodies[-1]["model"] == "tiny" and set(server.paths) == {"/v1/chat/completions"}


def test_the_key_is_in_the_header_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), ChatServer(lambda body, number: "a.") as server:
        service = ChatService(read_endpoint(server.url, "tiny"))
        service.ask(PROMPT)
        assert server.keys == {f"Bearer {KEY}"}
        assert KEY not in caplog.text and KEY not in repr(vars(service.endpoint)) and KEY not in service.model


@pytest.mark.parametrize("wrong", ["“quoted”", "two words", "line\nbreak"])
def test_a_key_that_was_copied_wrongly_is_named_and_not_shown(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_API_KEY", wrong)
    with pytest.raises(UserError, match="copy the key again") as caught:
        ChatService(read_endpoint("http://host", "m"))
    assert wrong not in str(caught.value)
