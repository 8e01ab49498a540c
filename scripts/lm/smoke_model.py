"""A tiny model with random weights, for the tests."""

from __future__ import annotations

from pathlib import Path

from utils_ft import new_folder

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def smoke_model(folder: Path) -> Path:
    """A Llama of a few thousand random weights, its byte-level tokenizer trained on the spot; a second to make."""
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from scripts.lm.chat import TEMPLATES
    from scripts.lm.prompts import PERSONA

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    text = [
        PERSONA,
        "{ colour(N, C) : hue(C) } = 1 :- node(N).",
        ":- edge(X, Y), not reached(X), #count { Z : p(Z) } > 2.",
    ]
    trained.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token=_SPECIAL[0], eos_token=_SPECIAL[2], pad_token=_SPECIAL[0]
    )
    tokenizer.chat_template = TEMPLATES["chatml"]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
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
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    with new_folder(folder) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    return folder
