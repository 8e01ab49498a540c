"""Texts as a notebook shows them: a conversation as turns, two texts side by side, a table of figures."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from scripts.prompts import Message

_PATTERN = re.compile(
    r'(?P<comment>%.*)|(?P<string>"(?:\\.|[^"\\])*")|(?P<directive>#\w+)|(?P<keyword>\bnot\b|:-|:~)|(?P<variable>\b_*[A-Z]\w*)|(?P<number>\b\d+\b)'
)
_INK = {"comment": "#6b7280", "string": "#15803d", "directive": "#9333ea", "keyword": "#dc2626", "variable": "#1d4ed8", "number": "#b45309"}
BOX = "background:#ffffff;color:#111827;border:1px solid #d1d5db;border-radius:6px;padding:8px 10px;margin:4px 0;"
CODE = "margin:0;white-space:pre-wrap;font-family:monospace;font-size:12px;color:#111827;background:transparent;"


def highlight(code: str) -> str:
    """ASP as HTML with its variables, strings, directives and negations coloured."""
    pieces, position = [], 0
    for match in _PATTERN.finditer(code):
        pieces.append(html.escape(code[position : match.start()]))
        pieces.append(f'<span style="color:{_INK[match.lastgroup]}">{html.escape(match[0])}</span>')
        position = match.end()
    return "".join(pieces) + html.escape(code[position:])


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)


def conversation(messages: Sequence[Message], turns: int | None = None) -> Any:
    """A conversation as boxes, a turn each; the assistant's code is highlighted. `turns` limits how many are shown."""
    boxes = []
    for message in messages[:turns]:
        role, text = message["role"], message["content"]
        body = highlight(text) if role == "assistant" else html.escape(text)
        indent = "margin-left:40px;border-left:4px solid #2563eb;" if role == "assistant" else ""
        boxes.append(f'<div style="{BOX}{indent}"><small style="color:#6b7280">{role}</small><pre style="{CODE}">{body}</pre></div>')
    if turns is not None and len(messages) > turns:
        boxes.append(f"<small>… and {len(messages) - turns} more turns</small>")
    return _html("".join(boxes))


def side_by_side(texts: dict[str, str], code: bool = True) -> Any:
    """Titled texts in columns; ASP highlighted where `code`."""
    cells = "".join(
        f'<td style="vertical-align:top;text-align:left;{BOX}"><b>{html.escape(title)}</b>'
        f'<pre style="{CODE}">{highlight(text) if code else html.escape(text)}</pre></td>'
        for title, text in texts.items()
    )
    return _html(f'<table style="width:100%;table-layout:fixed"><tr>{cells}</tr></table>')


def program(code: str) -> Any:
    """One program, highlighted."""
    return _html(f'<div style="{BOX}"><pre style="{CODE}">{highlight(code)}</pre></div>')


def steps(problem: Any) -> Any:
    """The steps of a problem as a table: line, instruction, code."""
    import pandas as pd

    rows = [{"line": step.line, "instruction": step.instruction, "code": step.code} for step in problem.encoding.steps]
    return pd.DataFrame(rows).style.hide(axis="index").set_properties(**{"text-align": "left", "white-space": "pre-wrap"})


def scores(results: dict[str, dict]) -> Any:
    """Figures of several models as a table: n and the rates in per cent, with 95 % intervals.

    The last columns have the share of equal answer sets again, apart for families that training saw and those held out.
    """
    import pandas as pd

    return pd.DataFrame([{"model": label, **row} for label, result in results.items() for row in _rows(result)])


def _rows(result: dict) -> list[dict]:
    parts = _parts(result)
    apart = {title: _parts(result[name]) for title, name in (("seen families", "seen_families"), ("held-out families", "held_out_families"))
             if name in result}
    return [
        {"part": part, "n": rates["n"]} | {name: _percent(rates, name) for name in ("parse", "ground", "fixed", "equivalent")}
        | {title: _percent(found.get(part, {}), "equivalent") for title, found in apart.items()}
        for part, rates in parts.items() if rates["n"]
    ]


def _parts(result: dict) -> dict[str, dict]:
    """The rates of an evaluation by the name of the part, those of the loop behind the steps."""
    return {"steps": result["steps"], **{f"steps, loop {k}": rates for k, rates in result.get("loop", {}).items()},
            "repair": result["repair"], **{f"programs {k}": rates for k, rates in result["programs"].items()}}


def _percent(rates: dict, name: str) -> str:
    if name not in rates or not rates["n"]:
        return ""
    low, high = rates[f"{name}_ci"]
    return f"{100 * rates[name]:.1f} % ({100 * low:.0f}–{100 * high:.0f})"
