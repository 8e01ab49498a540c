"""llama.cpp computes what transformers computes. These tests need llama-cpp-python."""

import numpy
import pytest
import torch
from transformers import AutoTokenizer

from scripts.export.dtypes import Dtype
from scripts.export.gguf import export
from scripts.lm import chat
from scripts.lm.smoke_model import smoke_model
from tests.export.gguf_models import (
    LINEAR,
    LLAMA31,
    TALK,
    TEXTS,
    YARN,
    folder_of,
    logits_of,
    original,
)
from utils_ft import ROOT


def llama_cpp(file):
    """The file loaded by llama.cpp, with a float32 cache."""
    package = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    return package.Llama(
        str(file), n_ctx=512, n_threads=1, logits_all=True, type_k=0, type_v=0, verbose=False
    )


@pytest.mark.parametrize(
    "family, settings",
    [
        ("smoke", {}),
        ("smollm", {"tie_word_embeddings": True}),
        ("llama3", {"rope_parameters": LLAMA31, "head_dim": 32}),
        ("llama3", {"rope_parameters": LINEAR, "attention_bias": True, "mlp_bias": True}),
        ("llama3", {"rope_parameters": YARN}),
        ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ("qwen2", {"rope_parameters": YARN | {"beta_fast": 32, "beta_slow": 1.0}}),
    ],
    ids=["smoke", "smollm", "llama 3.1", "linear and biases", "yarn", "qwen2", "qwen2 yarn"],
)
def test_llama_cpp_gives_the_tokens_and_the_logits_of_transformers(tmp_path, family, settings):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    folder = (
        smoke_model(tmp_path / "m") if family == "smoke" else folder_of(tmp_path / "m", family, **settings)
    )
    export(folder, tmp_path / "m.gguf", Dtype.F32)
    model, tokenizer = llama_cpp(tmp_path / "m.gguf"), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert model.tokenize(text.encode(), add_bos=False, special=True) == ids
    ids = chat.encode_prompt(tokenizer, TALK * 2)
    model.eval(ids)
    before = logits_of(original(folder), ids)
    assert numpy.abs(before - model.scores[: len(ids)]).max() < 1e-4 * numpy.abs(before).max()


def test_llama_cpp_writes_what_transformers_writes_with_smollm2(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    folder = ROOT / "local_models" / "smollm"
    if not (folder / "model.safetensors").exists():
        pytest.skip("SmolLM2 was not fetched")
    export(folder, tmp_path / "smollm.gguf")
    model, tokenizer = llama_cpp(tmp_path / "smollm.gguf"), chat.load_tokenizer(folder)
    prompt = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Name the planets."},
    ]
    text, ids = chat.render(tokenizer, prompt, generation_prompt=True), chat.encode_prompt(tokenizer, prompt)
    assert model.tokenize(text.encode(), add_bos=True, special=True) == ids
    written = (
        original(folder)
        .generate(torch.tensor([ids]), do_sample=False, max_new_tokens=24)[0, len(ids) :]
        .tolist()
    )
    said = []
    for token in model.generate(ids, temp=0):
        said.append(token)
        if len(said) == len(written):
            break
    assert said == written
    assert model.token_eos() == chat.end_of_turn(tokenizer)
