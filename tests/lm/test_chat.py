"""Supervised are the answers and the tokens that end them, with the chat template of each family."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from scripts.lm import chat, prompts
from tests.lm.templates import GEMMA, LLAMA3, MISTRAL, MISTRAL3, QWEN25, SMOLLM2
from utils_ft import UserError

FAMILIES = {
    "llama3": (
        [
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|reserved_special_token_0|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ],
        "<|eot_id|>",
        LLAMA3,
    ),
    "qwen2.5": (["<|endoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_end|>", QWEN25),
    "smollm": (["<|im_start|>", "<|im_end|>", "<|endoftext|>"], "<|im_end|>", SMOLLM2),
    "gemma": (
        ["<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<unk>"],
        "<end_of_turn>",
        GEMMA,
    ),
    "mistral": (["<s>", "</s>", "<unk>"], "</s>", MISTRAL),  # its turns are marked by plain text
    "mistral 0.3": (["<s>", "</s>", "<unk>", "[INST]", "[/INST]"], "</s>", MISTRAL3),
}
"""Family → special tokens, the token that ends a turn, the chat template.

The first special token begins a sequence, the second ends one in the base model.
"""

OURS = {
    "llama3": "llama3",
    "qwen2.5": "chatml",
    "smollm": "chatml",
    "gemma": "gemma",
    "mistral": "mistral",
    "mistral 0.3": "mistral",
}
"""Family → the key of `TEMPLATES` that a base model of the family gets."""
SENTENCEPIECE = ("gemma", "mistral", "mistral 0.3")
"""The families whose tokenizers mark spaces in place of bytes."""
SPACED = ("mistral", "mistral 0.3")
"""The template writes a space before each answer, so the model must write it too."""

STEPS = [
    ("Each node gets exactly one of the colours.", "{ colour(N, C) : hue(C) } = 1 :- node(N)."),
    ("No two adjacent nodes share a colour.", ":- edge(X, Y), colour(X, C), colour(Y, C)."),
    ("Say what is shown.", '% a comment, 100 %\n#show colour/2.\n\n#show "é ∧ ✓"/0.'),
]
CONVERSATION = prompts.conversation("# Colouring\n\nColour a map with `hue(C)`.", STEPS)


def tokenizer_of(family: str, template: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer like that of the family: byte-level, or with a mark for each space like SentencePiece."""
    special, _, _ = FAMILIES[family]
    trained = Tokenizer(
        models.BPE(byte_fallback=True, unk_token="<unk>") if family in SENTENCEPIECE else models.BPE()
    )
    text = [message["content"] for message in CONVERSATION] * 3
    if family in SENTENCEPIECE:
        trained.normalizer = normalizers.Replace(" ", "▁")
        trained.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        special = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
        trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
        trained.train_from_iterator([line.replace(" ", "▁") for line in text], trainer)
        special = special[:-256]
    else:
        trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trained.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trained.train_from_iterator(
            text,
            trainers.BpeTrainer(
                vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
            ),
        )
    made = PreTrainedTokenizerFast(tokenizer_object=trained, bos_token=special[0], eos_token=special[1])
    made.add_special_tokens({"additional_special_tokens": special[2:]})
    made.chat_template = template
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each family, its tokenizer saved without a template, as base models come."""
    root = tmp_path_factory.mktemp("tokenizers")
    for family in FAMILIES:
        tokenizer_of(family, None).save_pretrained(root / family)
    (root / "mistral" / "config.json").write_text(
        json.dumps({"model_type": "mistral"})
    )  # nothing else tells its family
    return {family: root / family for family in FAMILIES}


def turns(tokenizer, encoded: chat.Encoded) -> list[str]:
    """The supervised tokens, decoded, one text for each run of them."""
    found, run = [], []
    for token, on in zip([*encoded.input_ids, 0], [*encoded.supervised, False], strict=True):
        if on:
            run.append(token)
        elif run:
            found.append(tokenizer.decode(run, skip_special_tokens=False, clean_up_tokenization_spaces=False))
            run = []
    return found


def load(folders: dict[str, Path], family: str, template: str | None, tmp_path: Path):
    if template is None:
        return chat.load_tokenizer(folders[family])
    file = tmp_path / "template.jinja"
    file.write_text(template)
    return chat.load_tokenizer(folders[family], file)


@pytest.mark.parametrize("own", [True, False], ids=["the model's template", "no template, the family's"])
@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_the_answers_and_the_ends_of_their_turns_are_supervised(folders, family, own, tmp_path):
    _, end, template = FAMILIES[family]
    tokenizer = load(folders, family, template if own else None, tmp_path)
    if not own:
        assert tokenizer.chat_template == chat.TEMPLATES[OURS[family]]
    encoded = chat.encode(tokenizer, CONVERSATION)
    space = " " if family in SPACED else ""
    assert turns(tokenizer, encoded) == [f"{space}{answer}{end}" for _, answer in STEPS]
    assert (
        encoded.cut == 0
        and encoded.supervised[-1]
        and encoded.input_ids[-1] == tokenizer.convert_tokens_to_ids(end)
    )
    assert [label for label in encoded.labels if label != -100] == [
        token for token, on in zip(encoded.input_ids, encoded.supervised, strict=True) if on
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_before_an_answer_are_the_prompt_of_inference(folders, family, tmp_path):
    """In training the model reads the same tokens before an answer as at inference."""
    tokenizer = load(folders, family, FAMILIES[family][2], tmp_path)
    encoded = chat.encode(tokenizer, CONVERSATION)
    starts = [i for i, on in enumerate(encoded.supervised) if on and not encoded.supervised[i - 1]]
    for number, start in enumerate(starts):
        history = CONVERSATION[: 2 + 2 * number]
        assert chat.encode_prompt(tokenizer, history) == encoded.input_ids[:start]
    assert CONVERSATION[0]["content"] in chat.render(
        tokenizer, CONVERSATION
    )  # also where there is no system role


@pytest.mark.parametrize("family", FAMILIES)
def test_the_padding_token_never_ends_a_turn(folders, family, tmp_path):
    for template in (FAMILIES[family][2], None):
        tokenizer = load(folders, family, template, tmp_path)
        end = chat.end_of_turn(tokenizer)
        assert tokenizer.convert_ids_to_tokens(end) == FAMILIES[family][1]
        assert tokenizer.pad_token_id is not None and tokenizer.pad_token_id != end


def test_a_padding_token_that_ends_a_turn_is_replaced(folders, tmp_path):
    tokenizer = tokenizer_of("qwen2.5", QWEN25)
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.save_pretrained(tmp_path / "qwen")
    assert chat.load_tokenizer(tmp_path / "qwen").pad_token == "<|endoftext|>"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_conversation_is_cut_between_turns_and_the_cuts_are_counted(folders, family, tmp_path):
    tokenizer = load(folders, family, FAMILIES[family][2], tmp_path)
    whole = chat.encode(tokenizer, CONVERSATION)
    ends = [
        i + 1
        for i, on in enumerate(whole.supervised)
        if on and (i + 1 == len(whole.supervised) or not whole.supervised[i + 1])
    ]
    for kept, end in enumerate(ends, 1):
        for room in (end, end + 1, ends[kept] - 1 if kept < len(ends) else end + 99):
            cut = chat.encode(tokenizer, CONVERSATION, max_tokens=room)
            assert (cut.input_ids, cut.supervised) == (whole.input_ids[:end], whole.supervised[:end])
            assert cut.cut == len(STEPS) - kept
    nothing = chat.encode(tokenizer, CONVERSATION, max_tokens=ends[0] - 1)
    assert not nothing.input_ids and nothing.cut == len(STEPS)


def test_of_several_templates_the_default_is_taken(tmp_path):
    tokenizer = tokenizer_of("smollm", None)
    tokenizer.chat_template = {"tool_use": LLAMA3, "default": SMOLLM2}
    tokenizer.save_pretrained(tmp_path / "model")
    assert chat.load_tokenizer(tmp_path / "model").chat_template == SMOLLM2


UNUSABLE = {
    "rewrites earlier turns": (
        "{% for m in messages %}"
        "{{ '<|im_start|>' + m.role + (' (last)' if loop.last else '') + '\n' + m.content + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "changes what the assistant says": SMOLLM2.replace(
        "message['content'] +", "(message['content'] | upper) +"
    ),
    "no special token behind": (
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    ),
    "refuses a conversation: only one turn": "{{ raise_exception('only one turn') }}",
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_template_that_cannot_be_used_is_refused_with_the_remedy(folders, reason, tmp_path):
    file = tmp_path / "template.jinja"
    file.write_text(UNUSABLE[reason])
    with pytest.raises(UserError, match=f"{reason}[^\n]*\n.*--chat-template FILE.jinja"):
        chat.encode(chat.load_tokenizer(folders["smollm"], file), CONVERSATION)


def test_a_base_model_of_an_unknown_family_needs_a_template(tmp_path):
    tokenizer = tokenizer_of("qwen2.5", None)
    tokenizer.save_pretrained(tmp_path / "model")
    text = (tmp_path / "model" / "tokenizer.json").read_text().replace("<|im_start|>", "<|begin|>")
    (tmp_path / "model" / "tokenizer.json").write_text(text)
    settings_file = tmp_path / "model" / "tokenizer_config.json"
    settings_file.write_text(settings_file.read_text().replace("<|im_start|>", "<|begin|>"))
    with pytest.raises(UserError, match="no chat template.*\n.*--chat-template FILE.jinja"):
        chat.load_tokenizer(tmp_path / "model")


def test_a_missing_or_broken_template_file_is_named(folders, tmp_path):
    with pytest.raises(UserError, match="none.jinja: no such file"):
        chat.load_tokenizer(folders["smollm"], tmp_path / "none.jinja")
    (tmp_path / "broken.jinja").write_text("{% for message in messages %}")
    with pytest.raises(UserError, match="template refuses"):
        chat.load_tokenizer(folders["smollm"], tmp_path / "broken.jinja")


def test_answers_that_look_like_other_parts_of_the_conversation_are_supervised_whole(folders):
    """They repeat the question, begin or end with white space, or look like the end of a turn."""
    tokenizer = chat.load_tokenizer(folders["smollm"])
    for answer in ("a", "Say: a", "a :- b.\n", "im_end|> x.", "<|im_end", "assistant\n"):
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]
        assert turns(tokenizer, chat.encode(tokenizer, [*messages, *messages])) == [f"{answer}<|im_end|>"] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_white_space_around_an_answer_is_kept_or_stripped_as_in_the_template(folders, family, tmp_path):
    tokenizer = load(folders, family, FAMILIES[family][2], tmp_path)
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a :- b.\n"}] * 2
    said = "a :- b." if "trim" in FAMILIES[family][2] else "a :- b.\n"
    space = " " if family in SPACED else ""
    assert turns(tokenizer, chat.encode(tokenizer, messages)) == [f"{space}{said}{FAMILIES[family][1]}"] * 2


@settings(max_examples=40, deadline=None)
@given(
    answers=st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
        min_size=1,
        max_size=3,
    )
)
def test_any_text_is_supervised_unchanged(folders, answers):
    tokenizer = chat.load_tokenizer(folders["smollm"])
    messages = [
        m
        for answer in answers
        for m in ({"role": "user", "content": "go on"}, {"role": "assistant", "content": answer})
    ]
    assert turns(tokenizer, chat.encode(tokenizer, messages)) == [f"{answer}<|im_end|>" for answer in answers]
