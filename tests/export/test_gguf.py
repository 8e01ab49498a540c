"""An exported model computes what the fused model computes; others are refused."""

import json
import subprocess
import sys

import gguf
import numpy
import pytest
from transformers import AutoTokenizer

from scripts.export.dtypes import Dtype
from scripts.export.gguf import export
from scripts.lm import chat
from tests.export.gguf_models import (
    LINEAR,
    PROGRAM,
    YARN,
    fields_of,
    folder_of,
    logits_of,
    original,
    read_back,
)
from utils_ft import ROOT, UserError


@pytest.mark.parametrize(
    "dtype, tolerance", [(Dtype.F32, 1e-5), (Dtype.BF16, 1e-5), (Dtype.F16, 1e-3), (Dtype.Q8_0, 0.02)]
)
def test_an_exported_model_gives_the_logits_of_the_original(smoke, tmp_path, dtype, tolerance):
    ids = AutoTokenizer.from_pretrained(smoke)(PROGRAM)["input_ids"]
    before = logits_of(original(smoke), ids)
    export(smoke, tmp_path / "smoke.gguf", dtype)
    after = logits_of(read_back(tmp_path / "smoke.gguf"), ids)
    assert numpy.abs(before - after).max() < tolerance * numpy.abs(before).max()


def test_qwen2_with_biases_and_an_untied_head_gives_the_logits_of_the_original(tmp_path):
    folder = folder_of(
        tmp_path / "qwen", "qwen2", rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    ids = AutoTokenizer.from_pretrained(folder)(PROGRAM)["input_ids"]
    export(folder, tmp_path / "qwen.gguf", Dtype.F32)
    assert numpy.allclose(
        logits_of(original(folder), ids), logits_of(read_back(tmp_path / "qwen.gguf"), ids), atol=1e-4
    )


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
def test_the_scaling_of_a_longer_context_is_exported(tmp_path, kind):
    export(
        folder_of(tmp_path / "m", rope_parameters={"linear": LINEAR, "yarn": YARN}[kind]), tmp_path / "m.gguf"
    )
    fields = fields_of(tmp_path / "m.gguf")
    assert (fields["llama.rope.scaling.type"], fields["llama.rope.scaling.factor"]) == (kind, 4.0)
    assert fields.get("llama.rope.scaling.original_context_length") == (128 if kind == "yarn" else None)


@pytest.mark.parametrize(
    ("change", "message"),
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
        ({"tie_word_embeddings": False}, "do not fit config.json: lm_head.weight missing"),
        ({"num_hidden_layers": 2}, "do not fit config.json: model.layers.2.* too many"),
        ({"num_hidden_layers": 6}, "do not fit config.json: model.layers.4.* missing"),
    ],
)
def test_a_model_that_llama_cpp_would_compute_differently_is_refused(smoke, tmp_path, change, message):
    for file in smoke.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(
        json.dumps(json.loads((smoke / "config.json").read_text()) | change)
    )
    with pytest.raises(UserError, match=message):
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


def test_the_command_exports_into_the_models_folder_and_prints_how_to_use_the_file(smoke, tmp_path):
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
