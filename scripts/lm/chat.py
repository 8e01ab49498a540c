"""Messages as tokens, and which of them are supervised. Training and inference, and both engines, use this
module.

Supervised are the assistant's answers and the token that ends each of its turns, nothing else. Their
positions are found by rendering each beginning of a conversation with the chat template. So with any
template, the model is trained on the tokens that it has to write at inference after the same prompt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from scripts.lm.end_rows import equal_row
from scripts.lm.loading import explain_broken, load_config, load_pretrained_tokenizer
from scripts.lm.prompts import Message
from scripts.lm.templates import render_template
from scripts.lm.turns import NO_THINKING, fix_date, pieces, probe
from utils_ft import UserError, read_text

ENCODING_VERSION = 2
"""The version of `encode`. Encoded rows in a cache are valid for one version.

Raise it with any change of the tokens or the targets of a conversation, then run `python -m
tests.golden_verdicts`. tests/test_scoring_version.py fails when they change and the version does not.
"""

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}{% for message in messages %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        " + message['content'] + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n'"
        " + message['content'] + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + eos_token }}{% elif message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}"
        "{% endfor %}"
    ),
    "plain": (
        "{{ bos_token }}{% for message in messages %}"
        "{{ '### ' + message['role'] + '\n' + message['content'] }}"
        "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}"
    ),
}
"""A chat template for each family of models, for base models without one.

`plain` has no marks but the token that ends a text. It is for base models whose other marks are untrained.
"""

_MARKS = {
    "<|start_header_id|>": "llama3",
    "<|im_start|>": "chatml",
    "<start_of_turn>": "gemma",
    "[INST]": "mistral",
}
"""Special token → the key of `TEMPLATES` of the family that has it."""

_KINDS = {"mistral": "mistral", "mixtral": "mistral"}
"""`model_type` of a config.json → the key of `TEMPLATES`.

The first Mistral models have no special tokens for turns.
"""

_PADDING = (
    "<|finetune_right_pad_id|>",
    "<pad>",
    "<|endoftext|>",
    "<|reserved_special_token_0|>",
    "<unk>",
    "<|unk|>",
)
"""Tokens that can be used for padding, the most suitable first."""

_REMEDY = "give a template that only appends text for each further turn: --chat-template FILE.jinja"


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens."""

    input_ids: list[int]
    supervised: list[bool]
    """For each token, whether it counts in the loss."""
    cut: int = 0
    """Assistant turns that were left out, as they are beyond the limit."""

    @property
    def labels(self) -> list[int]:
        """The token at each supervised position, and -100 elsewhere."""
        return [token if on else -100 for token, on in zip(self.input_ids, self.supervised, strict=True)]


def load_tokenizer(model: str | Path, chat_template: Path | None = None) -> Any:
    """Load the tokenizer of the model in a folder, with a chat template and a padding token.

    Arguments:
        model: The model's folder.
        chat_template: A file whose template replaces the model's own. A model without one gets that of its
            family.

    A template that rewrites earlier turns or thinks is replaced by one with the same marks that does
    neither. Where the model cannot learn the mark that ends a turn, turns are plain text and end with the
    token that ends a text in the base model. In both cases one line is printed. The padding token is never
    the one that ends a turn.

    Raises UserError for a tokenizer that gives no positions of tokens, for a model without a template whose
    family is unknown, and for a model that can learn no end of a turn.
    """
    tokenizer = load_pretrained_tokenizer(model)
    if not tokenizer.is_fast:
        raise UserError(
            "the model has no fast tokenizer, and the positions of tokens are needed",
            where=model,
            remedy="add a tokenizer.json to the model's folder",
        )
    if chat_template:
        tokenizer.chat_template = read_text(chat_template, remedy=_REMEDY)
    elif not tokenizer.chat_template:
        tokenizer.chat_template = TEMPLATES[_family(tokenizer, model)]
    else:
        _use_own_template(tokenizer, model)
    with explain_broken(model):
        _use_learnable_end(tokenizer, model, fixed=chat_template is not None)
    tokenizer.padding_side = "left"  # for generation; training pads on the right by itself
    end = end_of_turn(tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == end:
        tokenizer.pad_token = _padding_token(tokenizer, end)
    return tokenizer


def _use_own_template(tokenizer: Any, model: str | Path) -> None:
    """Make the model's own template one that only appends text and never thinks."""
    if isinstance(tokenizer.chat_template, dict):  # several templates, each for a purpose
        tokenizer.chat_template = tokenizer.get_chat_template()
    tokenizer.chat_template = fix_date(tokenizer.chat_template)
    if _only_appends(tokenizer):
        return
    derived = _derived_template(tokenizer)
    if derived is None:  # `encode` says why it cannot be used
        return
    own, tokenizer.chat_template = tokenizer.chat_template, derived
    if not _only_appends(tokenizer):
        tokenizer.chat_template = own
        return
    _say_once(
        f"{Path(model).name}: its chat template thinks or rewrites earlier turns; "
        "the same marks are used without thinking, and every turn stays as it was written"
    )


def _only_appends(tokenizer: Any) -> bool:
    """Whether a conversation can be encoded, and the template has no thinking that could be switched off."""
    has_system = _takes_system(tokenizer, tokenizer.chat_template)
    talk = probe(has_system)
    try:
        encode(tokenizer, talk)
        prompt = render(tokenizer, talk[:-1], generation_prompt=True)
    except UserError:
        return False
    quiet = _rendered_quietly(tokenizer, talk[:-1], True)
    return quiet == prompt and prompt.count("<think>") <= prompt.count("</think>")


def _derived_template(tokenizer: Any) -> str | None:
    """A template with the marks of the tokenizer's own, without thinking. None if there is none."""
    from jinja2 import TemplateError

    specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for in_parts in (False, True):
        for has_system in (True, False):
            with suppress(TemplateError):
                found = pieces(
                    lambda messages, prompt, parts=in_parts: _rendered_quietly(
                        tokenizer, messages, prompt, parts
                    ),
                    has_system,
                    specials,
                )
                if found:
                    return found.template()
    return None


def _rendered_quietly(
    tokenizer: Any, messages: list[Message], generation_prompt: bool, in_parts: bool = False
) -> str:
    """The text of `messages` with thinking switched off, in the words that this template knows.

    With `in_parts` the text of a message is the only part of a list, as templates of some models with vision
    require.
    """
    from jinja2 import TemplateError

    turns = [
        {
            "role": each["role"],
            "content": [{"type": "text", "text": each["content"]}] if in_parts else each["content"],
        }
        for each in messages
    ]
    for settings in NO_THINKING:
        with suppress(TemplateError):
            return render_template(tokenizer, turns, generation_prompt=generation_prompt, **settings)
    raise TemplateError("the template refuses the conversation")


def _use_learnable_end(tokenizer: Any, model: str | Path, fixed: bool) -> None:
    """Take plain turns where the model cannot learn the mark that ends a turn.

    Raises UserError if the template is `fixed`, or if the end of a text cannot be learnt either.
    """
    end = end_of_turn(tokenizer)
    other = equal_row(model, end)
    if other is None:
        return
    mark, twin = (repr(tokenizer.convert_ids_to_tokens(token)) for token in (end, other))
    same = "is zero" if end == other else f"equals that of {twin}"
    what = f"{mark} was never trained: its row in the model's head {same}, so no answer would end"
    last = tokenizer.eos_token_id
    if fixed or last is None or last == end or equal_row(model, last) is not None:
        raise UserError(
            what,
            where=model,
            remedy="take the Instruct variant of the model, or end a turn with a token that was trained",
        )
    tokenizer.chat_template = TEMPLATES["plain"]
    _say_once(
        f"{Path(model).name}: {what}; turns are plain text that {tokenizer.eos_token!r} ends. "
        "The Instruct variant of the model has trained marks"
    )


@cache
def _say_once(line: str) -> None:
    """Print a line once, in the first process of a training."""
    if os.environ.get("RANK", "0") == "0":
        print(line, flush=True)


def _family(tokenizer: Any, model: str | Path) -> str:
    """The key of `TEMPLATES` for a model, by a special token of its family, else by its config.json.

    Raises UserError for an unknown family.
    """
    vocabulary = tokenizer.get_vocab()
    for mark, family in _MARKS.items():
        if mark in vocabulary:
            return family
    with suppress(UserError, KeyError):  # no config.json, or a kind that is not known
        return _KINDS[load_config(model).model_type]
    raise UserError(
        "the model has no chat template, and its special tokens belong to no known family",
        where=model,
        remedy=_REMEDY,
    )


def _padding_token(tokenizer: Any, end: int) -> str:
    """A token for padding that is not `end`: the model must learn to write the end of a turn."""
    vocabulary = tokenizer.get_vocab()
    for name in (*_PADDING, *tokenizer.all_special_tokens):
        if name in vocabulary and vocabulary[name] != end:
            return name
    raise UserError(
        "the tokenizer has no special token besides the end of a turn, so none is left for padding",
        remedy="add a token `<pad>` to the tokenizer",
    )


def render(tokenizer: Any, messages: Sequence[Message], generation_prompt: bool = False) -> str:
    """The text of `messages` in the chat template of the tokenizer.

    With `generation_prompt` it ends where the assistant's next turn begins. If the template has no place for
    a system message, its text is put before the first user message. Raises UserError when the template
    refuses the messages.
    """
    from jinja2 import TemplateError

    turns = list(messages)
    has_system = len(turns) > 1 and turns[0]["role"] == "system"
    if has_system and not _takes_system(tokenizer, tokenizer.chat_template):
        turns = [{"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}, *turns[2:]]
    try:
        return render_template(tokenizer, turns, generation_prompt=generation_prompt)
    except TemplateError as error:
        raise UserError(f"the chat template refuses a conversation: {error}", remedy=_REMEDY) from None


@lru_cache(maxsize=8)
def _takes_system(tokenizer: Any, template: str) -> bool:
    """Whether `template` keeps a system message at the front.

    Gemma's template refuses a system message; Mistral's moves it to the last user message.
    """
    from jinja2 import TemplateError

    turns = [{"role": role, "content": f"{role} text"} for role in ("system", "user", "assistant")]
    try:
        opening, whole = (render_template(tokenizer, part, template) for part in (turns[:2], turns))
    except TemplateError:
        return False
    return "system text" in opening and whole.startswith(opening)


def encode(
    tokenizer: Any, messages: Sequence[Message], max_tokens: int = 4096, last_only: bool = False
) -> Encoded:
    """Encode a conversation that ends with the assistant.

    A conversation of more than `max_tokens` tokens loses whole turns at its end, and they are counted. When
    not even the first turn fits, nothing is left. With `last_only`, no answer but the last is supervised:
    a repair must not teach the broken code before it. Raises UserError for a template that cannot be used
    for training.
    """
    text = render(tokenizer, messages)
    batch = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = batch["input_ids"], batch["offset_mapping"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    supervised = [False] * len(ids)
    end = fits = cut = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt_end, answer_end = _answer_place(tokenizer, messages, index, text)
        start = _first_token(offsets, end, prompt_end)
        _check_prompt(tokenizer, text[:prompt_end], ids[:start])
        end = _end_of_turn(ids, offsets, start, answer_end, special) + 1
        supervised[start:end] = [not last_only or index == len(messages) - 1] * (end - start)
        if end <= max_tokens:
            fits = end
        else:
            cut += 1
    return Encoded(ids[:fits], supervised[:fits], cut)


def _answer_place(tokenizer: Any, messages: Sequence[Message], index: int, text: str) -> tuple[int, int]:
    """The characters of `text` at which the prompt of the answer `messages[index]` ends, and the answer."""
    prompt = render(tokenizer, messages[:index], generation_prompt=True)
    if not text.startswith(prompt):
        raise UserError("the chat template rewrites earlier turns when a later one is added", remedy=_REMEDY)
    content = messages[index]["content"].strip()  # many templates strip it
    start = text.find(content, len(prompt))
    if start < 0 or text[len(prompt) : start].strip():
        raise UserError("the chat template changes what the assistant says", remedy=_REMEDY)
    return len(prompt), start + len(content)


def _check_prompt(tokenizer: Any, prompt: str, expected: Sequence[int]) -> None:
    """UserError unless the tokens of a prompt are the first tokens of its conversation."""
    if tokenizer(prompt, add_special_tokens=False)["input_ids"] != list(expected):
        raise UserError(
            "the tokens of a prompt are not the first tokens of its conversation: "
            f"the prompt ends with {prompt[-20:]!r}",
            remedy=_REMEDY,
        )


def _first_token(offsets: Sequence[tuple[int, int]], begin: int, prompt_end: int) -> int:
    """The first token, from `begin` on, that is behind character `prompt_end`."""
    token = begin
    while token < len(offsets) and offsets[token][1] <= prompt_end:
        token += 1
    if token < len(offsets) and offsets[token][0] < prompt_end:
        raise UserError("a token crosses from the prompt into the assistant's answer", remedy=_REMEDY)
    return token


def _end_of_turn(
    ids: Sequence[int], offsets: Sequence[tuple[int, int]], start: int, answer_end: int, special: set[int]
) -> int:
    """The first special token, from `start` on, that is behind character `answer_end`."""
    for token in range(start, len(ids)):
        if offsets[token][0] >= answer_end and ids[token] in special:
            return token
    raise UserError("the chat template puts no special token behind the assistant's answer", remedy=_REMEDY)


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens after which the assistant's next turn begins."""
    text = render(tokenizer, messages, generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def end_of_turn(tokenizer: Any) -> int:
    """The token with which the chat template ends the assistant's turn."""
    encoded = encode(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    return encoded.input_ids[-1]
