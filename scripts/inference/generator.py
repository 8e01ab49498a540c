"""A model that writes: from messages to text, greedily or by sampling, freely or within the grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.asp.grammar import Grammar
from scripts.inference.decode import Pick, write
from scripts.inference.prefix_cache import PrefixCache
from scripts.lm import chat
from scripts.lm.prompts import Message
from utils_ft import UserError, content_hash

MAX_NEW_TOKENS = 160  # the longest answer in the shipped training rows has 89, with SmolLM2's tokenizer


@dataclass(frozen=True)
class Generator:
    """A causal language model, its tokenizer, the tokens that end a turn, the most tokens it may say.

    With a `grammar` it can write nothing but one well-formed statement. `temperature` and `seed` are those of `samples`.
    What conversations have begun with stays in `prefixes`, so that the next turn of each costs little.
    """

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    max_new_tokens: int = MAX_NEW_TOKENS
    grammar: Grammar | None = None
    temperature: float = 0.8
    seed: int = 0
    prefixes: PrefixCache = field(default_factory=PrefixCache)

    def generate(
        self, conversations: Sequence[list[Message]], on_done: Callable[[int], None] | None = None
    ) -> list[str]:
        """What the model says next in each conversation, greedily."""
        prompts = [chat.encode_prompt(self.tokenizer, messages) for messages in conversations]
        return self._write(prompts, [_likeliest] * len(prompts) if self.grammar else None, on_done)

    def sample(self, conversations: Sequence[list[Message]], count: int) -> list[list[str]]:
        """`count` sampled answers to each conversation. They depend on the seed and on the conversation alone."""
        prompts = [chat.encode_prompt(self.tokenizer, messages) for messages in conversations]
        draws = [
            _sampler(self.temperature, content_hash(str((self.seed, number, prompt))))
            for prompt in prompts
            for number in range(count)
        ]
        texts = self._write([prompt for prompt in prompts for _ in range(count)], draws, None)
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def _write(
        self,
        prompts: list[list[int]],
        draws: list[Callable[[Any], int]] | None,
        on_done: Callable[[int], None] | None,
    ) -> list[str]:
        """The answers as text, each token drawn by its prompt's own function; None is greedy."""
        pick = self._pick(draws) if draws else None
        written = write(
            self.model, prompts, set(self.ends), self.max_new_tokens, pick, on_done, self.prefixes
        )
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]

    def _pick(self, draws: list[Callable[[Any], int]]) -> Pick:
        if not self.grammar:
            return lambda number, logits: draws[number](logits)
        grammar, matchers = self.grammar, [self.grammar.start() for _ in draws]
        return lambda number, logits: grammar.choose(matchers[number], logits, draws[number])


def _likeliest(logits: Any) -> int:
    return int(logits.argmax())


def _sampler(temperature: float, seed: str) -> Callable[[Any], int]:
    """Draws tokens at `temperature` (above 0) from a random stream of its own."""
    import torch

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
    """Load a model folder, and with `adapter` a LoRA checkpoint over it, for generation on this machine's device."""
    if temperature <= 0:
        raise UserError(
            f"nothing can be sampled at a temperature of {temperature}",
            remedy="give one above 0; the first answer is greedy at any",
        )
    for folder in filter(None, (model, adapter)):
        if not Path(folder).is_dir():
            raise UserError(
                "there is no such model folder",
                where=folder,
                remedy="train first, or name a folder with a config.json",
            )
    if adapter and not (Path(adapter) / "adapter_config.json").is_file():
        raise UserError(
            "there is no adapter in this folder",
            where=adapter,
            remedy="name a checkpoint, such as adapters/smollm_pytorch/checkpoint-60",
        )
    from transformers import AutoModelForCausalLM

    from scripts.lm.device import compute_dtype, device, silence_peft_warning

    silence_peft_warning()
    own_tokenizer = adapter and (Path(adapter) / "tokenizer.json").exists()
    try:
        tokenizer = chat.load_tokenizer(adapter if own_tokenizer else model)
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=compute_dtype()).to(device()).eval()
    except (OSError, ValueError) as error:
        raise UserError(
            f"the model cannot be loaded: {str(error).splitlines()[0]}",
            where=model,
            remedy="name a folder with config.json and safetensors weights",
        ) from None
    if adapter:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, str(adapter)).merge_and_unload()
    # A base model ends a text with a token of its own, where a tuned one ends its turn.
    own = loaded.generation_config.eos_token_id
    ends = frozenset(
        {chat.end_of_turn(tokenizer), tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
        - {None}
    )
    return Generator(
        loaded,
        tokenizer,
        ends,
        max_new_tokens,
        Grammar(tokenizer, ends) if grammar else None,
        temperature,
        seed,
    )
