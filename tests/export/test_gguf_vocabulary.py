"""The vocabulary of a GGUF file gives the tokens that the model was trained on."""

import json

import gguf
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from scripts.export.gguf import export
from scripts.export.gguf_vocabulary import cuts_of, pre_tokenizer
from scripts.lm import chat
from tests.export.gguf_models import (
    CUTS,
    FAMILIES,
    TALK,
    TEXTS,
    WORDS,
    fields_of,
    folder_of,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_has_its_type_and_every_row_a_token(tmp_path, family):
    folder = folder_of(tmp_path / "m", family)
    export(folder, tmp_path / "m.gguf")
    fields, tokenizer = fields_of(tmp_path / "m.gguf"), AutoTokenizer.from_pretrained(folder)
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert (
        len(set(tokens)) == len(tokens) == len(tokenizer) + 5
        and types[len(tokenizer) :] == [gguf.TokenType.UNUSED] * 5
    )
    special, cuts, _, end = FAMILIES[family]
    kinds = dict(zip(tokens, types, strict=True))
    assert {kinds[token] for token in special} == {gguf.TokenType.CONTROL}
    assert kinds["<think>"] == gguf.TokenType.USER_DEFINED and kinds["a"] == gguf.TokenType.NORMAL
    assert fields["tokenizer.ggml.pre"] == cuts and tokens[fields["tokenizer.ggml.eos_token_id"]] == end
    assert fields["tokenizer.ggml.add_bos_token"] == (family == "llama3")  # SmolLM2's also opens every turn


@pytest.mark.parametrize(
    "family", ["qwen2", "llama3"]
)  # transformers knows no cut digit by digit; llama.cpp is asked below
def test_the_tokenizer_read_back_gives_the_same_tokens(tmp_path, family):
    folder = folder_of(tmp_path / "m", family)
    export(folder, tmp_path / "m.gguf")
    before, after = (
        AutoTokenizer.from_pretrained(folder),
        AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf"),
    )
    for text in [*TEXTS, chat.render(before, TALK)]:
        ids = before(text, add_special_tokens=False)["input_ids"]
        assert after(text, add_special_tokens=False)["input_ids"] == ids and after.decode(ids) == text


def test_the_smoke_tokenizer_read_back_gives_the_same_tokens(smoke, tmp_path):
    export(smoke, tmp_path / "smoke.gguf")
    before, after = (
        AutoTokenizer.from_pretrained(smoke),
        AutoTokenizer.from_pretrained(tmp_path, gguf_file="smoke.gguf"),
    )
    assert [after(text)["input_ids"] for text in TEXTS] == [before(text)["input_ids"] for text in TEXTS]
    assert after.apply_chat_template(TALK, tokenize=False) == before.apply_chat_template(TALK, tokenize=False)


@pytest.mark.parametrize("name", CUTS)
def test_a_pre_tokenizer_is_recognised_by_how_it_cuts(name):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(CUTS[name])
    assert pre_tokenizer(cuts_of(json.loads(trained.to_str()))) == name


def test_an_unknown_pre_tokenizer_is_default_with_a_note(capsys):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), *WORDS])
    assert pre_tokenizer(cuts_of(json.loads(trained.to_str()))) == "default"
    assert "other tokens than in training" in capsys.readouterr().out
