"""The weights of a GGUF file: their names, types and order, and how they are computed from a model folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from safetensors import safe_open
from tqdm import tqdm
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from scripts.export.dtypes import Dtype
from scripts.export.gguf_support import SUPPORTED, head_dim
from utils_ft import UserError


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file."""

    name: str
    shape: tuple[int, ...]
    stored: GGMLQuantizationType
    """Its type in the file."""
    read: Callable[[], numpy.ndarray]
    """A function that returns it in float32."""

    @property
    def nbytes(self) -> int:
        """Its bytes in the file."""
        block, size = GGML_QUANT_SIZES[self.stored]
        return prod(self.shape) // block * size


def tensors_of(model: Path, config: Any, dtype: Dtype, stack: contextlib.ExitStack) -> list[Tensor]:
    """All tensors of the file, the token embeddings first. `stack` keeps the weights' files open.

    Raises UserError for a weight that llama.cpp does not know, and for a folder without weights.
    """
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    tensors = []
    for file in sorted(model.glob("model*.safetensors")):
        weights = stack.enter_context(safe_open(file, framework="pt"))
        for key in sorted(weights.keys()):
            if _is_left_out(key, config):
                continue
            name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            if name is None:
                what = f"llama.cpp has no tensor like {key!r} in {config.model_type} models"
                raise UserError(what, where=file, remedy=SUPPORTED)
            tensors.append(_tensor(name, weights, key, config, dtype))
    if "token_embd.weight" not in {tensor.name for tensor in tensors}:
        what = "no model*.safetensors with token embeddings here"
        raise UserError(what, where=model, remedy="save the model with save_pretrained")
    if config.rope_parameters["rope_type"] == "llama3":
        shape = (head_dim(config) // 2,)
        tensors.append(
            Tensor("rope_freqs.weight", shape, stored_as(shape, dtype), lambda: rope_factors(config))
        )
    return sorted(tensors, key=lambda tensor: tensor.name != "token_embd.weight")


def _is_left_out(key: str, config: Any) -> bool:
    """Whether a weight is not written: rotary frequencies are computed, and tied embeddings shared."""
    return key.endswith("rotary_emb.inv_freq") or (key == "lm_head.weight" and config.tie_word_embeddings)


def _tensor(name: str, weights: Any, key: str, config: Any, dtype: Dtype) -> Tensor:
    """The tensor `name` that is read from the weight `key`."""
    heads = {}
    if config.model_type == "llama":
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    module = key.split(".")[-2]

    def read() -> numpy.ndarray:
        array = weights.get_tensor(key).float().numpy()
        return interleave(array, heads[module]) if module in heads else array

    shape = tuple(weights.get_slice(key).get_shape())
    return Tensor(name, shape, stored_as(shape, dtype), read)


def stored_as(shape: tuple[int, ...], dtype: Dtype) -> GGMLQuantizationType:
    """The type of a tensor in the file: float32 for vectors, float16 where q8_0's blocks do not divide."""
    stored = GGMLQuantizationType[dtype.name] if len(shape) > 1 else GGMLQuantizationType.F32
    return GGMLQuantizationType.F16 if shape[-1] % GGML_QUANT_SIZES[stored][0] else stored


def interleave(array: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Reorder the rows of a query or key projection as llama.cpp's Llama needs them.

    A rotation turns two rows of a head together. In transformers these are the rows i and i + half, in
    llama.cpp the rows 2i and 2i + 1.
    """
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def rope_factors(config: Any) -> numpy.ndarray:
    """The factors by which Llama 3.1's scaling divides the rotary frequencies: float32, (half a head,)."""
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    exponents = torch.arange(0, head_dim(config), 2, dtype=torch.float32) / head_dim(config)
    return (config.rope_parameters["rope_theta"] ** -exponents / scaled).numpy()


def write_tensors(writer: Any, tensors: list[Tensor], model: Path) -> None:
    """Write the whole file: header, settings, then the tensors, of which one at a time is in memory.

    Raises UserError for values that float16 cannot hold.
    """
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.shape, numpy.dtype("float32"), tensor.nbytes, tensor.stored
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total = sum(tensor.nbytes for tensor in tensors)
    with tqdm(total=total, unit="B", unit_scale=True, desc="export", mininterval=1) as bar:
        for tensor in tensors:
            array = numpy.ascontiguousarray(tensor.read())
            if tensor.stored == GGMLQuantizationType.F16 and _exceeds_float16(array):
                what = f"{tensor.name} has values that float16 cannot hold"
                raise UserError(what, where=model, remedy="--dtype bf16")
            writer.write_tensor_data(gguf.quants.quantize(array, tensor.stored))
            bar.update(tensor.nbytes)


def _exceeds_float16(array: numpy.ndarray) -> bool:
    return bool(numpy.abs(array).max() > numpy.finfo(numpy.float16).max)
