"""Generation side by side: token for token what transformers' own `generate` writes for each prompt alone."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel
from transformers.models.gemma2 import Gemma2Config, Gemma2ForCausalLM
from transformers.models.mistral import MistralConfig, MistralForCausalLM
from transformers.models.qwen2 import Qwen2Config, Qwen2ForCausalLM

from scripts.inference import decode
from scripts.inference.decode import packed, write
from scripts.inference.prefix_cache import PrefixCache
from scripts.inference.prefix_tree import Tree
from scripts.lm.smoke_model import smoke_model
from utils_ft import UserError

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


def louder(model):  # noqa: ANN001, ANN201
    """Float32, with weights large enough that greedy answers vary and no two tokens are nearly as likely."""
    for name, weight in model.named_parameters():
        if "norm" not in name:
            weight.data.normal_(0, 0.4, generator=torch.Generator().manual_seed(len(name)))
    return model.float().eval()


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):  # noqa: ANN001, ANN201
    folder = smoke_model(tmp_path_factory.mktemp("base") / "smoke")
    return louder(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))


def alone(model, prompt: list[int], ends: set[int], limit: int) -> list[int]:  # noqa: ANN001
    ids = torch.tensor([prompt])
    written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return written[:-1] if written[-1] in ends else written


def texts(seed: int, *lengths: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(50, 380) for _ in range(length)] for length in lengths]


def a_mixture() -> list[list[int]]:
    """Prompts that are beginnings of one another, part midway, are the same, or share nothing; some longer than a chunk."""
    [trunk, *tails] = texts(0, 700, 3, 3, 30, 1, 290)
    return [
        trunk[:100] + tails[0],
        trunk[:250] + tails[1],
        trunk[:600] + tails[2],
        trunk[:600] + tails[3],
        trunk[:600],
        trunk,
        trunk[:600],
        *texts(1, 40, 1, 5, 300, 41, 42, 43, 44),
        trunk[:256],
        trunk[:257],
        tails[4],
    ]


def test_every_prompt_gets_the_tokens_that_it_gets_alone(smoke) -> None:  # noqa: ANN001
    prompts = a_mixture()
    finished: list[int] = []
    together = write(smoke, prompts, ENDS, 24, on_done=finished.append)
    assert together == [alone(smoke, prompt, ENDS, 24) for prompt in prompts]
    lengths = Counter(map(len, together))
    assert len(set(map(tuple, together))) > len(prompts) / 2 and len(lengths) > 3, (
        "the model says too little for this test"
    )
    assert sum(finished) == len(prompts)


MODELS = {
    "softcap and a window": lambda: Gemma2ForCausalLM(
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
    "a window": lambda: MistralForCausalLM(MistralConfig(**TINY, sliding_window=20)),
    "biases": lambda: Qwen2ForCausalLM(Qwen2Config(**TINY)),
    "learned positions": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=384, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_with_other_attention_get_the_same_tokens_too(kind: str) -> None:
    model = louder(MODELS[kind]())
    [trunk] = texts(2, 90)
    prompts = [trunk, trunk[:60] + [99], trunk[:10], *texts(3, 30, 12)]
    own = model.config._attn_implementation
    together = write(model, prompts, {5}, 30)
    assert model.config._attn_implementation == own
    assert together == [alone(model, prompt, {5}, 30) for prompt in prompts]
    assert len({token for tokens in together for token in tokens}) > 2


def test_a_model_whose_attention_cannot_be_replaced_is_refused() -> None:
    with pytest.raises(UserError, match="BloomForCausalLM"):
        write(
            BloomForCausalLM(BloomConfig(vocab_size=384, hidden_size=32, n_layer=1, n_head=4)),
            texts(4, 20),
            {5},
            10,
        )


def test_more_prompts_than_grow_at_a_time_wait_for_their_turn(smoke, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.setattr(decode, "BRANCHES", 3)
    prompts = texts(5, *range(200, 212))
    assert write(smoke, prompts, ENDS, 12) == [alone(smoke, prompt, ENDS, 12) for prompt in prompts]


def test_what_prompts_share_is_computed_once() -> None:
    [trunk] = texts(6, 500)
    prompts = [trunk[:length] for length in (100, 200, 300, 400, 500)] + [trunk]
    assert list(packed(prompts)) == [[0, 1, 2, 3, 4, 5]]
    assert len(Tree(prompts, 10).ids) == 500
    assert sorted(index for group in packed(texts(7, 300, 300, 300)) for index in group) == [0, 1, 2]
    assert len(list(packed(texts(7, 300, 300, 300)))) == 3, (
        "prompts that share nothing attend in vain to one another"
    )


def test_no_prompts_and_no_tokens_are_no_error(smoke) -> None:  # noqa: ANN001
    assert write(smoke, [], ENDS) == []
    assert [len(tokens) for tokens in write(smoke, texts(8, 20, 30), set(), 1)] == [1, 1]


def test_the_pick_hook_chooses_every_token(smoke) -> None:  # noqa: ANN001
    prompts = a_mixture()[:6]
    seen: dict[int, list[int]] = {index: [] for index in range(len(prompts))}

    def second(number: int, logits) -> int:  # noqa: ANN001
        assert logits.shape == (384,) and logits.dtype is torch.float32
        token = int(logits.topk(2).indices[1])
        seen[number].append(token)
        return token

    def alone_second(prompt: list[int]) -> list[int]:
        ids = list(prompt)
        for _ in range(8):
            token = int(smoke(torch.tensor([ids])).logits[0, -1].topk(2).indices[1])
            if token in ENDS:
                break
            ids.append(token)
        return ids[len(prompt) :]

    written = write(smoke, prompts, ENDS, 8, second)
    assert written == [alone_second(prompt) for prompt in prompts]
    assert [tokens[: len(found)] for tokens, found in zip(seen.values(), written, strict=True)] == written


def test_bfloat16_differs_by_no_more_than_its_rounding(smoke, tmp_path: Path) -> None:  # noqa: ANN001
    model = AutoModelForCausalLM.from_pretrained(smoke_model(tmp_path / "smoke"), dtype=torch.bfloat16).eval()
    prompts = a_mixture()[:8]
    found: list[tuple[int, torch.Tensor]] = []

    def keep(number: int, logits) -> int:  # noqa: ANN001
        found.append((number, logits))
        return 60

    write(model, prompts, set(), 3, keep)
    by_prompt = {number: [row for other, row in found if other == number] for number in range(len(prompts))}
    for number, prompt in enumerate(prompts):
        expected = model(torch.tensor([prompt + [60, 60]])).logits[0, -3:].float()
        assert torch.allclose(
            torch.stack(by_prompt[number]), expected, atol=0.02 * expected.abs().max().item()
        )


def test_the_numbers_of_the_hook_are_those_of_the_prompts(smoke) -> None:  # noqa: ANN001
    prompts = texts(9, *range(30, 60))
    written = write(smoke, prompts, set(), 2, partial(lambda number, logits: 60 + number))
    assert written == [[60 + number] * 2 for number in range(30)]


def computed(monkeypatch) -> list[int]:  # noqa: ANN001
    """The sizes of the passes from now on."""
    sizes: list[int] = []
    own = decode._logits
    monkeypatch.setattr(
        decode, "_logits", lambda model, ids, *rest: sizes.append(len(ids)) or own(model, ids, *rest)
    )
    return sizes


@pytest.mark.parametrize("limit", [2**31, 100_000], ids=["all is kept", "little is kept"])
def test_conversations_that_grow_are_not_computed_again(smoke, monkeypatch, limit: int) -> None:  # noqa: ANN001
    prefixes = PrefixCache(limit)
    conversations = texts(9, 300, 310, 40, 5)
    [same, other] = texts(10, 33, 70)
    conversations += [conversations[0][:200] + same, conversations[0][:200] + other]
    for turn in texts(11, 50, 7, 31):
        expected = [alone(smoke, prompt, ENDS, 8) for prompt in conversations]
        assert write(smoke, conversations, ENDS, 8, prefixes=prefixes) == expected
        assert prefixes.size <= limit
        conversations = [prompt + turn for prompt in conversations]
    sizes = computed(monkeypatch)
    write(smoke, conversations, ENDS, 1, prefixes=prefixes)
    most = sum(31 + PrefixCache.BLOCK for _ in conversations)
    assert sum(sizes) <= most if limit == 2**31 else sum(sizes) > most


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_kept_serves_models_with_other_attention(kind: str) -> None:
    model, prefixes = louder(MODELS[kind]()), PrefixCache()
    for prompt in ([trunk := texts(12, 90)[0]], [trunk + [77, 78], trunk[:50]]):
        assert write(model, prompt, {5}, 10, prefixes=prefixes) == [
            alone(model, ids, {5}, 10) for ids in prompt
        ]
    assert prefixes.find(trunk) and not prefixes.find(texts(13, 90)[0])


def test_small_prompts_share_a_pass(smoke, monkeypatch) -> None:  # noqa: ANN001
    sizes = computed(monkeypatch)
    write(smoke, texts(14, *[300] * 8), ENDS, 1)
    assert sizes == [256] * 9 + [96]
