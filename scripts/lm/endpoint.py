"""An endpoint: a model behind an address that speaks OpenAI's chat completions.

vLLM, Ollama, llama.cpp, `transformers serve` and most paid services do.

`ChatService` sends one request for each call and repeats none: limits, repetition and stored answers are in
`paid_calls`. The key is in the header of requests and nowhere else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scripts.lm.paid_calls import CHARACTERS_PER_TOKEN, Answer, Refused, Unavailable, seconds_to_wait
from utils_ft import UserError, secret

KEY = "ENDPOINT_API_KEY"
"""The name of the secret in `.env` or the environment. A local server needs none."""

TIMEOUT = 600.0  # seconds without a byte, after which a request has failed: a busy server lets requests wait
CONNECT_TIMEOUT = 10.0  # seconds to reach the server
PATH = "/chat/completions"

OTHER_NAMES = {"max_tokens": "max_completion_tokens"}
"""Parameters that some models know under another name. Other parameters that a model refuses are left out."""


@dataclass(frozen=True)
class Endpoint:
    """A model behind an address.

    Attributes:
        url: The address of the chat completions.
        model: The name of the model, as the server knows it.
    """

    url: str
    model: str

    @property
    def shown(self) -> str:
        """The address for records and messages, without its query."""
        return self.url.partition("?")[0]


def read_endpoint(url: str, model: str) -> Endpoint:
    """The endpoint at a base address such as `http://127.0.0.1:8000/v1`.

    An address without a path gets `/v1`; `/chat/completions` may be written or left out.

    Raises:
        UserError: It is no address, or it has a password in it.
    """
    remedy = "give the base address, such as http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise UserError("--endpoint is not an address that starts with http:// or https://", remedy=remedy)
    if parts.username or parts.password:
        raise UserError(
            "the address of the endpoint has a name or a password in it",
            remedy=f"leave it out and write the key as {KEY}=… into .env",
        )
    path = parts.path.rstrip("/").removesuffix(PATH) or "/v1"
    return Endpoint(parts._replace(path=path + PATH, fragment="").geturl(), model)


class ChatService:
    """Asks a model behind an endpoint; a `Service` of `paid_calls`. Several threads may use it.

    Arguments:
        endpoint: The endpoint.
        timeout: Seconds without a byte, after which a request has failed.

    Attributes:
        model: Address and name of the model: stored answers belong to both.
        changed: Parameters that the model does not take under their usual name → the name that it takes, or
            None if it takes none.

    Raises:
        UserError: The key cannot be the value of a header.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = TIMEOUT):
        import httpx2

        self.endpoint, self.model = endpoint, f"{endpoint.url} {endpoint.model}"
        self.changed: dict[str, str | None] = {}
        self._key = secret(KEY)
        if self._key and not (self._key.isascii() and self._key.isprintable() and " " not in self._key):
            raise UserError(
                f"{KEY} has a space, a line break or a character outside ASCII in it",
                remedy="copy the key again, without quotes",
            )
        logging.getLogger("httpcore2").setLevel(
            logging.INFO
        )  # on level DEBUG it writes headers, with the key
        self._failures = httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.RequestError
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
            timeout=httpx2.Timeout(timeout, connect=CONNECT_TIMEOUT, pool=None),
            limits=httpx2.Limits(max_connections=None),
        )

    def ask(self, prompt: str) -> Answer:
        """The answer to a prompt: the JSON text of a request without its `model`.

        Raises:
            Unavailable: The server is busy, slow or broken, or the answer cannot be read.
            Refused: The server refuses this request.
            UserError: The key, the model or the address is wrong, or the quota is used up.
        """
        body = json.loads(prompt)
        while True:
            known = dict(self.changed)  # another thread may change it during the request
            reply = self._post(body, known)
            if reply.status_code < 300:
                return self._answer(reply, prompt)
            if not self._adapt(reply, body) and self.changed == known:
                raise self._failure(reply)

    def _post(self, body: dict, changed: Mapping[str, str | None]) -> Any:
        """The reply to a request. Unavailable if there is none."""
        names = {name: changed.get(name, name) for name in body}
        sent = {"model": self.endpoint.model} | {new: body[old] for old, new in names.items() if new}
        unreached, slow, broken = self._failures
        try:
            return self._http.post(self.endpoint.url, json=sent)
        except (unreached, slow) as error:
            why = str(error) or type(error).__name__
            failure = Unavailable(
                f"no connection ({why})",
                if_first=UserError(
                    f"no server answers at {self.endpoint.shown}: {why}",
                    remedy="start the server, or correct the address after --endpoint",
                ),
            )
        except broken as error:
            failure = Unavailable(f"broken connection ({type(error).__name__})")
        raise failure  # outside of `except`: the library's exceptions contain the request, and so the key

    def _answer(self, reply: Any, prompt: str) -> Answer:
        """The answer in a reply. Unavailable if there is none."""
        content = _object(reply)
        usage = content.get("usage") if isinstance(content.get("usage"), dict) else {}
        prompt_tokens, written = (_count(usage.get(f"{kind}_tokens")) for kind in ("prompt", "completion"))
        choices = content.get("choices")
        if not isinstance(choices, list):
            raise Unavailable(
                _message(content, self._key) or "not an answer of chat completions",
                if_first=self._incompatible(),
            )
        try:
            choice = choices[0]
            text, finish = _text(choice["message"]), choice.get("finish_reason")
        except (IndexError, KeyError, TypeError, AttributeError):
            raise Unavailable("an answer without a choice", tokens=prompt_tokens + written) from None
        stopped = {"length": "cut off", "content_filter": "blocked (content filter)"}.get(finish, "")
        if not usage:
            prompt_tokens, written = (round(len(part) / CHARACTERS_PER_TOKEN) for part in (prompt, text))
        if self._key:
            text = text.replace(self._key, "[key]")
        return Answer(text, prompt_tokens + written, stopped or ("" if text else "empty"), written)

    def _adapt(self, reply: Any, body: dict) -> bool:
        """Whether the server refuses a parameter of `body` that can be renamed or left out from now on."""
        if reply.status_code not in (400, 422):
            return False
        content = _object(reply)
        detail = content.get("error")
        named = detail.get("param") if isinstance(detail, dict) else None
        message = _message(content, self._key)
        for name in ("max_tokens", "temperature", "seed"):
            if name in body and name not in self.changed and (named == name or f"'{name}'" in message):
                self.changed[name] = OTHER_NAMES.get(name)
                return True
        return False

    def _failure(self, reply: Any) -> Exception:
        """The exception for a reply with an HTTP error, without the key."""
        status, message = reply.status_code, _message(_object(reply), self._key)
        said = f"HTTP {status}{': ' if message else ''}{message}"
        if status == 402 or (status == 429 and "insufficient_quota" in reply.text):
            return UserError(f"the endpoint asks for payment: {said}", remedy="check the plan of the service")
        if status in (408, 409, 425, 429) or status >= 500:
            return Unavailable(f"HTTP {status}", seconds_to_wait(reply.headers.get("Retry-After")))
        if status in (401, 403):  # its message may repeat a part of the key
            return UserError(
                f"the endpoint does not accept the key: HTTP {status}",
                remedy=f"check {KEY} in .env or the environment",
            )
        if status == 404 and "model" in message.lower():
            return UserError(
                f"the endpoint knows no model {self.endpoint.model!r}: {said}",
                remedy="correct the name after --model; the server lists its models at /v1/models",
            )
        if status in (404, 405) or status < 400:
            return self._incompatible(f": HTTP {status}")
        return Refused(said)

    def _incompatible(self, why: str = "") -> UserError:
        return UserError(
            f"{self.endpoint.shown} does not answer as OpenAI's chat completions do{why}",
            remedy="give the base address of such a service, most often with /v1 at its end",
        )


def _object(reply: Any) -> dict:
    """The JSON object in a reply, or an empty one."""
    try:
        content = reply.json()
    except (ValueError, RecursionError):  # ValueError: also bytes that are no UTF-8
        return {}
    return content if isinstance(content, dict) else {}


def _message(content: dict, key: str | None) -> str:
    """The message of an error: in `error.message`, `error`, `message` or `detail`, as servers write it."""
    found = content.get("error") or content.get("message") or content.get("detail") or ""
    if isinstance(found, dict):
        found = found.get("message") or found
    text = found if isinstance(found, str) else json.dumps(found)
    text = " ".join(text.split())[:300]
    return text.replace(key, "[key]") if key else text


def _text(message: dict) -> str:
    """The text of a message: a string, or the text parts of a list."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return str(content)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
