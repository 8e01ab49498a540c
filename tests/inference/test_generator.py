"""The generator: its greedy text is that of transformers, its samples depend on the seed and the
conversation only.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.inference import generator as generator_module
from scripts.inference.generator import load_generator
from scripts.inference.requests import Sampled, Unanswered
from scripts.lm import chat, prompts
from utils_ft import UserError


def test_greedy_text_is_that_of_transformers_generate(smoke: Path) -> None:
    generator = load_generator(smoke, max_new_tokens=12)
    conversations = [[prompts.step(text)] for text in ("Say a.", "Say b, please.")]
    for messages, text in zip(conversations, generator.generate(conversations), strict=True):
        ids = torch.tensor([chat.encode_prompt(generator.tokenizer, messages)])
        tokens = generator.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
        )
        assert text == generator.tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True)


def test_samples_depend_on_the_seed_and_the_conversation_only(smoke: Path) -> None:
    generator = load_generator(smoke, max_new_tokens=8)
    conversations = [[prompts.step(text)] for text in ("Say a.", "Say b.", "Say c.")]
    first = generator.sample(conversations, 3)
    assert len({text for texts in first for text in texts}) == 9
    assert generator.sample(conversations[1:2], 3) == [first[1]]
    assert generator.sample(conversations, 2) == [texts[:2] for texts in first]
    assert replace(generator, seed=1).sample(conversations, 3) != first
    cold = replace(generator, temperature=1e-4)
    assert cold.sample(conversations, 2) == [[text] * 2 for text in generator.generate(conversations)]


def test_an_error_names_the_folder_that_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_generator(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: there is no model in this folder"):
        load_generator(tmp_path / "empty")


def test_an_error_names_the_folder_without_an_adapter(smoke: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter in this folder\n.*checkpoint-60"):
        load_generator(smoke, tmp_path)


def test_a_prompt_that_does_not_fit_into_the_context_is_not_asked(smoke: Path) -> None:
    """Before, the mask of a long prompt was allocated, and the command ended in a traceback."""
    generator = load_generator(smoke, max_new_tokens=4)
    generator.model.config.max_position_embeddings = 300
    fits, too_long = [prompts.step("Say a.")], [prompts.step("Say a. " * 50_000)]
    done: list[int] = []
    first, second = generator.generate([too_long, fits], done.append)
    assert sum(done) == 2 and second == generator.generate([fits])[0]
    assert isinstance(first, Unanswered) and "and the model's context" not in first
    assert "but the model's context has 300" in first.reason
    assert [len(set(texts)) for texts in generator.sample([too_long, fits], 2)] == [1, 2]


@pytest.mark.parametrize("grammar", [False, True])
def test_a_sample_has_the_sum_of_its_log_probabilities(
    smoke: Path, grammar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the grammar as well: the probabilities are those of the model, not of what is allowed."""
    written: list[list[int]] = []
    decode = generator_module.generate_tokens
    monkeypatch.setattr(
        generator_module, "generate_tokens", lambda *words: written.extend(decode(*words)) or written
    )
    generator = load_generator(smoke, max_new_tokens=6, grammar=grammar, temperature=2.0)
    messages = [prompts.step("Say a.")]
    prompt = chat.encode_prompt(generator.tokenizer, messages)
    [samples] = generator.sample([messages], 6)
    for sample, ids in zip(samples, written, strict=True):
        assert isinstance(sample, Sampled)
        with torch.no_grad():
            logits = generator.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 :].float()
        scores = logits.log_softmax(-1)
        expected = float(scores[range(len(ids)), ids].sum())
        if len(ids) < generator.max_new_tokens:  # the token that ends the answer counts, too
            ends = scores[len(ids), sorted(generator.end_tokens)].tolist()
            assert sample.log_probability in [pytest.approx(expected + end, rel=1e-3) for end in ends]
        else:
            assert sample.log_probability == pytest.approx(expected, rel=1e-3)
