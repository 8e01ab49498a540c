"""HTML for notebook cells: conversations, texts side by side, repairs, wrong answers, checkpoint tables.

Every function returns an object that a cell displays. Boxes have a white background, so they are
readable on a dark page. All text that comes from a model or a file is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.evaluation.tables import TITLES, percent
from scripts.lm.prompts import Message
from scripts.training import checkpoints as saved
from utils_ft import evenly_spaced

if TYPE_CHECKING:  # for annotations only; pandas and IPython load when a function needs them
    from IPython.display import HTML
    from pandas.io.formats.style import Styler

    from scripts.asp.solver import Outcome
    from scripts.data.problems import Problem

Span = tuple[int, int]
"""Begin and end (exclusive) of a part of a text, in characters."""

_TOKEN = re.compile(
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
BOX = (
    "background:#ffffff;color:#111827;border:1px solid #d1d5db;border-radius:6px;padding:8px 10px;"
    "margin:4px 0;text-align:left;"
)
CODE = (
    "margin:0;padding:0;border:0;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;font-family:monospace;"
    "font-size:12px;line-height:1.45;color:#111827;background:transparent;"
)
SMALL = "color:#6b7280;font-size:11px;"
ERROR = f"{CODE}color:#b91c1c;"
_TABLE = 'style="width:100%;table-layout:fixed;border-collapse:separate;border-spacing:4px 0"'
_MARK = '<mark style="background:#fde68a;color:inherit">'


def highlight(code: str, marks: Sequence[Span] = ()) -> str:
    """ASP code as HTML with coloured syntax. The spans `marks` get a yellow background."""
    marked = _positions(marks)
    parts: list[str] = []
    position = 0
    for text, kind in _tokens(code):
        escaped = _escape(text, position, marked)
        parts.append(f'<span style="color:{_INK[kind]}">{escaped}</span>' if kind else escaped)
        position += len(text)
    return "".join(parts)


def changes(before: str, after: str) -> list[Span]:
    """The spans of `after` that differ from `before`, word by word. Removed words have no span."""
    words = re.compile(r"\w+|[^\w\s]")
    old, new = words.findall(before), list(words.finditer(after))
    matcher = SequenceMatcher(None, old, [word[0] for word in new], autojunk=False)
    return [
        (new[start].start(), new[end - 1].end())
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag in ("replace", "insert")
    ]


def program(code: str) -> HTML:
    """One program with coloured syntax."""
    return _html(f'<div style="{BOX}">{_code(code)}</div>')


def conversation(messages: Sequence[Message], turns: int | None = None) -> HTML:
    """A conversation, one box for each message. `turns` limits how many messages are shown."""
    boxes = []
    for message in messages[:turns]:
        role, text = message["role"], message["content"]
        body = _code(text) if role == "assistant" else _text(text)
        indent = "margin-left:40px;border-left:4px solid #2563eb;" if role == "assistant" else ""
        boxes.append(
            f'<div style="{BOX}{indent}"><span style="{SMALL}">{html.escape(role)}</span>{body}</div>'
        )
    if turns is not None and len(messages) > turns:
        boxes.append(f"<small>… and {len(messages) - turns} more turns</small>")
    return _html("".join(boxes))


def side_by_side(texts: Mapping[str, str], code: bool = True, marked: bool = False) -> HTML:
    """Texts in columns.

    Arguments:
        texts: Title → text.
        code: Whether the texts are ASP code, to be coloured.
        marked: Whether to mark where a text differs from the first one.
    """
    first = next(iter(texts.values()))
    cells = []
    for title, text in texts.items():
        marks = changes(first, text) if marked else ()
        body = highlight(text, marks) if code else _escape(text, 0, _positions(marks))
        heading = f"<b>{html.escape(title)}</b>"
        cells.append(f'<td style="vertical-align:top;{BOX}">{heading}<pre style="{CODE}">{body}</pre></td>')
    return _html(f'<table {_TABLE}><tr style="background:transparent">{"".join(cells)}</tr></table>')


def repair(row: Mapping) -> HTML:
    """A repair row: the instruction with the broken code, the solver message, the fix.

    Differences between broken code and fix are marked.
    """
    meta = row["meta"]
    broken, fixed = meta["broken"], meta["fixed"]
    parts = (
        ("#dc2626", meta["instruction"], _code(broken, changes(fixed, broken))),
        ("#9ca3af", "solver message", _text(meta["error"], ERROR)),
        ("#0d9488", "fixed", _code(fixed, changes(broken, fixed))),
    )
    boxes = [
        f'<div style="{BOX}border-left:4px solid {ink}">'
        f'<span style="{SMALL}">{html.escape(title)}</span>{body}</div>'
        for ink, title, body in parts
    ]
    return _html("".join(boxes))


def paraphrase_tries(run: Mapping) -> HTML:
    """The tries of a stored paraphrase run: the original, and each answer with its errors below.

    Arguments:
        run: The content of a file such as `data/examples/paraphrase_run.json`.
    """
    texts = {"original": run["original"]} | {
        f"try {number}: {'failed' if one['errors'] else 'passed'}": one["text"]
        for number, one in enumerate(run["tries"], 1)
    }
    errors = [
        _text(f"try {number}: {error}", ERROR)
        for number, one in enumerate(run["tries"], 1)
        for error in one["errors"]
    ]
    where = html.escape(
        f"{run['problem']}, {run['style']}, by {run['model']} on {run['date']}: {run['status']}"
    )
    return _html(
        f"<small>{where}</small>{side_by_side(texts, code=False).data}"
        f'<div style="{BOX}">{"".join(errors) or "no try has an error"}</div>'
    )


def steps(problem: Problem) -> HTML:
    """The steps of a problem as a table: line number, instruction, code."""
    cell = '<td style="text-align:left;vertical-align:top">'
    rows = "".join(
        '<tr style="background:#ffffff;color:#111827">'
        f'<td style="text-align:right;vertical-align:top;{SMALL}">{step.line}</td>'
        f"{cell}{html.escape(step.instruction)}</td>{cell}{_code(step.code)}</td></tr>"
        for step in problem.encoding.steps
    )
    left = 'style="text-align:left"'
    return _html(
        '<table style="width:100%;table-layout:fixed">'
        '<colgroup><col style="width:3em"><col style="width:42%"><col></colgroup>'
        f"<tr><th>line</th><th {left}>instruction</th><th {left}>code</th></tr>{rows}</table>"
    )


def answer_sets(outcome: Outcome, limit: int = 3) -> HTML:
    """The first `limit` answer sets of a solved program, or the solver message if there is none."""
    if not outcome.answer_sets:
        return _html(f'<div style="{BOX}">{_text(outcome.message or str(outcome.verdict), ERROR)}</div>')
    by_cost = sorted(outcome.answer_sets, key=lambda answer: (answer[1], answer[0]))
    boxes = []
    for atoms, costs in by_cost[:limit]:
        shown = _code(" ".join(atoms)) if atoms else f'<span style="{SMALL}">no shown atom</span>'
        cost = f'<span style="{SMALL}">cost {", ".join(map(str, costs))}</span>' if costs else ""
        boxes.append(f'<div style="{BOX}">{shown}{cost}</div>')
    return _html(f"<small>{len(by_cost)} answer set{'s' * (len(by_cost) != 1)}</small>" + "".join(boxes))


def failures(result: Mapping, part: str = "steps", count: int = 6) -> HTML:
    """Answers that are not equivalent to gold, with the reason.

    Arguments:
        result: The figures of an evaluation.
        part: The part of the evaluation, such as `steps`.
        count: How many answers to show. They are evenly spaced over the problems.
    """
    wrong = [item for item in result["verdicts"] if item["part"] == part and item["verdict"] != "equal"]
    chosen = evenly_spaced(wrong, count)
    return _html(
        f"<small>{len(wrong)} answers are not equivalent to gold; {len(chosen)} of them:</small>"
        + "".join(map(_failure, chosen))
    )


def checkpoints(run: Path) -> Styler:
    """The checkpoint table of a run folder, with the scores on validation problems and a recommendation."""
    found = saved.checkpoints(run)
    shown = saved.table(run).drop(columns=["step equivalence", "low", "high"])
    for name in ("parse", "ground", "equivalent"):
        rates = [percent(checkpoint.rates, name) if checkpoint.rates else "" for checkpoint in found]
        shown.insert(shown.shape[1] - 1, TITLES[name], rates)
    caption = {"selector": "caption", "props": "caption-side: bottom; text-align: left; padding-top: 6px"}
    return (
        shown.style.hide(axis="index")
        .format(precision=3, na_rep="–")
        .set_caption(_recommendation(found))
        .set_table_styles([caption])
    )


def _recommendation(found: Sequence[saved.Checkpoint]) -> str:
    """Which step is recommended, why, and which other steps have overlapping intervals."""
    if not found:
        return "No complete checkpoint."
    chosen = saved.best(found)
    scored = {checkpoint.step: checkpoint.rates for checkpoint in found if checkpoint.rates}
    start = f"Step {chosen.step} is recommended:"
    if chosen.step not in scored:
        return f"{start} it has the lowest validation loss."
    n, best = scored[chosen.step]["n"], scored[chosen.step]["equivalent"]
    if len(scored) > 1 and all(rates["equivalent"] == best for rates in scored.values()):
        return f"{start} it is the last; all have the same share of right rules on {n} validation steps."
    low = scored[chosen.step]["equivalent_ci"][0]
    near = [
        str(step)
        for step, rates in scored.items()
        if step != chosen.step and rates["equivalent_ci"][1] >= low
    ]
    reason = f"{start} it has the largest share of right rules on {n} validation steps."
    return f"{reason} Its 95 % interval overlaps with that of step {', '.join(near)}." if near else reason


def _failure(item: Mapping) -> str:
    cell = '<td style="vertical-align:top;text-align:left;color:#111827">'
    heading = html.escape(f"{item['problem']}: {item['prompt']}")
    return (
        f'<div style="{BOX}border-left:4px solid #dc2626"><span style="{SMALL}">{heading}</span>'
        f'<table {_TABLE}><tr style="background:transparent">'
        f'{cell}<span style="{SMALL}">gold</span>{_code(item["gold"])}</td>'
        f'{cell}<span style="{SMALL}">the model</span>{_code(item["code"])}</td></tr></table>'
        f"{_text(item['verdict'] + ': ' + item['evidence'], ERROR)}</div>"
    )


def _tokens(code: str) -> list[tuple[str, str]]:
    """`code` cut into tokens, each with its kind (a key of `_INK`) or ""."""
    tokens: list[tuple[str, str]] = []
    position = 0
    for match in _TOKEN.finditer(code):
        tokens += [(code[position : match.start()], ""), (match[0], match.lastgroup or "")]
        position = match.end()
    return [token for token in (*tokens, (code[position:], "")) if token[0]]


def _positions(spans: Sequence[Span]) -> set[int]:
    return {index for begin, end in spans for index in range(begin, end)}


def _escape(text: str, position: int, marked: set[int]) -> str:
    """`text` as HTML, with its marked characters in `<mark>`.

    `position` is where `text` begins in the whole text; `marked` has positions of the whole text.
    """
    runs: list[tuple[bool, str]] = []  # marked or not, and the characters
    for offset, letter in enumerate(text):
        is_marked = position + offset in marked
        if runs and runs[-1][0] == is_marked:
            runs[-1] = is_marked, runs[-1][1] + letter
        else:
            runs.append((is_marked, letter))
    return "".join(
        f"{_MARK}{html.escape(run)}</mark>" if is_marked else html.escape(run) for is_marked, run in runs
    )


def _html(text: str) -> HTML:
    from IPython.display import HTML

    return HTML(text)


def _code(code: str, marks: Sequence[Span] = ()) -> str:
    return f'<pre style="{CODE}">{highlight(code, marks)}</pre>'


def _text(text: str, style: str = CODE) -> str:
    return f'<pre style="{style}">{html.escape(text)}</pre>'
