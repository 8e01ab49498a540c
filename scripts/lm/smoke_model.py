"""A tiny model with random weights, for the tests and the smoke profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.lm.chat import TEMPLATES
from scripts.lm.prompts import PERSONA
from utils_ft import new_folder

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_TEXT = [
    PERSONA,
    "{ colour(N, C) : hue(C) } = 1 :- node(N).",
    ":- edge(X, Y), not reached(X), #count { Z : p(Z) } > 2.",
]


def smoke_model(folder: Path) -> Path:
    """Make a Llama with 4 layers and a few thousand random weights in `folder`, with a byte-level tokenizer.

    It takes a second. A model that is already there is kept. Returns `folder`.
    """
    if (folder / "model.safetensors").exists():
        return folder
    tokenizer = _tokenizer()
    model = _model(len(tokenizer))
    with new_folder(folder) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    return folder


def _tokenizer() -> Any:
    """A byte-level tokenizer with 384 tokens, trained on a few lines of text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(_TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token=_SPECIAL[0], eos_token=_SPECIAL[2], pad_token=_SPECIAL[0]
    )
    tokenizer.chat_template = TEMPLATES["chatml"]
    return tokenizer


def _model(vocabulary: int) -> Any:
    """A bfloat16 Llama with random weights, which are the same each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).to(torch.bfloat16)
