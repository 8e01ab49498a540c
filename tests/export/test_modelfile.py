"""Ollama builds the prompts of the chat template from the Modelfile."""

import re

import jinja2
import pytest

from scripts.export.gguf import export
from scripts.export.modelfile import PromptFormat, modelfile, prompt_format
from scripts.lm import chat
from tests.export.gguf_models import (
    FAMILIES,
    TALK,
    tokenizer_of,
)
from utils_ft import UserError


def ollama_prompt(text, messages):
    """The prompt that the TEMPLATE of a Modelfile makes of `messages`.

    Go's constructs are replaced by Jinja's.
    """
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)[1]
    for go, jinja in {
        "{{ if .System }}": "{% if system %}",
        "{{ .System }}": "{{ system }}",
        "{{ else }}": "{% else %}",
        "{{ range .Messages }}": "{% for m in messages %}",
        '{{ if ne .Role "system" }}': "{% if m.role != 'system' %}",
        "{{ .Role }}": "{{ m.role }}",
        "{{ .Content }}": "{{ m.content }}",
        '{{ if eq .Role "assistant" }}<|end_of_text|>{{ end }}': (
            "{% if m.role == 'assistant' %}<|end_of_text|>{% endif %}"
        ),
        "{{ end }}{{ end }}": "{% endif %}{% endfor %}",
        "{{ end }}": "{% endif %}",
    }.items():
        template = template.replace(go, jinja)
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    return (
        jinja2.Environment(keep_trailing_newline=True)
        .from_string(template)
        .render(system=system, messages=messages)
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "messages", [TALK, TALK[1:], TALK[:2]], ids=["whole", "without system", "first turn"]
)
def test_ollama_builds_the_prompt_of_the_chat_template(family, messages):
    tokenizer = tokenizer_of(family)
    prompt = prompt_format(tokenizer)
    text = modelfile("m.gguf", prompt)
    begin = tokenizer.bos_token if prompt.starts_with_bos else ""  # llama.cpp puts it there by itself
    assert begin + ollama_prompt(text, messages) == chat.render(tokenizer, messages, generation_prompt=True)
    lines = text.splitlines()
    assert lines[0] == "FROM ./m.gguf" and not any(line.startswith("SYSTEM") for line in lines)
    assert {
        f'PARAMETER stop "{FAMILIES[family][3]}"',
        "PARAMETER temperature 0",
        "PARAMETER num_ctx 4096",
    } <= set(lines)


@pytest.mark.parametrize("messages", [TALK, TALK[1:], TALK[:2]])
def test_ollama_builds_plain_turns(messages):
    tokenizer = tokenizer_of("llama3")
    tokenizer.chat_template = chat.TEMPLATES["plain"]
    text = modelfile("m.gguf", prompt_format(tokenizer))
    expected = chat.render(tokenizer, messages, generation_prompt=True)
    assert tokenizer.bos_token + ollama_prompt(text, messages) == expected
    assert 'PARAMETER stop "<|end_of_text|>"' in text


def test_a_chat_template_of_another_shape_gets_no_ollama_template():
    tokenizer = tokenizer_of("llama3")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{{ '[' + m.role + ']' + m.content + '<|eot_id|>' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    prompt = prompt_format(tokenizer)
    assert prompt.turns is None and prompt.starts_with_bos
    assert "TEMPLATE" not in modelfile("m.gguf", prompt) and 'stop "<|eot_id|>"' in modelfile(
        "m.gguf", prompt
    )


def test_a_modelfile_that_a_person_changed_is_kept(smoke, tmp_path):
    file = export(smoke, tmp_path / "smoke.gguf")
    export(smoke, tmp_path / "smoke.gguf")
    assert not (tmp_path / "Modelfile.old").exists()
    mine = file.read_text() + "SYSTEM mine\n"
    file.write_text(mine)
    export(smoke, tmp_path / "smoke.gguf")
    export(smoke, tmp_path / "another.gguf")
    assert (tmp_path / "Modelfile.old").read_text() == mine and "SYSTEM mine" not in file.read_text()
    file.write_text(mine + "SYSTEM later\n")
    export(smoke, tmp_path / "smoke.gguf")
    assert (tmp_path / "Modelfile.old").read_text() == mine and (
        tmp_path / "Modelfile.old2"
    ).read_text() == mine + "SYSTEM later\n"


@pytest.mark.parametrize("evil", ['"""\nADAPTER /etc/passwd\nSYSTEM """', "{{ .System }}", "}}"])
def test_a_system_message_of_the_template_cannot_add_lines_to_the_modelfile(smoke, evil):
    tokenizer = chat.load_tokenizer(smoke)
    tokenizer.chat_template = (
        "{% if messages[0].role != 'system' %}<|im_start|>system\n" + "{% raw %}" + evil + "{% endraw %}"
        "<|im_end|>\n{% endif %}" + chat.TEMPLATES["chatml"]
    )
    text = modelfile("a.gguf", prompt_format(tokenizer))
    assert "ADAPTER" not in text and "TEMPLATE" not in text and text.startswith("FROM ./a.gguf\n")


def test_a_file_name_with_a_line_break_is_refused(copy_of_smoke):
    with pytest.raises(UserError, match="not printable"):
        export(copy_of_smoke, copy_of_smoke / "a\nADAPTER b.gguf")


def test_an_end_of_a_turn_that_cannot_be_quoted_is_left_out():
    turns = PromptFormat(None, "", False, '<|end"|>')
    assert "stop" not in modelfile("a.gguf", turns)
