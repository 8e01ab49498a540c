"""From messages to tokens, and which tokens are supervised: one answer for training, inference and both engines.

Supervised is what the assistant says and the token that ends its turn, nothing else. The positions come from the
chat template itself, by rendering each prefix of a conversation: whatever the template, the tokens a model is trained
to write are those that it has to write at inference after the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from scripts.lm.prompts import Message
from utils_ft import UserError, read_text

ENCODING_VERSION = 1
"""The version of `encode`. Tokens that `dataset` keeps hold for one version.

Raise it with any change of the tokens or the targets of a conversation, then run `python -m tests.golden_verdicts`:
tests/test_scoring_version.py fails where they change under an old one.
"""

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        " + message['content'] + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' + message['content']"
        " + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + eos_token }}{% elif message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}{% endfor %}"
    ),
}
"""The template of each family of models, for a base model that comes without one."""

_MARKS = {
    "<|start_header_id|>": "llama3",
    "<|im_start|>": "chatml",
    "<start_of_turn>": "gemma",
    "[INST]": "mistral",
}
_KINDS = {"mistral": "mistral", "mixtral": "mistral"}  # whose first models write their marks in plain text

_REMEDY = "give a template whose turns only ever grow at the end: --chat-template FILE.jinja"


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens. `supervised[i]` says whether token i is a target; `cut` counts the turns left out."""

    input_ids: list[int]
    supervised: list[bool]
    cut: int = 0

    @property
    def labels(self) -> list[int]:
        """The targets, position by position; -100 where nothing is asked."""
        return [token if on else -100 for token, on in zip(self.input_ids, self.supervised, strict=True)]


def load_tokenizer(model: str | Path, chat_template: Path | None = None) -> Any:
    """The tokenizer of `model`, with a chat template and a padding token that is no end of turn.

    `chat_template` replaces the model's own; a model without one gets its family's, told by its special tokens or its kind.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if not tokenizer.is_fast:
        raise UserError(
            "the model has no fast tokenizer, and the positions of tokens are needed",
            where=model,
            remedy="add a tokenizer.json to the model's folder",
        )
    if chat_template:
        tokenizer.chat_template = read_text(chat_template, remedy=_REMEDY)
    elif not tokenizer.chat_template:
        family = _family(tokenizer, model)
        if family is None:
            raise UserError(
                "the model has no chat template, and its special tokens belong to no known family",
                where=model,
                remedy=_REMEDY,
            )
        tokenizer.chat_template = TEMPLATES[family]
    elif isinstance(tokenizer.chat_template, dict):  # several, each for its purpose
        tokenizer.chat_template = tokenizer.get_chat_template()
    tokenizer.padding_side = "left"  # for generation; training pads by itself, on the right
    end = end_of_turn(tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == end:
        tokenizer.pad_token = _unused_token(tokenizer, end)
    return tokenizer


def _family(tokenizer: Any, model: str | Path) -> str | None:
    """The key of `TEMPLATES` for a model: by a special token that only its family has, else by the kind in its config.json."""
    from transformers import AutoConfig

    vocabulary = tokenizer.get_vocab()
    if found := next((name for mark, name in _MARKS.items() if mark in vocabulary), None):
        return found
    with suppress(OSError, ValueError):  # a folder with a tokenizer alone
        return _KINDS.get(AutoConfig.from_pretrained(model).model_type)
    return None


def _unused_token(tokenizer: Any, end: int) -> str:
    """A token that may pad: never the end of a turn, which the model must learn to write."""
    vocabulary = tokenizer.get_vocab()
    wanted = (
        "<|finetune_right_pad_id|>",
        "<pad>",
        "<|endoftext|>",
        "<|reserved_special_token_0|>",
        "<unk>",
        "<|unk|>",
    )
    for name in (*wanted, *tokenizer.all_special_tokens):
        if name in vocabulary and vocabulary[name] != end:
            return name
    raise UserError(
        "the tokenizer has no special token but the end of a turn, so nothing may pad",
        remedy="add a token `<pad>` to the tokenizer",
    )


def render(tokenizer: Any, messages: Sequence[Message], generation_prompt: bool = False) -> str:
    """The text of `messages`. Where the template has no place for a system message, its text opens the first user turn."""
    from jinja2 import TemplateError

    turns = list(messages)
    if (
        len(turns) > 1
        and turns[0]["role"] == "system"
        and not _takes_system(tokenizer, tokenizer.chat_template)
    ):
        turns = [{"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}, *turns[2:]]
    try:
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation_prompt)
    except TemplateError as error:
        raise UserError(f"the chat template refuses a conversation: {error}", remedy=_REMEDY) from None


@lru_cache(maxsize=8)
def _takes_system(tokenizer: Any, template: str) -> bool:
    """Whether `template` keeps a system message at the front: Gemma's refuses it, Mistral's moves it to the last user turn."""
    from jinja2 import TemplateError

    turns = [{"role": role, "content": f"{role} text"} for role in ("system", "user", "assistant")]
    try:
        opening, whole = (
            tokenizer.apply_chat_template(part, chat_template=template, tokenize=False)
            for part in (turns[:2], turns)
        )
    except TemplateError:
        return False
    return "system text" in opening and whole.startswith(opening)


def encode(tokenizer: Any, messages: Sequence[Message], max_tokens: int = 4096) -> Encoded:
    """Tokens and targets of a conversation that ends with the assistant.

    More than `max_tokens` tokens: whole turns are cut at the end, never a part of one, and counted. What is left may
    be nothing (no token is supervised) when not even the first turn fits. UserError for a template that cannot be used.
    """
    text = render(tokenizer, messages)
    batch = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = batch["input_ids"], batch["offset_mapping"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    supervised = [False] * len(ids)
    fits, turns, kept = 0, 0, 0
    position = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prefix = render(tokenizer, messages[:index], generation_prompt=True)
        if not text.startswith(prefix):
            raise UserError(
                "the chat template rewrites earlier turns when a later one is added", remedy=_REMEDY
            )
        content = message["content"].strip()  # many templates trim it
        start = text.find(content, len(prefix))
        if start < 0 or text[len(prefix) : start].strip():
            raise UserError("the chat template changes what the assistant says", remedy=_REMEDY)
        while position < len(ids) and offsets[position][1] <= len(prefix):
            position += 1
        if position < len(ids) and offsets[position][0] < len(prefix):
            raise UserError("a token crosses from the prompt into the assistant's answer", remedy=_REMEDY)
        stop = start + len(content)
        while position < len(ids) and (offsets[position][0] < stop or ids[position] not in special):
            supervised[position] = True
            position += 1
        if position == len(ids):
            raise UserError(
                "the chat template puts no special token behind the assistant's answer", remedy=_REMEDY
            )
        supervised[position] = True
        position += 1
        turns += 1
        if position <= max_tokens:
            fits, kept = position, turns
    return Encoded(ids[:fits], supervised[:fits], turns - kept)


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens after which the assistant's next turn begins."""
    return tokenizer(render(tokenizer, messages, generation_prompt=True), add_special_tokens=False)[
        "input_ids"
    ]


def end_of_turn(tokenizer: Any) -> int:
    """The token that ends the assistant's turn, as the template has it."""
    encoded = encode(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    return encoded.input_ids[-1]
