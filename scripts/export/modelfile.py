"""The Modelfile that Ollama reads beside a GGUF file: the chat format as Ollama's template, where to stop, how to sample.

The format is found by rendering conversations with the model's own chat template, so that Ollama builds the same prompt.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from scripts.lm import chat
from scripts.lm.prompts import Message
from utils_ft import read_text, show_path, write_text


@dataclass(frozen=True)
class Turns:
    """A chat format in which every turn reads `opening role header content closing`."""

    opening: str
    header: str
    closing: str

    def turn(self, role: str, content: str) -> str:
        return f"{self.opening}{role}{self.header}{content}{self.closing}"

    def render(self, messages: list[Message]) -> str:
        """The prompt after which the assistant's next turn begins."""
        return (
            "".join(self.turn(m["role"], m["content"]) for m in messages)
            + f"{self.opening}assistant{self.header}"
        )


TURNS = (
    Turns("<|im_start|>", "\n", "<|im_end|>\n"),
    Turns("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
)
"""ChatML and Llama 3."""


@dataclass(frozen=True)
class PromptFormat:
    """What a chat template writes.

    `turns` is None where it has another shape; `without_system` is the text that it puts first where no system message is
    given; `starts_with_bos` says that a prompt begins with the token that begins a sequence; `end` ends the assistant's turn.
    """

    turns: Turns | None
    without_system: str
    starts_with_bos: bool
    end: str


def prompt_format(tokenizer: Any) -> PromptFormat:
    """The format of a tokenizer's chat template."""
    user = [{"role": "user", "content": "U"}]
    talk = [
        {"role": "system", "content": "S"},
        *user,
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "V"},
    ]
    full, short = (chat.render(tokenizer, messages, generation_prompt=True) for messages in (talk, user))
    bos, end = tokenizer.bos_token or "", tokenizer.convert_ids_to_tokens(chat.end_of_turn(tokenizer))
    for turns in TURNS:
        for begin in ("", bos):
            # The token that begins a sequence may open every turn as well (SmolLM2): only the whole text tells the two apart.
            if (
                full == begin + turns.render(talk)
                and short.startswith(begin)
                and short.endswith(turns.render(user))
            ):
                return PromptFormat(
                    turns, short.removeprefix(begin).removesuffix(turns.render(user)), bool(begin), end
                )
    return PromptFormat(None, "", bool(bos) and full.startswith(bos), end)


def modelfile(gguf_name: str, prompt: PromptFormat) -> str:
    """The Modelfile for a GGUF file in the same folder. The system message is left to the user."""
    lines = [f"FROM ./{gguf_name}"]
    if turns := prompt.turns:
        default = "{{ else }}" + prompt.without_system if prompt.without_system else ""
        system = "{{ if .System }}" + turns.turn("system", "{{ .System }}") + default + "{{ end }}"
        # Some versions of Ollama list the system message among the others, some do not.
        other = turns.turn("{{ .Role }}", "{{ .Content }}")
        others = '{{ range .Messages }}{{ if ne .Role "system" }}' + other + "{{ end }}{{ end }}"
        lines.append(f'TEMPLATE """{system}{others}{turns.render([])}"""')
    lines += [
        f'PARAMETER stop "{prompt.end}"',
        "PARAMETER temperature 0",
        "PARAMETER num_ctx 4096",
        "# The model expects a system message with the description of the problem. Give it with each request, or here:",
        '# SYSTEM """…"""',
    ]
    return "\n".join(lines) + "\n"


def write_modelfile(gguf: Path, prompt: PromptFormat) -> Path:
    """Write the Modelfile beside `gguf`; one that a person changed is kept as Modelfile.old, Modelfile.old2, …"""
    file, text = gguf.with_name("Modelfile"), modelfile(gguf.name, prompt)
    if prompt.turns is None:
        print(
            "note: no TEMPLATE can be written for this chat template; Ollama will look for one of its own that resembles it",
            flush=True,
        )
    if file.exists() and read_text(file).splitlines()[1:] != text.splitlines()[1:]:
        names = chain(["Modelfile.old"], (f"Modelfile.old{number}" for number in count(2)))
        kept = next(kept for kept in map(file.with_name, names) if not kept.exists())
        os.replace(file, kept)
        print(f"the Modelfile that was here is now {show_path(kept)}", flush=True)
    return write_text(file, text)
