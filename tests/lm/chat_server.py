"""Servers on the loopback address that speak OpenAI's chat completions, and the faults of such servers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One request. The server's `reply` decides what happens."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner: ChatServer = self.server.owner
        question = body["messages"][-1]["content"]
        with owner.lock:
            owner.asked[question] += 1
            number = owner.asked[question]
            owner.bodies.append(body)
            owner.paths.append(self.path)
            owner.keys.add(self.headers.get("Authorization"))
        action = owner.reply(body, number)
        if callable(action):
            action(self)
            return
        self.send(200, completion(action) if isinstance(action, str) else action)
        with owner.lock:
            owner.answered[question] += 1

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """Send a reply; `content` is JSON, or bytes as they are."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


Reply = Callable[[dict, int], Any]
"""Gets the body of a request and the how-manieth request for this question it is. Returns a text, a whole
content, or a function of the handler for a fault."""


class ChatServer:
    """A server. `asked` counts the requests of each question (its last message), `answered` the answers."""

    def __init__(self, reply: Reply):
        self.reply = reply
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.paths: list[str] = []
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """A client that hangs up is no error of the server."""

        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.owner = self
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def requests(self) -> int:
        """The number of all requests."""
        return sum(self.asked.values())


def completion(text: str | None, finish: str = "stop", tokens: tuple[int, int] = (10, 5)) -> dict:
    """A chat completion."""
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


def error(status: int, message: str = "no", headers: dict[str, str] | None = None, **more: str) -> Callable:
    """A reply with an HTTP error in OpenAI's form."""
    return lambda handler: handler.send(status, {"error": {"message": message} | more}, headers)


def content(status: int, data: Any) -> Callable:
    """A reply with any content."""
    return lambda handler: handler.send(status, data)


def hang_up(handler: Handler) -> None:
    """Close the connection without a reply."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def break_off(handler: Handler) -> None:
    """Send a part of a reply, and close the connection."""
    data = json.dumps(completion("lost")).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[:20])
    handler.wfile.flush()
    hang_up(handler)


def slow(seconds: float) -> Callable:
    """A reply that comes after the client has given up."""

    def wait(handler: Handler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return wait


FAULTS: tuple[Callable, ...] = (
    error(429, headers={"Retry-After": "0.05"}),
    error(500),
    error(503),
    slow(1.0),
    hang_up,
    break_off,
    content(200, b'{"choices": [{"mess'),
    content(200, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 0}}),
    content(200, {"choices": [{"finish_reason": "stop"}]}),
    content(200, {"error": {"message": "overloaded", "code": 502}}),
)
"""What goes wrong and may be asked again."""


def smoke_reply(folder: Path) -> Reply:
    """Answers by the model in a folder, with the `generate` of transformers and not with our own decoding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from scripts.lm.device import compute_dtype

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype()).eval()
    lock = threading.Lock()

    def reply(body: dict, _number: int) -> dict:
        with lock, torch.inference_mode():
            inputs = tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            sampled = body["temperature"] > 0
            torch.manual_seed(body.get("seed", 0))
            settings = (
                {"do_sample": True, "temperature": body["temperature"]} if sampled else {"do_sample": False}
            )
            output = model.generate(**inputs, max_new_tokens=body["max_tokens"], **settings)
        read = inputs["input_ids"].shape[1]
        written = output[0, read:]
        ended = bool(written[-1] == tokenizer.eos_token_id)
        text = tokenizer.decode(written, skip_special_tokens=True)
        return completion(text, "stop" if ended else "length", (read, len(written)))

    return reply
