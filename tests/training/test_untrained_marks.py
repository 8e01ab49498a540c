"""A base model whose marks were never trained learns to end its answers all the same."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from scripts.export.fuse_pytorch import fuse
from scripts.export.fusing import Folders
from scripts.inference.generator import load_generator
from scripts.lm import chat
from scripts.lm.end_rows import equal_row
from scripts.training.checkpoints import choose
from scripts.training.pytorch_engine import train
from scripts.training.run import RunOptions
from tests.examples import colouring_row, write_rows
from tests.lm.test_chat import tokenizer_of
from tests.training.recipes import PLAIN
from utils_ft import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(
    PLAIN, max_steps=90, save_every=90, learning_rate=1e-2, rank=16, alpha=32, top_layers=2, weight_decay=0.0
)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama like Llama 3: no template, and the rows of its marks are nearly zero."""
    folder = tmp_path_factory.mktemp("models") / "my-llama-base"
    tokenizer = tokenizer_of("llama3", None)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, initializer_range=0.1,
        max_position_embeddings=1024, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    marks = [
        tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("eot_id", "start_header_id", "end_header_id", "reserved_special_token_0")
    ]
    for matrix in (model.lm_head, model.model.embed_tokens):
        matrix.weight.data[marks] = 1e-23
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def one_row(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [colouring_row(0, steps=2)]
    return write_rows(tmp_path_factory.mktemp("data"), train=rows, valid=rows)


def test_a_base_model_with_untrained_marks_learns_to_stop(untrained, one_row, tmp_path, capsys, monkeypatch):
    run, target = tmp_path / "run", tmp_path / "fused"
    train(str(untrained), RECIPE, one_row, options=RunOptions(folder=run))
    assert capsys.readouterr().out.count("turns are plain text that '<|end_of_text|>' ends") == 1
    messages = colouring_row(0, steps=2)["messages"]
    fuse(str(untrained), "last", one_row, folders=Folders(run, target))
    for generator in (load_generator(untrained, choose(run, "last").path), load_generator(target)):
        assert generator.generate([messages[:2], messages[:4]]) == [
            messages[2]["content"],
            messages[4]["content"],
        ]
    ends = json.loads((target / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [1] and generator.tokenizer.chat_template == chat.TEMPLATES["plain"]

    # Where 16 bits do not fit, the base is in 4 bits and the adapter is not merged.
    monkeypatch.setattr("scripts.inference.generator.needs_4_bits", lambda model: True)
    packed = load_generator(untrained, choose(run, "last").path, max_new_tokens=8)
    assert "its base is held in 4" in capsys.readouterr().out
    ids = torch.tensor([chat.encode_prompt(packed.tokenizer, messages[:2])])
    tokens = packed.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
    )
    assert packed.generate([messages[:2]]) == packed.tokenizer.batch_decode(tokens[:, ids.shape[1] :])


def test_a_given_template_that_ends_with_an_untrained_mark_is_refused(untrained, one_row, tmp_path):
    file = tmp_path / "llama3.jinja"
    file.write_text(chat.TEMPLATES["llama3"])
    with pytest.raises(UserError, match="'<|eot_id|>' was never trained.*\n.*Instruct"):
        train(
            str(untrained), RECIPE, one_row, options=RunOptions(folder=tmp_path / "run", chat_template=file)
        )


def test_rows_are_compared_in_all_files_and_formats(untrained, tmp_path):
    tokenizer = chat.load_tokenizer(untrained)
    eot, end = (tokenizer.convert_tokens_to_ids(mark) for mark in ("<|eot_id|>", "<|end_of_text|>"))
    assert equal_row(untrained, eot) == eot and equal_row(untrained, end) is None
    model = LlamaForCausalLM.from_pretrained(untrained)
    for shift, found in ((0.0, end), (0.01, end), (0.3, None)):
        model.lm_head.weight.data[eot] = model.lm_head.weight.data[end] * (1 + shift)
        model.save_pretrained(tmp_path / f"model-{shift}", max_shard_size="50KB")
        assert equal_row(tmp_path / f"model-{shift}", eot) == found
    assert equal_row(tmp_path, eot) is None  # no weights
