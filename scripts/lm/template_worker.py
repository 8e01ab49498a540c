"""The worker process that renders chat templates: it can be killed, and its memory is limited.

A template is a program of the model's author. transformers runs it in a sandbox that keeps it from files and
from Python, but not from endless loops and from endless text. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import json
import sys

MEMORY = 1 << 30
"""Bytes that a template may use."""
LONGEST = 1 << 24
"""The longest text of a template, in characters, beyond that of the messages."""


def main() -> None:
    """Answer requests from standard input until it ends."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit_memory()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            texts, _ = render_jinja_template(**request)
            reply = {"text": texts[0]}
            if len(texts[0]) > LONGEST + len(line):
                reply = {"refused": f"it writes {len(texts[0]):,} characters"}
        except MemoryError:
            reply = {"refused": "it needs more than a gigabyte of memory"}
        except RecursionError:
            reply = {"error": "it calls itself without end"}
        except TemplateError as error:
            reply = {"error": str(error) or type(error).__name__}
        except Exception as error:  # a template can raise whatever Python raises
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


def _limit_memory() -> None:
    """Set the limit on memory, where the system has one (Linux)."""
    if sys.platform != "linux":
        return
    import os
    import resource

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
