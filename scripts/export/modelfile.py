"""The Modelfile that Ollama reads beside a GGUF file: chat format, end of a turn, sampling.

The chat format is found by rendering conversations with the model's own chat template, so Ollama builds the
same prompts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from scripts.lm import chat
from scripts.lm.prompts import Message
from utils_ft import read_text, show_path, write_text


@dataclass(frozen=True)
class Turns:
    """A chat format in which every turn is `opening role header content closing`."""

    opening: str
    header: str
    closing: str
    end: str = ""
    """The token before the closing of the assistant's turns, where no other turn has it."""

    def turn(self, role: str, content: str) -> str:
        """One turn as text."""
        end = self.end if role == "assistant" else ""
        return f"{self.opening}{role}{self.header}{content}{end}{self.closing}"

    def render(self, messages: list[Message]) -> str:
        """The prompt for the assistant's next turn."""
        turns = "".join(self.turn(message["role"], message["content"]) for message in messages)
        return f"{turns}{self.opening}assistant{self.header}"


TURNS = (
    Turns("<|im_start|>", "\n", "<|im_end|>\n"),
    Turns("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
)
"""ChatML and Llama 3."""

PLAIN = Turns("### ", "\n", "\n\n")
"""The turns of the template `plain`. The token that ends a text is added, as it differs between models."""


@dataclass(frozen=True)
class PromptFormat:
    """What a chat template writes."""

    turns: Turns | None
    """None when the template has another shape than those of `TURNS`."""
    without_system: str
    """The text at the beginning of a conversation without a system message."""
    starts_with_bos: bool
    """Whether a prompt begins with the token that begins a sequence."""
    end: str
    """The token that ends the assistant's turn."""


_MARKS = ('"""', "{{", "}}")
"""What a text inside a TEMPLATE cannot have: the end of the text, and the marks of its own language."""


def prompt_format(tokenizer: Any) -> PromptFormat:
    """The format of a tokenizer's chat template.

    `turns` is None if the template's own system message would be read as a part of the Modelfile.
    """
    user = [{"role": "user", "content": "U"}]
    talk = [
        {"role": "system", "content": "S"},
        *user,
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "V"},
    ]
    full, short = (chat.render(tokenizer, messages, generation_prompt=True) for messages in (talk, user))
    bos, end = tokenizer.bos_token or "", tokenizer.convert_ids_to_tokens(chat.end_of_turn(tokenizer))
    for turns in (*TURNS, replace(PLAIN, end=end)):
        last_turn = turns.render(user)
        # SmolLM2 opens every turn with the token that begins a sequence, so only the whole text shows whether
        # the prompt begins with one more.
        for begin in ("", bos):
            same = full == begin + turns.render(talk)
            if same and short.startswith(begin) and short.endswith(last_turn):
                without_system = short.removeprefix(begin).removesuffix(last_turn)
                if any(mark in without_system for mark in _MARKS):
                    break
                return PromptFormat(turns, without_system, bool(begin), end)
    return PromptFormat(None, "", bool(bos) and full.startswith(bos), end)


def modelfile(gguf_name: str, prompt: PromptFormat) -> str:
    """The text of the Modelfile for a GGUF file in the same folder.

    It has no system message; the user gives one.
    """
    lines = [f"FROM ./{gguf_name}"]
    if prompt.turns:
        lines.append(f'TEMPLATE """{_template(prompt.turns, prompt.without_system)}"""')
    lines += [
        *([f'PARAMETER stop "{prompt.end}"'] if _is_plain(prompt.end) else []),
        "PARAMETER temperature 0",
        "PARAMETER num_ctx 4096",
        "# The model expects a system message with the description of the problem. Give it with each "
        "request, or here:",
        '# SYSTEM """…"""',
    ]
    return "\n".join(lines) + "\n"


def _is_plain(token: str) -> bool:
    """Whether a token can stand between the quotes of a Modelfile."""
    return token.isprintable() and '"' not in token


def _template(turns: Turns, without_system: str) -> str:
    """The chat format as a template of Ollama."""
    default = "{{ else }}" + without_system if without_system else ""
    system = "{{ if .System }}" + turns.turn("system", "{{ .System }}") + default + "{{ end }}"
    # Some versions of Ollama have the system message in .Messages as well, so it is left out there.
    end = '{{ if eq .Role "assistant" }}' + turns.end + "{{ end }}" if turns.end else ""
    other = turns.turn("{{ .Role }}", "{{ .Content }}" + end)
    others = '{{ range .Messages }}{{ if ne .Role "system" }}' + other + "{{ end }}{{ end }}"
    return f"{system}{others}{turns.render([])}"


def write_modelfile(gguf: Path, prompt: PromptFormat) -> Path:
    """Write the Modelfile beside `gguf`.

    One that a person changed is kept as Modelfile.old, Modelfile.old2, …
    """
    file, text = gguf.with_name("Modelfile"), modelfile(gguf.name, prompt)
    if prompt.turns is None:
        print(
            "note: no TEMPLATE can be written for this chat template; "
            "Ollama will look for one of its own that resembles it",
            flush=True,
        )
    if file.exists() and read_text(file).splitlines()[1:] != text.splitlines()[1:]:
        names = chain(["Modelfile.old"], (f"Modelfile.old{number}" for number in count(2)))
        kept = next(kept for kept in map(file.with_name, names) if not kept.exists())
        os.replace(file, kept)
        print(f"the old Modelfile is now {show_path(kept)}", flush=True)
    return write_text(file, text)
