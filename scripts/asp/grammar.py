"""The grammar of a step, for constrained decoding: a model can then write nothing but well-formed statements.

The grammar has the whole input language of clingo 5.8 (`asp.lark`) but for what is left out on purpose:
theory atoms and definitions, scripts, external functions (`@f`), `#include`, program parts other than
`#program base`, and comments. It describes syntax only: a statement that fits it may still have an unsafe
variable or leave no answer set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy
import torch

LARK = Path(__file__).with_name("asp.lark").read_text(encoding="utf-8")


class Grammar:
    """The grammar over the tokens of one model.

    Arguments:
        tokenizer: The model's tokenizer (transformers).
        ends: The tokens that end the model's turn.
    """

    def __init__(self, tokenizer: Any, ends: Iterable[int]):
        from llguidance import LLMatcher  # only constrained decoding needs it
        from llguidance.hf import from_tokenizer

        self.tokens = from_tokenizer(tokenizer, eos_token=sorted(ends))
        self._start = LLMatcher(self.tokens, LLMatcher.grammar_from_lark(LARK))
        if self._start.is_error():
            raise ValueError(self._start.get_error())

    def start(self) -> Any:
        """Return a matcher (of llguidance) at the beginning of a step."""
        return self._start.deep_copy()

    def choose(self, matcher: Any, logits: torch.Tensor, draw: Callable[[torch.Tensor], int]) -> int:
        """Draw the next token, and let the matcher consume it.

        Draw a token; if the grammar rejects it, mask all tokens that are not allowed and draw again. For a
        greedy draw and for sampling the result is that of the masked distribution, and most of the time no
        mask is needed.

        Arguments:
            matcher: The state of the step so far; it is changed.
            logits: The model's logits for the next token, of shape (vocabulary,).
            draw: The function that chooses a token from logits.
        """
        token = draw(logits)
        if matcher.try_consume_tokens([token]) == 1:
            return token
        mask = numpy.frombuffer(matcher.compute_bitmask(), numpy.uint8)
        bits = numpy.unpackbits(mask, bitorder="little")[: len(logits)]
        allowed = torch.zeros(len(logits), dtype=torch.bool)
        allowed[: len(bits)] = torch.from_numpy(bits).bool()
        token = draw(logits.masked_fill(~allowed.to(logits.device), -torch.inf))
        if not matcher.consume_token(token):
            raise ValueError(matcher.get_error())
        return token

    def accepts(self, code: str) -> bool:
        """Whether `code` is one statement of the grammar, or several."""
        matcher = self.start()
        tokens = self.tokens.tokenize_str(code)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
