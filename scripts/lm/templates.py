"""Chat templates are rendered here, within limits of time, memory and length."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from utils_ft import ROOT, UserError

SECONDS = 10.0
"""The longest time that a template may take for one conversation. A usual one takes a millisecond."""

_REMEDY = "give another template: --chat-template FILE.jinja"


def render_template(
    tokenizer: Any,
    messages: Sequence[dict],
    template: str | None = None,
    generation_prompt: bool = False,
    **settings: Any,
) -> str:
    """Render messages as `tokenizer.apply_chat_template` does.

    Arguments:
        tokenizer: The tokenizer, for its template and its special tokens.
        messages: The messages.
        template: A template that replaces the tokenizer's.
        generation_prompt: Whether the text ends where the assistant's next turn begins.
        settings: Variables of the template.

    Raises:
        jinja2.TemplateError: The template refuses the messages, or fails.
        UserError: The template takes too long, or too much memory, or writes too much.
    """
    from jinja2 import TemplateError

    request = {
        "conversations": [list(messages)],
        "chat_template": tokenizer.get_chat_template(template),
        "add_generation_prompt": generation_prompt,
        **{**tokenizer.special_tokens_map, **settings},
    }
    reply = _WORKER.ask(json.dumps(request))
    if "refused" in reply:
        raise UserError(f"the chat template was stopped: {reply['refused']}", remedy=_REMEDY)
    if "error" in reply:
        raise TemplateError(reply["error"])
    return reply["text"]


class _Worker:
    """The process that renders. It starts with the first request, and again after it was killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, request: str) -> dict[str, Any]:
        """The reply to a request; `refused` if there is none in time."""
        with self._lock:
            if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
                self._start()
            late = threading.Event()

            def stop() -> None:
                late.set()
                self._process.kill()

            timer = threading.Timer(SECONDS, stop)
            timer.start()
            try:
                self._process.stdin.write(f"{request}\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except OSError:
                line = ""
            finally:
                timer.cancel()
            if line.endswith("\n"):
                return json.loads(line)
            self.close()
            return {"refused": f"it takes more than {SECONDS:.0f} s" if late.is_set() else "its process died"}

    def _start(self) -> None:
        kept = ("PATH", "SYSTEMROOT", "TEMP", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME")
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.lm.template_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C at the terminal must not reach the worker
            env={name: os.environ[name] for name in kept if name in os.environ},  # no keys
        )
        if not self._process.stdout.readline():
            raise UserError(
                "the process that renders chat templates does not start",
                remedy=f"run this and read its message: {sys.executable} -m scripts.lm.template_worker",
            )

    def close(self) -> None:
        """End the process."""
        if self._process and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None


_WORKER = _Worker()
atexit.register(_WORKER.close)
