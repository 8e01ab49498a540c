"""The vocabulary of a GGUF file: tokens, their types, merges, special tokens and the chat template."""

from __future__ import annotations

import json
from typing import Any

from gguf import TokenType
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as EXPRESSIONS

from scripts.export.gguf_support import SUPPORTED
from scripts.lm import chat
from utils_ft import UserError


def add_vocabulary(writer: Any, config: Any, tokenizer: Any, size: int, starts_with_bos: bool) -> None:
    """Write the vocabulary of `tokenizer`.

    Arguments:
        writer: A gguf.GGUFWriter.
        config: The configuration of the model.
        tokenizer: Its tokenizer.
        size: The rows of the embedding matrix. Every row gets a token, and those without one get a filler.
        starts_with_bos: Whether a prompt begins with the token that begins a sequence.

    Raises UserError for a tokenizer that is no byte-level BPE, and for more tokens than rows.
    """
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    cuts = cuts_of(settings)
    if settings["model"]["type"] != "BPE" or cuts[-1] not in ("words", "bytes"):
        raise UserError("the tokenizer is no byte-level BPE", where=tokenizer.name_or_path, remedy=SUPPORTED)
    tokens, types = _tokens(tokenizer, size)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in settings["model"]["merges"]]
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(cuts))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    _add_special_tokens(writer, config, tokenizer)
    writer.add_add_bos_token(starts_with_bos)  # as in training, where only the chat template decides
    writer.add_add_eos_token(False)
    writer.add_chat_template(tokenizer.get_chat_template())


def _tokens(tokenizer: Any, size: int) -> tuple[list[str], list[TokenType]]:
    """The token of each row of the embedding matrix, and its type."""
    tokens, types = [f"[PAD{number}]" for number in range(size)], [TokenType.UNUSED] * size
    added, special = tokenizer.added_tokens_decoder, set(tokenizer.all_special_ids)
    for token, number in tokenizer.get_vocab().items():
        if number >= size:
            raise UserError(
                f"the tokenizer has a token {number}, {token!r}, and the model embeds only {size}",
                where=tokenizer.name_or_path,
                remedy="resize the embeddings of the base model and train again",
            )
        tokens[number] = token
        if number in special or (number in added and added[number].special):
            types[number] = TokenType.CONTROL
        else:
            types[number] = TokenType.USER_DEFINED if number in added else TokenType.NORMAL
    return tokens, types


def _add_special_tokens(writer: Any, config: Any, tokenizer: Any) -> None:
    """Write the ids of the special tokens. The end of the assistant's turn is the end of the sequence."""
    end = chat.end_of_turn(tokenizer)
    begin = config.bos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    for add, number in (
        (writer.add_bos_token_id, begin),
        (writer.add_eos_token_id, end),
        (writer.add_eot_token_id, end),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if number is not None:
            add(number)


def cuts_of(settings: dict) -> tuple[str, ...]:
    """How a tokenizer cuts a text before it merges bytes, from its `tokenizer.json`.

    Each cut is a name (`words`, `bytes`, `digits`) or a regular expression. A cut that is not known here
    keeps the name of its type.
    """
    first = settings["pre_tokenizer"] or {"type": "nothing"}
    normalizer = settings["normalizer"]
    cuts = [] if normalizer is None or normalizer["type"] == "NFC" else ["a normalizer"]
    for cut in first.get("pretokenizers", [first]):
        name = cut["type"]
        if name == "ByteLevel" and not cut["add_prefix_space"]:
            name = "words" if cut["use_regex"] else "bytes"
        elif name == "Digits" and cut["individual_digits"]:
            name = "digits"
        elif name == "Split" and cut["behavior"] == "Isolated" and not cut["invert"]:
            name = cut["pattern"].get("Regex", name)
        cuts.append(name)
    return tuple(cuts)


def pre_tokenizer(cuts: tuple[str, ...]) -> str:
    """llama.cpp's name for these cuts, or `default` with a note when it has none.

    The cuts decide and not the model's name: the SmolLM2 of the demo profile comes from a GGUF file and cuts
    like GPT-2, while the SmolLM2 on the hub cuts digit by digit.
    """
    names = {("words",): "gpt-2", ("digits", "words"): "smollm"}
    names |= {(EXPRESSIONS[name], "bytes"): name for name in ("llama-bpe", "qwen2")}
    if cuts not in names:
        print(
            f"note: llama.cpp has no name for this model's pre-tokenizer ({' + '.join(cuts)}); "
            "with `default` some texts may be cut into other tokens than in training",
            flush=True,
        )
    return names.get(cuts, "default")
