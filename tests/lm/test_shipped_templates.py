"""Chat templates that people's models have: each has the same tokens in training and at inference."""

import re
from pathlib import Path

import pytest
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from scripts.lm import chat
from tests.lm.templates import DEEPSEEK31, MISTRAL7, PHI4, SMOLLM3
from tests.lm.test_chat import CONVERSATION, STEPS, turns

SHIPPED = {
    file.stem: file.read_text(encoding="utf-8")
    for file in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
} | {"deepseek3.1": DEEPSEEK31, "mistral 7": MISTRAL7, "phi4": PHI4, "smollm3": SMOLLM3}
"""TRL has the templates of many models, byte for byte, and versions of its own for training."""

MARKS = (
    r"<\|[\w|]+\|>|<｜[\w▁]+｜>|<\|turn>|<turn\|>|<\|?channel\|?>|</?think>|</?s>|<[a-z]+_of_[a-z]+>|<sop>"
    r"|<\|[A-Z_]+\|>|<end_of_utterance>|\[gMASK\]|\[/?[A-Z_]+\]"
)
"""What looks like a special token in a template."""


def tokenizer_of(template: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the special tokens that a template writes."""
    special = list(dict.fromkeys(["<bos>", "<eos>", *re.findall(MARKS, template)]))
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator([message["content"] for message in CONVERSATION], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=trained, bos_token="<bos>", eos_token="<eos>")
    made.chat_template = template
    return made


def test_there_are_templates_of_all_families():
    for family in (
        "qwen3",
        "qwen3_5_think",
        "gptoss",
        "glm4moe",
        "deepseekv3",
        "nemotron_3_ultra",
        "llama3_2",
    ):
        assert family in SHIPPED
    assert sum(not name.endswith("_training") for name in SHIPPED) >= 41


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_trains_the_tokens_that_inference_asks_for(name: str, tmp_path: Path):
    tokenizer_of(SHIPPED[name]).save_pretrained(tmp_path / "model")
    tokenizer = chat.load_tokenizer(tmp_path / "model")
    encoded = chat.encode(tokenizer, CONVERSATION)
    answers = turns(tokenizer, encoded)
    end = tokenizer.convert_ids_to_tokens(chat.end_of_turn(tokenizer))
    assert [answer.strip() for answer in answers] == [f"{answer}{end}" for _, answer in STEPS]
    starts = [i for i, on in enumerate(encoded.supervised) if on and not encoded.supervised[i - 1]]
    for number, start in enumerate(starts):
        prompt = chat.encode_prompt(tokenizer, CONVERSATION[: 2 + 2 * number])
        assert prompt == encoded.input_ids[:start]
        text = tokenizer.decode(prompt)
        assert text.count("<think>") <= text.count("</think>")  # thinking is off, or over
    assert CONVERSATION[0]["content"] in tokenizer.decode(encoded.input_ids)
    tokenizer.save_pretrained(tmp_path / "trained")
    assert chat.load_tokenizer(tmp_path / "trained").chat_template == tokenizer.chat_template


@pytest.mark.parametrize("name", ["llama3_2", "gptoss", "smollm3"])
def test_a_prompt_has_the_same_date_on_every_day(name: str, tmp_path: Path):
    tokenizer_of(SHIPPED[name]).save_pretrained(tmp_path)
    assert "strftime_now(" in SHIPPED[name]
    assert "2024" in chat.render(chat.load_tokenizer(tmp_path), CONVERSATION[:2], generation_prompt=True)


def test_the_replaced_template_is_said_in_one_line(tmp_path: Path, capsys):
    tokenizer_of(SHIPPED["qwen3"]).save_pretrained(tmp_path / "my-qwen3")
    for _ in range(2):
        chat.load_tokenizer(tmp_path / "my-qwen3")
    assert capsys.readouterr().out.count("my-qwen3: its chat template thinks or rewrites earlier turns") == 1


def test_a_prompt_whose_tokens_change_in_the_conversation_is_an_error(tmp_path: Path):
    """The prompt ends with a space, which the tokenizer merges with the answer's first letter."""
    tokenizer = tokenizer_of(
        "{% for m in messages %}{{ '<|' + m.role + '|>' + ' ' + m.content + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}"
    )
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "node(N)"}]
    with pytest.raises(chat.UserError, match="prompt"):
        chat.encode(tokenizer, talk)
