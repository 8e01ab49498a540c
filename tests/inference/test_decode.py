"""Generation for many prompts at once gives the tokens that transformers' own `generate` gives for each
prompt alone.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
)
from transformers.models.gemma2 import Gemma2Config, Gemma2ForCausalLM
from transformers.models.mistral import MistralConfig, MistralForCausalLM
from transformers.models.qwen2 import Qwen2Config, Qwen2ForCausalLM

from scripts.inference import decode
from scripts.inference.decode import Decoding, generate_tokens, packed
from scripts.inference.prefix_cache import PrefixCache
from scripts.inference.prefix_tree import PrefixTree

ENDS = set(range(3, 20))
TINY = dict(
    vocab_size=384,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    pad_token_id=0,
)


def with_large_weights(model):
    """The model in float32, with weights so large that answers vary and no two tokens have nearly the same
    logits.
    """
    for name, weight in model.named_parameters():
        if "norm" not in name:
            weight.data.normal_(0, 0.4, generator=torch.Generator().manual_seed(len(name)))
    return model.float().eval()


@pytest.fixture(scope="module")
def model(smoke: Path):
    """The smoke model with large weights."""
    return with_large_weights(AutoModelForCausalLM.from_pretrained(smoke, dtype=torch.float32))


def generate(model, prompts, end_tokens, limit=24, pick=None, **options) -> list[list[int]]:
    """The answers of `generate_tokens`, of up to `limit` tokens."""
    return generate_tokens(model, prompts, Decoding(end_tokens, limit, pick), **options)


def alone(model, prompt: list[int], ends: set[int], limit: int) -> list[int]:
    """The answer of transformers' `generate` to one prompt."""
    ids = torch.tensor([prompt])
    tokens = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return tokens[:-1] if tokens[-1] in ends else tokens


def random_prompts(seed: int, *lengths: int) -> list[list[int]]:
    """Prompts of random tokens."""
    rng = random.Random(seed)
    return [[rng.randrange(50, 380) for _ in range(length)] for length in lengths]


def mixed_prompts() -> list[list[int]]:
    """Prompts that are prefixes of others, share a part, are equal, or share nothing; some are longer than
    a chunk.
    """
    [start, *tails] = random_prompts(0, 700, 3, 3, 30, 1, 290)
    return [
        start[:100] + tails[0],
        start[:250] + tails[1],
        start[:600] + tails[2],
        start[:600] + tails[3],
        start[:600],
        start,
        start[:600],
        *random_prompts(1, 40, 1, 5, 300, 41, 42, 43, 44),
        start[:256],
        start[:257],
        tails[4],
    ]


def test_each_prompt_gets_the_tokens_that_it_gets_alone(model) -> None:
    prompts = mixed_prompts()
    finished: list[int] = []
    together = generate(model, prompts, ENDS, 24, on_done=finished.append)
    assert together == [alone(model, prompt, ENDS, 24) for prompt in prompts]
    lengths = Counter(map(len, together))
    assert len(set(map(tuple, together))) > len(prompts) / 2 and len(lengths) > 3, (
        "the answers are too much alike for this test"
    )
    assert sum(finished) == len(prompts)


MODELS = {
    "softcap and window": lambda: Gemma2ForCausalLM(
        Gemma2Config(
            **TINY,
            sliding_window=16,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=30.0,
            query_pre_attn_scalar=8,
            attn_implementation="eager",
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    "window": lambda: MistralForCausalLM(MistralConfig(**TINY, sliding_window=20)),
    "biases": lambda: Qwen2ForCausalLM(Qwen2Config(**TINY)),
    "learned positions": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=384, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_with_other_attention_give_the_same_tokens(kind: str) -> None:
    model = with_large_weights(MODELS[kind]())
    [start] = random_prompts(2, 90)
    prompts = [start, start[:60] + [99], start[:10], *random_prompts(3, 30, 12)]
    original = model.config._attn_implementation
    together = generate(model, prompts, {5}, 30)
    assert model.config._attn_implementation == original
    assert together == [alone(model, prompt, {5}, 30) for prompt in prompts]
    assert len({token for tokens in together for token in tokens}) > 2


OWN_ATTENTION = {
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=384, hidden_size=32, n_layer=1, n_head=4)),
    "qwen3.5": lambda: Qwen3_5ForCausalLM(
        Qwen3_5TextConfig(
            **TINY,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            layer_types=["linear_attention", "linear_attention", "full_attention"],
        )
    ),
    "gpt-oss": lambda: GptOssForCausalLM(
        GptOssConfig(**TINY, num_local_experts=4, num_experts_per_tok=2, sliding_window=16)
    ),
}
"""Models whose attention cannot be replaced."""


@pytest.mark.parametrize("kind", OWN_ATTENTION)
def test_a_model_whose_attention_cannot_be_replaced_writes_all_the_same(kind: str) -> None:
    model, done = with_large_weights(OWN_ATTENTION[kind]()), []
    prompts = random_prompts(4, 20, 33)
    together = generate(model, prompts, {5}, 10, on_done=done.append)
    assert together == [alone(model, prompt, {5}, 10) for prompt in prompts] and sum(done) == len(prompts)


def test_more_prompts_than_can_be_active_give_the_same_tokens(model, monkeypatch) -> None:
    monkeypatch.setattr(decode, "MAX_ACTIVE", 3)
    prompts = random_prompts(5, *range(200, 212))
    assert generate(model, prompts, ENDS, 12) == [alone(model, prompt, ENDS, 12) for prompt in prompts]


def test_a_shared_prefix_is_stored_once() -> None:
    [start] = random_prompts(6, 500)
    prompts = [start[:length] for length in (100, 200, 300, 400, 500)] + [start]
    assert list(packed(prompts)) == [[0, 1, 2, 3, 4, 5]]
    assert len(PrefixTree(prompts, 10).ids) == 500
    assert sorted(index for group in packed(random_prompts(7, 300, 300, 300)) for index in group) == [0, 1, 2]
    assert len(list(packed(random_prompts(7, 300, 300, 300)))) == 3, (
        "prompts that share nothing get trees of their own"
    )


def test_the_memory_of_a_long_prompt_is_no_square_of_its_length() -> None:
    """One byte for each pair of tokens would be 90 GB here."""
    tree = PrefixTree([list(range(300_000))], 10)
    visible = tree.visible([0, 299_999], 300_000)
    assert visible.sum(1).tolist() == [1, 300_000]


def test_no_prompts_give_no_answers_and_a_limit_of_one_gives_one_token(model) -> None:
    assert generate(model, [], ENDS) == []
    assert [len(tokens) for tokens in generate(model, random_prompts(8, 20, 30), set(), 1)] == [1, 1]


def test_pick_chooses_every_token(model) -> None:
    prompts = mixed_prompts()[:6]
    seen: dict[int, list[int]] = {index: [] for index in range(len(prompts))}

    def second(number: int, logits) -> int:
        assert logits.shape == (384,) and logits.dtype is torch.float32
        token = int(logits.topk(2).indices[1])
        seen[number].append(token)
        return token

    def alone_second(prompt: list[int]) -> list[int]:
        ids = list(prompt)
        for _ in range(8):
            token = int(model(torch.tensor([ids])).logits[0, -1].topk(2).indices[1])
            if token in ENDS:
                break
            ids.append(token)
        return ids[len(prompt) :]

    answers = generate(model, prompts, ENDS, 8, second)
    assert answers == [alone_second(prompt) for prompt in prompts]
    assert [tokens[: len(answer)] for tokens, answer in zip(seen.values(), answers, strict=True)] == answers


def test_bfloat16_differs_by_no_more_than_its_rounding(smoke: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(smoke, dtype=torch.bfloat16).eval()
    prompts = mixed_prompts()[:8]
    by_prompt: dict[int, list[torch.Tensor]] = {number: [] for number in range(len(prompts))}

    def keep(number: int, logits) -> int:
        by_prompt[number].append(logits)
        return 60

    generate(model, prompts, set(), 3, keep)
    for number, prompt in enumerate(prompts):
        expected = model(torch.tensor([prompt + [60, 60]])).logits[0, -3:].float()
        assert torch.allclose(
            torch.stack(by_prompt[number]), expected, atol=0.02 * expected.abs().max().item()
        )


def test_pick_gets_the_number_of_the_prompt(model) -> None:
    prompts = random_prompts(9, *range(30, 60))
    answers = generate(model, prompts, set(), 2, lambda number, logits: 60 + number)
    assert answers == [[60 + number] * 2 for number in range(30)]


def record_passes(monkeypatch) -> list[int]:
    """A list that gets the number of tokens of each forward pass from now on."""
    sizes: list[int] = []
    forward = decode.forward

    def recording(model, parts, rows):
        sizes.append(sum(len(part.ids) for part in parts))
        return forward(model, parts, rows)

    monkeypatch.setattr(decode, "forward", recording)
    return sizes


@pytest.mark.parametrize("limit", [2**31, 100_000], ids=["large cache", "small cache"])
def test_conversations_that_grow_are_not_computed_again(model, monkeypatch, limit: int) -> None:
    prefixes = PrefixCache(limit)
    conversations = random_prompts(9, 300, 310, 40, 5)
    [same, other] = random_prompts(10, 33, 70)
    conversations += [conversations[0][:200] + same, conversations[0][:200] + other]
    for turn in random_prompts(11, 50, 7, 31):
        expected = [alone(model, prompt, ENDS, 8) for prompt in conversations]
        assert generate(model, conversations, ENDS, 8, prefixes=prefixes) == expected
        assert prefixes.size <= limit
        conversations = [prompt + turn for prompt in conversations]
    sizes = record_passes(monkeypatch)
    generate(model, conversations, ENDS, 1, prefixes=prefixes)
    most = sum(31 + PrefixCache.BLOCK for _ in conversations)
    assert sum(sizes) <= most if limit == 2**31 else sum(sizes) > most


@pytest.mark.parametrize("kind", MODELS)
def test_the_cache_serves_models_with_other_attention(kind: str) -> None:
    model, prefixes = with_large_weights(MODELS[kind]()), PrefixCache()
    for prompt in ([start := random_prompts(12, 90)[0]], [start + [77, 78], start[:50]]):
        assert generate(model, prompt, {5}, 10, prefixes=prefixes) == [
            alone(model, ids, {5}, 10) for ids in prompt
        ]
    assert prefixes.find(start) and not prefixes.find(random_prompts(13, 90)[0])


def test_small_prompts_share_a_pass(model, monkeypatch) -> None:
    sizes = record_passes(monkeypatch)
    generate(model, random_prompts(14, *[300] * 8), ENDS, 1)
    assert sizes == [256] * 9 + [96]
