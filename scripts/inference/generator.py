"""A loaded model that writes answers: messages in, text out, greedily or by sampling, freely or within the
grammar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.asp.grammar import Grammar
from scripts.inference.decode import Decoding, Pick, generate_tokens
from scripts.inference.prefix_cache import PrefixCache
from scripts.inference.requests import MAX_NEW_TOKENS, OnDone, Sampled, Unanswered, check_drawing
from scripts.lm import chat
from scripts.lm.adapters import check_base, load_adapter
from scripts.lm.base_models import weight_files
from scripts.lm.device import (
    compute_dtype,
    device,
    explain_out_of_memory,
    free_memory,
    release_memory,
    silence_peft_warning,
)
from scripts.lm.loading import check_model_folder, context_of, load_model
from scripts.lm.prompts import Message
from scripts.lm.quantization import nf4
from utils_ft import UserError, content_hash

ROOM = 4 * 10**9
"""Bytes that writing takes beside an 8B model: prompts, answers, and the KV cache of earlier calls."""

TOO_LARGE = "close other programs that use the GPU, or take a machine with more memory"

Draw = Callable[[Tensor], int]
"""Gets logits, (vocabulary,), float32; returns a token."""


@dataclass(frozen=True)
class Generator:
    """A model with all that it needs to write answers.

    Attributes:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        end_tokens: The tokens that end an answer.
        max_new_tokens: Tokens of an answer, at most.
        grammar: If given, an answer is well-formed statements.
        temperature, seed: Of `sample`.
        prefixes: The KV cache that calls share, for conversations with the same beginning.
        usage: The answers, and the tokens of their prompts and of their texts.
    """

    model: Any
    tokenizer: Any
    end_tokens: frozenset[int]
    max_new_tokens: int = MAX_NEW_TOKENS
    grammar: Grammar | None = None
    temperature: float = 0.8
    seed: int = 0
    prefixes: PrefixCache = field(default_factory=lambda: PrefixCache(cache_limit()))
    usage: Counter[str] = field(default_factory=Counter)

    def generate(self, conversations: Sequence[list[Message]], on_done: OnDone | None = None) -> list[str]:
        """The greedy answer to each conversation, `Unanswered` if it does not fit into the model's context.

        `on_done` gets the number of answers finished since its last call.
        """
        prompts = [chat.encode_prompt(self.tokenizer, messages) for messages in conversations]
        return self._generate(prompts, [_most_likely] * len(prompts) if self.grammar else None, on_done)

    def too_long(self, messages: list[Message]) -> str:
        """Why a prompt cannot be answered, or "" if it and an answer fit into the model's context."""
        return self._too_long(chat.encode_prompt(self.tokenizer, messages))

    def _too_long(self, prompt: list[int]) -> str:
        context = context_of(self.model.config)
        if not context or len(prompt) + self.max_new_tokens <= context:
            return ""
        return (
            f"error: the prompt has {len(prompt):,} tokens and an answer up to {self.max_new_tokens:,}, "
            f"but the model's context has {context:,}"
        )

    def sample(self, conversations: Sequence[list[Message]], count: int) -> list[list[str]]:
        """`count` random answers to each conversation, `Sampled` or `Unanswered`.

        They depend only on the seed and the conversation.
        """
        prompts = [chat.encode_prompt(self.tokenizer, messages) for messages in conversations]
        draws = [
            _sampler(self.temperature, content_hash(str((self.seed, number, prompt))))
            for prompt in prompts
            for number in range(count)
        ]
        sums = [0.0] * len(draws)
        drawn = self._generate([prompt for prompt in prompts for _ in range(count)], draws, sums=sums)
        texts = [
            text if isinstance(text, Unanswered) else Sampled(text, log_probability)
            for text, log_probability in zip(drawn, sums, strict=True)
        ]
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def for_programs(self, max_new_tokens: int) -> Generator:
        """The same model for answers that are whole programs: without the grammar of one statement."""
        return replace(self, max_new_tokens=max_new_tokens, grammar=None)

    def _generate(
        self,
        prompts: list[list[int]],
        draws: list[Draw] | None,
        on_done: OnDone | None = None,
        sums: list[float] | None = None,
    ) -> list[str]:
        """The answers as text; each prompt has its own function that draws its tokens, None is greedy.

        A prompt that does not fit into the model's context is `Unanswered`. The log-probabilities of each
        answer are added to its place in `sums`.
        """
        texts: list[str] = [Unanswered(self._too_long(prompt)) for prompt in prompts]
        fitting = [number for number, text in enumerate(texts) if not text.reason]
        if on_done and len(fitting) < len(prompts):
            on_done(len(prompts) - len(fitting))
        pick = self._pick([draws[number] for number in fitting]) if draws else None
        if pick and sums is not None:
            pick = _counting(pick, sums, fitting)
        settings = Decoding(self.end_tokens, self.max_new_tokens, pick)
        chosen = [prompts[number] for number in fitting]
        answers = generate_tokens(self.model, chosen, settings, on_done, self.prefixes)
        for number, ids in zip(fitting, answers, strict=True):
            texts[number] = self.tokenizer.decode(ids, skip_special_tokens=True)
        read, written = sum(map(len, chosen)), sum(map(len, answers))
        self.usage.update(answers=len(answers), prompt_tokens=read, answer_tokens=written)
        return texts

    def _pick(self, draws: list[Draw]) -> Pick:
        """The function that chooses the next token of a prompt, within the grammar if there is one."""
        if not self.grammar:
            return lambda number, logits: draws[number](logits)
        grammar, matchers = self.grammar, [self.grammar.start() for _ in draws]
        return lambda number, logits: grammar.choose(matchers[number], logits, draws[number])


def _counting(pick: Pick, sums: list[float], places: Sequence[int]) -> Pick:
    """`pick`, which also adds the log-probability of each token to the sum of its prompt."""

    def counted(number: int, logits: Tensor) -> int:
        token = pick(number, logits)
        sums[places[number]] += float(logits[token] - logits.logsumexp(-1))
        return token

    return counted


def _most_likely(logits: Tensor) -> int:
    return int(logits.argmax())


def _sampler(temperature: float, seed: str) -> Draw:
    """A function that draws tokens at `temperature`, from its own random stream; `seed` is hexadecimal."""
    stream = torch.Generator().manual_seed(int(seed[:15], 16))
    return lambda logits: int(
        torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=stream)
    )


def load_generator(
    model: str | Path,
    adapter: str | Path | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    grammar: bool = False,
    temperature: float = 0.8,
    seed: int = 0,
) -> Generator:
    """Load a model folder, and a LoRA checkpoint over it if `adapter` is given, on this machine's device.

    On a GPU whose free memory is too small for 16 bits, the base is held in 4 bits (NF4), and the adapter is
    not merged, as in training. One line says so. The other arguments are those of `Generator`.

    Raises:
        UserError: A folder has no model or no adapter, the temperature or the number of tokens is out of
            range, or the memory is too small.
    """
    check_drawing(temperature, max_new_tokens)
    _check_folders(model, adapter)
    with explain_out_of_memory(TOO_LARGE, Path(model)):
        network, tokenizer = _load(model, adapter)
    # A base model may end a text with another token than the one that ends a turn.
    own = network.generation_config.eos_token_id
    ends = {chat.end_of_turn(tokenizer), tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    end_tokens = frozenset(ends - {None})
    return Generator(
        network,
        tokenizer,
        end_tokens,
        max_new_tokens,
        Grammar(tokenizer, end_tokens) if grammar else None,
        temperature,
        seed,
    )


def cache_limit() -> int:
    """Bytes for the KV cache of earlier calls: at most 2 GiB, and a quarter of what is free."""
    return min(2**31, free_memory() // 4)


def _check_folders(model: str | Path, adapter: str | Path | None) -> None:
    """UserError unless the model folder and the adapter exist."""
    for folder in filter(None, (model, adapter)):
        if not Path(folder).is_dir():
            raise UserError(
                "there is no such model folder",
                where=folder,
                remedy="train first, or name a folder with a config.json",
            )
    check_model_folder(model)
    if adapter and not (Path(adapter) / "adapter_config.json").is_file():
        raise UserError(
            "there is no adapter in this folder",
            where=adapter,
            remedy="name a checkpoint, such as adapters/smollm_pytorch/checkpoint-60",
        )


def _load(model: str | Path, adapter: str | Path | None) -> tuple[Any, Any]:
    """The model, with the adapter merged into it, and its tokenizer."""
    silence_peft_warning()
    has_tokenizer = adapter and (Path(adapter) / "tokenizer.json").exists()
    if adapter:
        check_base(Path(adapter), Path(model))  # before the weights are loaded
    tokenizer = chat.load_tokenizer(adapter if has_tokenizer else model)
    packed = needs_4_bits(Path(model))
    if packed:
        print(f"{Path(model).name} does not fit into the GPU in 16 bits: its base is held in 4", flush=True)
        where = {"quantization_config": nf4(compute_dtype()), "device_map": {"": device()}}
        network = load_model(model, dtype=compute_dtype(), **where).eval()
    else:
        network = load_model(model, dtype=compute_dtype()).to(device()).eval()
    if adapter:
        network = load_adapter(network, Path(adapter), Path(model)).eval()
        network = network.get_base_model() if packed else network.merge_and_unload()
    return network, tokenizer


def needs_4_bits(model: Path) -> bool:
    """Whether the GPU has room for the model in 4 bits only, with `ROOM` for prompts and answers."""
    if device() != "cuda":
        return False  # bitsandbytes packs on a CPU as well, but nothing is gained there
    release_memory()
    return sum(file.stat().st_size for file in weight_files(model)) + ROOM > free_memory()
