"""Small models and tokenizers of each family that can be exported to GGUF, for the tests of the export."""

import gguf
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from scripts.lm import chat

PROGRAM = (
    "{ colour(N, C) : hue(C) } = 1 :- node(N).\n"
    ":- edge(X, Y), not reached(X), 12 <= #count { Z : p(Z) }, X!=Y."
)
TEXTS = [
    PROGRAM,
    "Each region gets exactly one of the  3 colours; it's 2026.",
    "\n\n  \tq(1..10) :- r.  % über ∀x 日本",
    "<|im_start|>user\nA<|im_end|>\n",
]
TALK = [
    {"role": "system", "content": "You write clingo.\n\n# Colouring\n`node(N)`"},
    {"role": "user", "content": "Colour each node."},
    {"role": "assistant", "content": "{ c(N) } :- node(N)."},
    {"role": "user", "content": "No two alike."},
]
WORDS = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
CUTS = {
    "gpt-2": WORDS,
    "smollm": [pre_tokenizers.Digits(individual_digits=True), *WORDS],
    **{
        name: [
            pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[name]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
        for name in ("llama-bpe", "qwen2")
    },
}
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are Tiny.<|im_end|>\n' }}{% endif %}"
    + chat.TEMPLATES["chatml"]
)
FAMILIES = {
    "smollm": (["<|im_start|>", "<|im_end|>", "<|endoftext|>"], "smollm", CHATML, "<|im_end|>"),
    "qwen2": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "qwen2", CHATML, "<|im_end|>"),
    "llama3": (
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "llama-bpe",
        chat.TEMPLATES["llama3"],
        "<|eot_id|>",
    ),
}
"""Family → special tokens (the first begins a sequence), how text is cut, chat template, end of a turn."""
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
YARN = LINEAR | {"rope_type": "yarn", "original_max_position_embeddings": 128}
LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def tokenizer_of(family):
    """A tokenizer like those of the family, trained on a few texts."""
    special, cuts, template, _ = FAMILIES[family]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(CUTS[cuts])
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(
        [*TEXTS, "system user assistant"] * 3,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, bos_token=special[0], eos_token=special[1])
    tokenizer.add_tokens(["<think>"])  # an added token that is not special
    tokenizer.chat_template = template
    return tokenizer


def folder_of(folder, family="llama3", **settings):
    """A random model like those of the family, written to `folder`.

    Its embedding has five rows without a token.
    """
    tokenizer = tokenizer_of(family)
    sizes = {
        "vocab_size": len(tokenizer) + 5,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "initializer_range": 0.2,
    }
    kind, model_of = (Qwen2Config, Qwen2ForCausalLM) if family == "qwen2" else (LlamaConfig, LlamaForCausalLM)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = model_of(kind(**(sizes | settings)))
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:  # these begin as zeros and ones
                parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits_of(model, ids):
    """The logits of a model as a NumPy array, (tokens, vocabulary)."""
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids])).logits[0].float().numpy()


def original(folder):
    """The model in a folder."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def read_back(file):
    """The model in a GGUF file, as transformers reads it."""
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )


def fields_of(file):
    """The settings in a GGUF file."""
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}
