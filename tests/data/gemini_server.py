"""A server on the loopback address that speaks Gemini's REST protocol to the real client library."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Plan = Callable[[str, int], object]
"""What the server does with a request: a function of the text to paraphrase and of the number of requests for
it.

It returns a text or a response to send, a function that gets the request handler, or None for a faithful
answer.
"""


def faithful(text: str) -> str:
    """A faithful paraphrase of a description, or of numbered instructions."""
    if re.match(r"1\. ", text):
        return "\n".join(re.sub(r"^(\d+)\. ", r"\1. Please note: ", line) for line in text.split("\n"))
    return f"In other words, this is what is asked.\n\n{text}"


class Gemini:
    """A server on the loopback address.

    Attributes:
        prompts: The number of requests with each prompt.
        answered: The number of complete answers to each prompt.
        times: When each request came.
        paths: The paths of all requests.
        keys: The keys of all requests.
    """

    def __init__(self, plan: Plan, seconds: float):
        self.plan, self.seconds = plan, seconds
        self.prompts: Counter[str] = Counter()
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

            def do_POST(self) -> None:  # http.server calls the method of this name
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["contents"][0]["parts"][0]["text"]
                question = prompt.split("\n\nYour last answer was:")[0]
                text = re.split(r"\n(?:Description|Instructions):\n", question)[1]
                with lock:
                    server.prompts[prompt] += 1
                    times = sum(
                        number for prompt, number in server.prompts.items() if prompt.startswith(question)
                    )
                    server.times.append(time.monotonic())
                    server.paths.add(self.path.split("?")[0])  # without the query
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
            request_queue_size = 64  # with the default of 5 some of many connections at once are lost

        self.http = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def requests(self) -> int:
        """The number of all requests."""
        return sum(self.prompts.values())


STOP, MAX_TOKENS, SAFETY, NEWER_THAN_THE_LIBRARY = 1, 2, 3, 99


def answer(text: str, finish: int = STOP, tokens: int = 100) -> dict:
    """A response of the service, with fields that the library does not know."""
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
        "modelVersion": "gemini-3.8-flash",
        "responseId": "x",
    }


def error(
    status: int, message: str = "no", headers: dict | None = None, details: list | None = None
) -> Callable:
    """An HTTP error, as a plan returns it."""
    body = {"error": {"code": status, "message": message, "status": "X", "details": details or []}}
    return lambda handler: handler.send(status, body, headers)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Send half of an answer and close the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"candidates": [')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(2)
