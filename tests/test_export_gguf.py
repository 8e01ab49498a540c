"""An exported model computes what the fused one does, on the same tokens, and stops where it was taught to."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import gguf
import jinja2
import numpy
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from scripts.export.gguf import Dtype, cuts_of, export, interleave, pre_tokenizer, rope_factors
from scripts.export.modelfile import modelfile, prompt_format
from scripts.lm import chat
from scripts.lm.smoke_model import smoke_model
from utils_ft import ROOT, UserError

PROGRAM = "{ colour(N, C) : hue(C) } = 1 :- node(N).\n:- edge(X, Y), not reached(X), 12 <= #count { Z : p(Z) }, X!=Y."
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
FAMILIES = {  # special tokens, the first begins a sequence; how text is cut; chat template; end of turn
    "smollm": (["<|im_start|>", "<|im_end|>", "<|endoftext|>"], "smollm", CHATML, "<|im_end|>"),
    "qwen2": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "qwen2", CHATML, "<|im_end|>"),
    "llama3": (
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "llama-bpe",
        chat.TEMPLATES["llama3"],
        "<|eot_id|>",
    ),
}
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
    """A tokenizer as that family has it, trained on the spot."""
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
    """A random model as that family has it; its embedding has five rows more than there are tokens."""
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


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return smoke_model(tmp_path_factory.mktemp("smoke") / "smoke")


def logits_of(model, ids):
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids])).logits[0].float().numpy()


def original(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def read_back(file):
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )


def fields_of(file):
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


# --- what is computed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, tolerance", [(Dtype.F32, 1e-5), (Dtype.BF16, 1e-5), (Dtype.F16, 1e-3), (Dtype.Q8_0, 0.02)]
)
def test_an_exported_model_gives_the_logits_of_the_original(smoke, tmp_path, dtype, tolerance):
    ids = AutoTokenizer.from_pretrained(smoke)(PROGRAM)["input_ids"]
    before = logits_of(original(smoke), ids)
    export(smoke, tmp_path / "smoke.gguf", dtype)
    after = logits_of(read_back(tmp_path / "smoke.gguf"), ids)
    assert numpy.abs(before - after).max() < tolerance * numpy.abs(before).max()


def test_qwen2_with_biases_and_embeddings_of_its_own_gives_the_logits_of_the_original(tmp_path):
    folder = folder_of(
        tmp_path / "qwen", "qwen2", rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    ids = AutoTokenizer.from_pretrained(folder)(PROGRAM)["input_ids"]
    export(folder, tmp_path / "qwen.gguf", Dtype.F32)
    assert numpy.allclose(
        logits_of(original(folder), ids), logits_of(read_back(tmp_path / "qwen.gguf"), ids), atol=1e-4
    )


def test_the_rows_of_a_head_become_neighbours():
    assert interleave(numpy.arange(8), heads=2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert interleave(numpy.arange(6).reshape(6, 1), heads=1)[:, 0].tolist() == [0, 3, 1, 4, 2, 5]


def test_llama_3_1_slows_down_the_slow_frequencies_and_leaves_the_fast_ones():
    rope = LLAMA31 | {"rope_theta": 5e5, "original_max_position_embeddings": 8192}
    factors = rope_factors(LlamaConfig(hidden_size=512, num_attention_heads=4, rope_parameters=rope))
    assert factors.shape == (64,) and factors[0] == 1 and factors[-1] == pytest.approx(8)
    assert (numpy.diff(factors) >= -1e-6).all()


def test_a_row_that_does_not_divide_into_blocks_keeps_16_bits(tmp_path):
    folder = folder_of(tmp_path / "odd", intermediate_size=80)
    export(folder, tmp_path / "odd.gguf", Dtype.Q8_0)
    stored = {
        tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "odd.gguf").tensors
    }
    assert stored["blk.0.ffn_down.weight"] == "F16" and stored["blk.0.ffn_up.weight"] == "Q8_0"
    assert stored["output_norm.weight"] == "F32" and stored["output.weight"] == "Q8_0"


# --- what is said of it -----------------------------------------------------------------------------------------


def test_the_settings_are_those_of_the_model(smoke, tmp_path):
    export(smoke, tmp_path / "smoke.gguf")
    fields, tokenizer = fields_of(tmp_path / "smoke.gguf"), chat.load_tokenizer(smoke)
    expected = {
        "general.architecture": "llama",
        "general.name": "smoke",
        "general.file_type": gguf.LlamaFileType.MOSTLY_F16,
        "llama.block_count": 4,
        "llama.embedding_length": 32,
        "llama.feed_forward_length": 64,
        "llama.context_length": 4096,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 8,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "llama.vocab_size": 384,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": chat.end_of_turn(tokenizer),
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": tokenizer.chat_template,
    }
    assert {name: fields.get(name) for name in expected} == expected
    assert "output.weight" not in {
        tensor.name for tensor in gguf.GGUFReader(tmp_path / "smoke.gguf").tensors
    }  # tied


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_a_stretched_context_is_written_down(tmp_path, kind):
    export(
        folder_of(tmp_path / "m", rope_parameters={"linear": LINEAR, "yarn": YARN}[kind]), tmp_path / "m.gguf"
    )
    fields = fields_of(tmp_path / "m.gguf")
    assert (fields["llama.rope.scaling.type"], fields["llama.rope.scaling.factor"]) == (kind, 4.0)
    assert fields.get("llama.rope.scaling.original_context_length") == (128 if kind == "yarn" else None)


# --- tokens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_has_its_kind_and_every_row_a_token(tmp_path, family):
    folder = folder_of(tmp_path / "m", family)
    export(folder, tmp_path / "m.gguf")
    fields, tokenizer = fields_of(tmp_path / "m.gguf"), AutoTokenizer.from_pretrained(folder)
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert (
        len(set(tokens)) == len(tokens) == len(tokenizer) + 5
        and types[len(tokenizer) :] == [gguf.TokenType.UNUSED] * 5
    )
    special, cuts, _, end = FAMILIES[family]
    kinds = dict(zip(tokens, types, strict=True))
    assert {kinds[token] for token in special} == {gguf.TokenType.CONTROL}
    assert kinds["<think>"] == gguf.TokenType.USER_DEFINED and kinds["a"] == gguf.TokenType.NORMAL
    assert fields["tokenizer.ggml.pre"] == cuts and tokens[fields["tokenizer.ggml.eos_token_id"]] == end
    assert fields["tokenizer.ggml.add_bos_token"] == (family == "llama3")  # SmolLM2's also opens every turn


@pytest.mark.parametrize(
    "family", ["qwen2", "llama3"]
)  # transformers knows no cut digit by digit; llama.cpp is asked below
def test_the_tokenizer_read_back_gives_the_same_tokens(tmp_path, family):
    folder = folder_of(tmp_path / "m", family)
    export(folder, tmp_path / "m.gguf")
    before, after = (
        AutoTokenizer.from_pretrained(folder),
        AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf"),
    )
    for text in [*TEXTS, chat.render(before, TALK)]:
        ids = before(text, add_special_tokens=False)["input_ids"]
        assert after(text, add_special_tokens=False)["input_ids"] == ids and after.decode(ids) == text


def test_the_smoke_tokenizer_read_back_gives_the_same_tokens(smoke, tmp_path):
    export(smoke, tmp_path / "smoke.gguf")
    before, after = (
        AutoTokenizer.from_pretrained(smoke),
        AutoTokenizer.from_pretrained(tmp_path, gguf_file="smoke.gguf"),
    )
    assert [after(text)["input_ids"] for text in TEXTS] == [before(text)["input_ids"] for text in TEXTS]
    assert after.apply_chat_template(TALK, tokenize=False) == before.apply_chat_template(TALK, tokenize=False)


@pytest.mark.parametrize("name", CUTS)
def test_a_pre_tokenizer_is_told_by_what_it_does(name):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(CUTS[name])
    assert pre_tokenizer(cuts_of(json.loads(trained.to_str()))) == name


def test_an_unknown_pre_tokenizer_is_default_with_a_word(capsys):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), *WORDS])
    assert pre_tokenizer(cuts_of(json.loads(trained.to_str()))) == "default"
    assert "other tokens than in training" in capsys.readouterr().out


# --- Ollama -----------------------------------------------------------------------------------------------------


def ollama_prompt(text, messages):
    """What the TEMPLATE of a Modelfile makes of `messages`: its few constructs of Go's templates, said in Jinja's."""
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)[1]
    for go, jinja in {
        "{{ if .System }}": "{% if system %}",
        "{{ .System }}": "{{ system }}",
        "{{ else }}": "{% else %}",
        "{{ range .Messages }}": "{% for m in messages %}",
        '{{ if ne .Role "system" }}': "{% if m.role != 'system' %}",
        "{{ .Role }}": "{{ m.role }}",
        "{{ .Content }}": "{{ m.content }}",
        "{{ end }}{{ end }}": "{% endif %}{% endfor %}",
        "{{ end }}": "{% endif %}",
    }.items():
        template = template.replace(go, jinja)
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    return (
        jinja2.Environment(keep_trailing_newline=True)
        .from_string(template)
        .render(system=system, messages=messages)
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "messages", [TALK, TALK[1:], TALK[:2]], ids=["whole", "without system", "first turn"]
)
def test_ollama_builds_the_prompt_of_the_chat_template(family, messages):
    tokenizer = tokenizer_of(family)
    prompt = prompt_format(tokenizer)
    text = modelfile("m.gguf", prompt)
    begin = tokenizer.bos_token if prompt.starts_with_bos else ""  # llama.cpp puts it there by itself
    assert begin + ollama_prompt(text, messages) == chat.render(tokenizer, messages, generation_prompt=True)
    lines = text.splitlines()
    assert lines[0] == "FROM ./m.gguf" and not any(line.startswith("SYSTEM") for line in lines)
    assert {
        f'PARAMETER stop "{FAMILIES[family][3]}"',
        "PARAMETER temperature 0",
        "PARAMETER num_ctx 4096",
    } <= set(lines)


def test_a_chat_template_of_another_shape_gets_no_template():
    tokenizer = tokenizer_of("llama3")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{{ '[' + m.role + ']' + m.content + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    prompt = prompt_format(tokenizer)
    assert prompt.turns is None and prompt.starts_with_bos
    assert "TEMPLATE" not in modelfile("m.gguf", prompt) and 'stop "<|eot_id|>"' in modelfile(
        "m.gguf", prompt
    )


def test_a_modelfile_that_a_person_changed_is_kept(smoke, tmp_path):
    file = export(smoke, tmp_path / "smoke.gguf")
    export(smoke, tmp_path / "smoke.gguf")
    assert not (tmp_path / "Modelfile.old").exists()
    mine = file.read_text() + "SYSTEM mine\n"
    file.write_text(mine)
    export(smoke, tmp_path / "smoke.gguf")
    export(smoke, tmp_path / "another.gguf")
    assert (tmp_path / "Modelfile.old").read_text() == mine and "SYSTEM mine" not in file.read_text()
    file.write_text(mine + "SYSTEM later\n")
    export(smoke, tmp_path / "smoke.gguf")
    assert (tmp_path / "Modelfile.old").read_text() == mine and (
        tmp_path / "Modelfile.old2"
    ).read_text() == mine + "SYSTEM later\n"


# --- what cannot be exported ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, says",
    [
        ({"model_type": "gpt_neox"}, "'gpt_neox' cannot be exported(.|\n)*supported are Llama .* and Qwen2"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "quantised"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rope_type 'dynamic'",
        ),
        (
            {"rope_parameters": YARN | {"attention_factor": 1.5, "beta_fast": 16}},
            "attention_factor and beta_fast of yarn",
        ),
        ({"tie_word_embeddings": False, "num_hidden_layers": 2}, "no tensor like 'model.layers.2"),
    ],
)
def test_a_model_that_llama_cpp_would_compute_otherwise_is_refused(smoke, tmp_path, change, says):
    for file in smoke.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(
        json.dumps(json.loads((smoke / "config.json").read_text()) | change)
    )
    with pytest.raises(UserError, match=says):
        export(tmp_path, tmp_path / "out" / "m.gguf")
    assert not list(tmp_path.glob("out/*"))


def test_more_tokens_than_rows_are_refused(tmp_path):
    folder = folder_of(tmp_path / "m", vocab_size=300)
    with pytest.raises(UserError, match="embeds only 300"):
        export(folder, tmp_path / "m.gguf")


def test_values_too_large_for_float16_are_refused_and_leave_nothing_behind(tmp_path):
    folder = folder_of(tmp_path / "m")
    model = original(folder)
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = 1e5
    model.save_pretrained(folder)
    with pytest.raises(UserError, match="--dtype bf16"):
        export(folder, tmp_path / "m.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    export(folder, tmp_path / "m.gguf", Dtype.BF16)


def test_the_command_exports_into_the_models_folder_and_says_how_to_go_on(smoke, tmp_path):
    folder = tmp_path / "ft_tiny"
    folder.mkdir()
    for file in smoke.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    call = [sys.executable, "-m", "scripts.export_gguf", "--model"]
    done = subprocess.run([*call, str(folder), "--dtype", "q8_0"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"ollama create ft_tiny -f {folder}/Modelfile" in done.stdout
    assert f"llama-cli -m {folder}/ft_tiny-q8_0.gguf" in done.stdout
    assert (folder / "Modelfile").read_text().startswith("FROM ./ft_tiny-q8_0.gguf\n")
    failed = subprocess.run([*call, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 2 and "scripts.fuse" in failed.stderr and "Traceback" not in failed.stderr


# --- llama.cpp itself -------------------------------------------------------------------------------------------


def llama_cpp(file):
    """The file loaded by llama.cpp, with a float32 cache."""
    package = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    return package.Llama(
        str(file), n_ctx=512, n_threads=1, logits_all=True, type_k=0, type_v=0, verbose=False
    )


@pytest.mark.parametrize(
    "family, settings",
    [
        ("smoke", {}),
        ("smollm", {"tie_word_embeddings": True}),
        ("llama3", {"rope_parameters": LLAMA31, "head_dim": 32}),
        ("llama3", {"rope_parameters": LINEAR, "attention_bias": True, "mlp_bias": True}),
        ("llama3", {"rope_parameters": YARN}),
        ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ("qwen2", {"rope_parameters": YARN | {"beta_fast": 32, "beta_slow": 1.0}}),
    ],
    ids=["smoke", "smollm", "llama 3.1", "linear and biases", "yarn", "qwen2", "qwen2 yarn"],
)
def test_llama_cpp_gives_the_tokens_and_the_logits_of_transformers(tmp_path, family, settings):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    folder = (
        smoke_model(tmp_path / "m") if family == "smoke" else folder_of(tmp_path / "m", family, **settings)
    )
    export(folder, tmp_path / "m.gguf", Dtype.F32)
    model, tokenizer = llama_cpp(tmp_path / "m.gguf"), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert model.tokenize(text.encode(), add_bos=False, special=True) == ids
    ids = chat.encode_prompt(tokenizer, TALK * 2)
    model.eval(ids)
    before = logits_of(original(folder), ids)
    assert numpy.abs(before - model.scores[: len(ids)]).max() < 1e-4 * numpy.abs(before).max()


def test_llama_cpp_writes_what_transformers_writes_with_smollm2(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    folder = ROOT / "local_models" / "smollm"
    if not (folder / "model.safetensors").exists():
        pytest.skip("SmolLM2 was not fetched")
    export(folder, tmp_path / "smollm.gguf")
    model, tokenizer = llama_cpp(tmp_path / "smollm.gguf"), chat.load_tokenizer(folder)
    prompt = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Name the planets."},
    ]
    text, ids = chat.render(tokenizer, prompt, generation_prompt=True), chat.encode_prompt(tokenizer, prompt)
    assert model.tokenize(text.encode(), add_bos=True, special=True) == ids
    written = (
        original(folder)
        .generate(torch.tensor([ids]), do_sample=False, max_new_tokens=24)[0, len(ids) :]
        .tolist()
    )
    said = []
    for token in model.generate(ids, temp=0):
        said.append(token)
        if len(said) == len(written):
            break
    assert said == written
    assert model.token_eos() == chat.end_of_turn(tokenizer)
