"""What a notebook shows in words: a conversation as turns, texts side by side, a repair, the failures, tables of figures.

All of it is HTML on a white ground, readable on a dark page too. Whatever a model or a file says is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from scripts.evaluation.tables import TITLES, _percent
from scripts.lm.prompts import Message
from utils_ft import evenly_spaced

_PATTERN = re.compile(
    r'(?P<comment>%\*.*?\*%|%[^\n]*)|(?P<string>"(?:\\.|[^"\\])*")|(?P<directive>#\w+)|(?P<keyword>\bnot\b|:-|:~)'
    r"|(?P<variable>\b_*[A-Z]\w*)|(?P<number>\b\d+\b)",
    re.DOTALL,
)
_INK = {
    "comment": "#6b7280",
    "string": "#15803d",
    "directive": "#9333ea",
    "keyword": "#dc2626",
    "variable": "#1d4ed8",
    "number": "#b45309",
}
BOX = "background:#ffffff;color:#111827;border:1px solid #d1d5db;border-radius:6px;padding:8px 10px;margin:4px 0;text-align:left;"
CODE = (
    "margin:0;padding:0;border:0;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;font-family:monospace;"
    "font-size:12px;line-height:1.45;color:#111827;background:transparent;"
)
SMALL = "color:#6b7280;font-size:11px;"
ERROR = f"{CODE}color:#b91c1c;"
_TABLE = 'style="width:100%;table-layout:fixed;border-collapse:separate;border-spacing:4px 0"'


# --- code -------------------------------------------------------------------------------------------------------


def _pieces(code: str) -> list[tuple[str, str]]:
    """`code` in pieces, each with the kind that it is coloured as, or ""."""
    pieces, position = [], 0
    for match in _PATTERN.finditer(code):
        pieces += [(code[position : match.start()], ""), (match[0], match.lastgroup or "")]
        position = match.end()
    return [piece for piece in (*pieces, (code[position:], "")) if piece[0]]


def highlight(code: str, marks: Sequence[tuple[int, int]] = ()) -> str:
    """ASP as HTML with its variables, strings, directives and negations coloured; the spans `marks` are marked."""
    marked = _places(marks)
    shown, position = [], 0
    for text, kind in _pieces(code):
        spans = "".join(_mark(text, position, marked))
        shown.append(f'<span style="color:{_INK[kind]}">{spans}</span>' if kind else spans)
        position += len(text)
    return "".join(shown)


def _places(spans: Sequence[tuple[int, int]]) -> set[int]:
    return {index for begin, end in spans for index in range(begin, end)}


def _mark(text: str, position: int, marked: set[int]) -> list[str]:
    """`text`, which stands at `position`, escaped, its runs of marked characters in `<mark>`."""
    runs: list[tuple[bool, str]] = []
    for offset, letter in enumerate(text):
        on = position + offset in marked
        if runs and runs[-1][0] == on:
            runs[-1] = on, runs[-1][1] + letter
        else:
            runs.append((on, letter))
    mark = '<mark style="background:#fde68a;color:inherit">'
    return [f"{mark}{html.escape(run)}</mark>" if on else html.escape(run) for on, run in runs]


def changes(before: str, after: str) -> list[tuple[int, int]]:
    """The spans of `after` that are not in `before`, word by word. Where something was only left out there is none."""
    words = re.compile(r"\w+|[^\w\s]")
    old, new = words.findall(before), list(words.finditer(after))
    matcher = SequenceMatcher(None, old, [match[0] for match in new], autojunk=False)
    return [
        (new[start].start(), new[end - 1].end())
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag in ("replace", "insert")
    ]


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)


def _code(code: str, marks: Sequence[tuple[int, int]] = ()) -> str:
    return f'<pre style="{CODE}">{highlight(code, marks)}</pre>'


def _text(text: str, style: str = CODE) -> str:
    return f'<pre style="{style}">{html.escape(text)}</pre>'


def program(code: str) -> Any:
    """One program, highlighted."""
    return _html(f'<div style="{BOX}">{_code(code)}</div>')


# --- texts ------------------------------------------------------------------------------------------------------


def conversation(messages: Sequence[Message], turns: int | None = None) -> Any:
    """A conversation as boxes, a turn each; the assistant's code is highlighted. `turns` limits how many are shown."""
    boxes = []
    for message in messages[:turns]:
        role, text = message["role"], message["content"]
        body = _code(text) if role == "assistant" else _text(text)
        indent = "margin-left:40px;border-left:4px solid #2563eb;" if role == "assistant" else ""
        boxes.append(f'<div style="{BOX}{indent}"><span style="{SMALL}">{role}</span>{body}</div>')
    if turns is not None and len(messages) > turns:
        boxes.append(f"<small>… and {len(messages) - turns} more turns</small>")
    return _html("".join(boxes))


def side_by_side(texts: Mapping[str, str], code: bool = True, marked: bool = False) -> Any:
    """Titled texts in columns; ASP highlighted where `code`, what the first text has not is `marked`."""
    first = next(iter(texts.values()))
    cells = []
    for title, text in texts.items():
        marks = changes(first, text) if marked else ()
        body = highlight(text, marks) if code else "".join(_mark(text, 0, _places(marks)))
        cells.append(
            f'<td style="vertical-align:top;{BOX}"><b>{html.escape(title)}</b><pre style="{CODE}">{body}</pre></td>'
        )
    return _html(f'<table {_TABLE}><tr style="background:transparent">{"".join(cells)}</tr></table>')


def repair(row: Mapping[str, Any]) -> Any:
    """A repair row from above to below: the instruction with the code that failed, clingo's words, the fix; the changes marked."""
    instruction, broken, message, fixed = (
        row["meta"][name] for name in ("instruction", "broken", "error", "fixed")
    )
    parts = (
        ("#dc2626", instruction, _code(broken, changes(fixed, broken))),
        ("#9ca3af", "clingo says", _text(message, ERROR)),
        ("#0d9488", "fixed", _code(fixed, changes(broken, fixed))),
    )
    boxes = [
        f'<div style="{BOX}border-left:4px solid {ink}"><span style="{SMALL}">{html.escape(title)}</span>{body}</div>'
        for ink, title, body in parts
    ]
    return _html("".join(boxes))


def steps(problem: Any) -> Any:
    """The steps of a problem as a table: line, instruction, code."""
    rows = "".join(
        f'<tr style="background:#ffffff;color:#111827"><td style="text-align:right;vertical-align:top;{SMALL}">{step.line}</td>'
        f'<td style="text-align:left;vertical-align:top">{html.escape(step.instruction)}</td>'
        f'<td style="text-align:left;vertical-align:top">{_code(step.code)}</td></tr>'
        for step in problem.encoding.steps
    )
    left = 'style="text-align:left"'
    return _html(
        '<table style="width:100%;table-layout:fixed"><colgroup><col style="width:3em"><col style="width:42%"><col>'
        f"</colgroup><tr><th>line</th><th {left}>instruction</th><th {left}>code</th></tr>{rows}</table>"
    )


def answer_sets(outcome: Any, limit: int = 3) -> Any:
    """The answer sets of a solved program, the first `limit` of them; the solver's words where there are none."""
    if not outcome.answer_sets:
        return _html(f'<div style="{BOX}">{_text(outcome.message or str(outcome.verdict), ERROR)}</div>')
    found = sorted(outcome.answer_sets, key=lambda answer: (answer[1], answer[0]))
    boxes = []
    for atoms, costs in found[:limit]:
        shown = _code(" ".join(atoms)) if atoms else f'<span style="{SMALL}">no atom that is shown</span>'
        cost = f'<span style="{SMALL}">cost {", ".join(map(str, costs))}</span>' if costs else ""
        boxes.append(f'<div style="{BOX}">{shown}{cost}</div>')
    return _html(f"<small>{len(found)} answer set{'s' * (len(found) != 1)}</small>" + "".join(boxes))


# --- figures ----------------------------------------------------------------------------------------------------


def checkpoints(table: Any, scored: Mapping[int, dict]) -> Any:
    """The checkpoint table with the scores of each step on validation problems, and why one of them is recommended.

    `scored` is step → figures, as `evaluate.score_checkpoints` returns them.
    """
    shown = table.drop(
        columns=["step equivalence", "low", "high"], errors="ignore"
    )  # in one column with its interval instead
    for name in ("parse", "ground", "equivalent"):
        values = [_percent(scored[step]["steps"], name) if step in scored else "" for step in table["step"]]
        shown.insert(shown.shape[1] - 1, TITLES[name], values)
    return (
        shown.style.hide(axis="index")
        .format(precision=3, na_rep="–")
        .set_caption(_reason(table, scored))
        .set_table_styles(
            [{"selector": "caption", "props": "caption-side: bottom; text-align: left; padding-top: 6px"}]
        )
    )


def _reason(table: Any, scored: Mapping[int, dict]) -> str:
    """Why a step is recommended, and how sure that is."""
    step = next((step for step, mark in zip(table["step"], table["recommended"], strict=True) if mark), None)
    rates = {number: figures["steps"] for number, figures in scored.items()}
    if step not in rates:
        return f"Step {step} is recommended: it has the lowest validation loss."
    n, best = rates[step]["n"], rates[step]["equivalent"]
    if all(found["equivalent"] == best for found in rates.values()) and len(rates) > 1:
        return f"Step {step} is recommended: the last of those that write the same share of {n} validation steps right."
    reason = f"Step {step} is recommended: it writes the most of {n} validation steps right."
    low = rates[step]["equivalent_ci"][0]
    near = [
        str(number) for number, found in rates.items() if number != step and found["equivalent_ci"][1] >= low
    ]
    return (
        f"{reason} Within the intervals of {n} steps it cannot be told from {', '.join(near)}."
        if near
        else reason
    )


def failures(result: dict, part: str = "steps", count: int = 6) -> Any:
    """Answers that the solver did not find equal, spread over the problems: the instruction, the gold code, the answer, why."""
    found = [item for item in result["verdicts"] if item["part"] == part and item["verdict"] != "equal"]
    chosen = evenly_spaced(found, count)
    return _html(
        f"<small>not equal: {len(found)}, of which {len(chosen)} are shown</small>"
        + "".join(map(_failure, chosen))
    )


def _failure(item: dict) -> str:
    cell = '<td style="vertical-align:top;text-align:left;color:#111827">'
    return (
        f'<div style="{BOX}border-left:4px solid #dc2626"><span style="{SMALL}">{html.escape(item["problem"])}: '
        f'{html.escape(item["prompt"])}</span><table {_TABLE}><tr style="background:transparent">'
        f'{cell}<span style="{SMALL}">gold</span>{_code(item["gold"])}</td>'
        f'{cell}<span style="{SMALL}">the model</span>{_code(item["code"])}</td></tr></table>'
        f"{_text(item['verdict'] + ': ' + item['evidence'], ERROR)}</div>"
    )


def least_refused(result: dict, problems: Sequence[Any]) -> Any:
    """The problem, of a scored result, with the fewest steps that clingo does not take, but one at least where there is one."""
    refused = [
        item["problem"] for item in result["verdicts"] if item["part"] == "steps" and not item["ground"]
    ]
    return min(problems, key=lambda problem: refused.count(problem.id) or len(refused) + 1)
