"""Export of a fused model to one GGUF file, the format of llama.cpp and Ollama.

Llama (Llama 3, SmolLM2) and Qwen2 with a byte-level vocabulary. llama.cpp reads the same tokens that the
model was trained on, and the end of the assistant's turn is the end of the sequence.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import gguf

from scripts.export.dtypes import Dtype
from scripts.export.gguf_support import check_config, check_folder, head_dim
from scripts.export.gguf_tensors import tensors_of, write_tensors
from scripts.export.gguf_vocabulary import add_vocabulary
from scripts.export.modelfile import prompt_format, write_modelfile
from scripts.lm import chat
from scripts.lm.loading import check_weights, load_config
from utils_ft import UserError, check_writable


def export(model: Path, out: Path, dtype: Dtype = Dtype.F16) -> Path:
    """Write the model in the folder `model` to the GGUF file `out`, with a Modelfile beside it.

    Returns the path of the Modelfile. Raises UserError for a folder that is no fused model, and for a model
    that llama.cpp would compute differently.
    """
    check_folder(model)
    if not out.name.isprintable():
        raise UserError("the name of the file is not printable", where=out, remedy="name it with --out")
    check_writable(out)
    if out.exists() and out.open("rb").read(4) != b"GGUF":
        raise UserError("this is no GGUF file, and would be lost", where=out, remedy="name another file")
    config, tokenizer = load_config(model), chat.load_tokenizer(model)
    check_config(config, model)
    check_weights(model, config)
    prompt = prompt_format(tokenizer)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch,
        contextlib.ExitStack() as stack,
    ):
        draft = Path(scratch) / out.name
        writer = gguf.GGUFWriter(draft, config.model_type)
        stack.callback(writer.close)
        tensors = tensors_of(model, config, dtype, stack)
        add_settings(writer, config, model.resolve().name, dtype)
        vocabulary_size = tensors[0].shape[0]
        add_vocabulary(writer, config, tokenizer, vocabulary_size, prompt.starts_with_bos)
        write_tensors(writer, tensors, model)
        writer.close()
        os.replace(draft, out)
    return write_modelfile(out, prompt)


def add_settings(writer: Any, config: Any, name: str, dtype: Dtype) -> None:
    """Write the model's sizes and its rotary settings under llama.cpp's names."""
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if dtype is Dtype.F32 else f"MOSTLY_{dtype.name}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):  # llama3 is written as a tensor: `rope_factors`
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
