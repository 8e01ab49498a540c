"""Chat templates are rendered as transformers does it, and are stopped when they do not end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError

from scripts.lm import templates
from scripts.lm.chat import TEMPLATES, load_tokenizer
from scripts.lm.templates import render_template
from utils_ft import UserError

TALK = [{"role": "user", "content": "{{ 1 }} é\u2028\n"}, {"role": "assistant", "content": "b."}]


@pytest.fixture(scope="module")
def tokenizer(smoke: Path) -> Any:
    return load_tokenizer(smoke)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_is_that_of_transformers(tokenizer: Any, name: str) -> None:
    for prompt in (False, True):
        expected = tokenizer.apply_chat_template(
            TALK, chat_template=TEMPLATES[name], tokenize=False, add_generation_prompt=prompt
        )
        assert render_template(tokenizer, TALK, TEMPLATES[name], prompt) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "more than"),
        ("{{ 'a' * 3000000000 }}", "memory|more than"),
        (
            "{% set n = namespace(a='aa') %}{% for b in range(64) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
            "memory",
        ),
        ("{% for a in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", "memory|characters|more than"),
        ("{{ 'a' * 40000000 }}", "characters|more than"),
        ("{{ '%900000000d' % 1 }}", "memory|more than"),
        ("{{ 9 ** (9 ** 9) }}", "more than|memory"),
    ],
)
def test_a_template_without_end_is_stopped_and_the_next_one_works(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, template: str, words: str
) -> None:
    monkeypatch.setattr(templates, "SECONDS", 3.0)
    with pytest.raises(UserError, match=f"chat template was stopped: .*({words})"):
        render_template(tokenizer, TALK, template)
    assert render_template(tokenizer, TALK, "{{ messages[1].content }}") == "b."


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 // 0 }}",
        "{{ 1 + 'a' }}",
        "{% for",
        "{{ messages[9].content.a }}",
        "{{ raise_exception('no') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ messages.append(1) }}",
    ],
)
def test_whatever_a_template_raises_is_a_template_error(tokenizer: Any, template: str) -> None:
    with pytest.raises(TemplateError):
        render_template(tokenizer, TALK, template)


def test_the_process_of_templates_has_no_key(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_KEY", "secret")
    templates._WORKER.close()
    render_template(tokenizer, TALK, "a")
    environment = Path(f"/proc/{templates._WORKER._process.pid}/environ")
    if environment.exists():
        assert b"secret" not in environment.read_bytes()
