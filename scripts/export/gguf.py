"""A fused model as one GGUF file, the format of llama.cpp and Ollama, with a Modelfile beside it.

    python -m scripts.export_gguf --model local_models/ft_smollm_pytorch

Llama (Llama 3, SmolLM2) and Qwen2 with a byte-level vocabulary. What llama.cpp reads is, token by token, what the model
was trained on, and the end of the assistant's turn is the end of the sequence.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from pathlib import Path
from typing import Any

from scripts.export.modelfile import prompt_format, write_modelfile
from scripts.lm import chat
from utils_ft import UserError, read_text

ARCHITECTURES = ("llama", "qwen2")
SUPPORTED = (
    "supported are Llama (Llama 3, SmolLM2) and Qwen2 (Qwen2, Qwen2.5) models with a byte-level vocabulary"
)


class Dtype(StrEnum):
    """How matrices are stored. Vectors stay float32, and rows that do not divide into q8_0's blocks of 32 become float16."""

    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    Q8_0 = "q8_0"


def export(model: Path, out: Path, dtype: Dtype = Dtype.F16) -> Path:
    """Write `out` and the Modelfile beside it, each whole or not at all; the path of the Modelfile.

    UserError for a folder that is no fused model, or for a model that llama.cpp would compute otherwise.
    """
    check_folder(model)
    import gguf
    from transformers import AutoConfig

    config, tokenizer = AutoConfig.from_pretrained(model), chat.load_tokenizer(model)
    check_config(config, model)
    prompt = prompt_format(tokenizer)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch,
        contextlib.ExitStack() as stack,
    ):
        draft = Path(scratch) / out.name
        generator = gguf.GGUFWriter(draft, config.model_type)
        stack.callback(generator.close)
        tensors = plan(model, config, dtype, stack)
        add_settings(generator, config, model.resolve().name, dtype)
        add_vocabulary(
            generator, config, tokenizer, rows=tensors[0].shape[0], starts_with_bos=prompt.starts_with_bos
        )
        write_tensors(generator, tensors, model)
        generator.close()
        os.replace(draft, out)
    return write_modelfile(out, prompt)


# --- what can be exported ---------------------------------------------------------------------------------------


def check_folder(model: Path) -> None:
    """UserError where `model` is no folder of an ordinary, unquantised model of a supported architecture."""
    file, remedy = model / "config.json", "give the folder of a fused model: python -m scripts.fuse makes one"
    if not file.is_file():
        raise UserError("no config.json here, so this is no model", where=model, remedy=remedy)
    settings = json.loads(read_text(file))
    if settings.get("model_type") not in ARCHITECTURES:
        raise UserError(
            f"models of the type {settings.get('model_type')!r} cannot be exported",
            where=file,
            remedy=f"{SUPPORTED}; llama.cpp has a converter of its own for others",
        )
    if settings.get("quantization_config") or settings.get("quantization"):
        raise UserError(
            "the weights are quantised, and only 16- and 32-bit weights can be exported",
            where=file,
            remedy=remedy,
        )


def check_config(config: Any, model: Path) -> None:
    """UserError for a setting that llama.cpp does not know for this architecture: it would compute something else."""
    rope = config.rope_parameters
    kind = rope["rope_type"]
    kinds = {"default", "linear", "yarn"} | ({"llama3"} if config.model_type == "llama" else set())
    yarn = {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"}
    fixed = {
        "beta_fast": 32,
        "beta_slow": 1,
        "truncate": True,
    }  # llama.cpp reads none of these for these architectures
    more = {
        name
        for name, value in rope.items()
        if kind == "yarn" and name not in yarn and value not in (None, fixed.get(name))
    }
    wrong = {
        f"hidden_act {config.hidden_act!r}": config.hidden_act != "silu",
        "use_sliding_window": getattr(config, "use_sliding_window", False),
        f"rope_type {kind!r}": kind not in kinds,
        "partial_rotary_factor": rope.get("partial_rotary_factor") not in (None, 1),
        "head_dim": config.model_type == "qwen2"
        and head_dim(config) * config.num_attention_heads != config.hidden_size,
        f"{' and '.join(sorted(more))} of yarn": bool(more),
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise UserError(
                f"llama.cpp does not know the setting {what} for {config.model_type} models",
                where=model / "config.json",
                remedy=SUPPORTED,
            )


def head_dim(config: Any) -> int:
    """The width of one attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


# --- settings and vocabulary ------------------------------------------------------------------------------------


def add_settings(generator: Any, config: Any, name: str, dtype: Dtype) -> None:
    """The model's shape and its rotary settings, in llama.cpp's terms."""
    import gguf

    generator.add_type("model")
    generator.add_name(name)
    generator.add_file_type(gguf.LlamaFileType["ALL_F32" if dtype is Dtype.F32 else f"MOSTLY_{dtype.name}"])
    generator.add_quantization_version(gguf.GGML_QUANT_VERSION)
    generator.add_context_length(config.max_position_embeddings)
    generator.add_embedding_length(config.hidden_size)
    generator.add_feed_forward_length(config.intermediate_size)
    generator.add_block_count(config.num_hidden_layers)
    generator.add_head_count(config.num_attention_heads)
    generator.add_head_count_kv(config.num_key_value_heads)
    generator.add_key_length(head_dim(config))
    generator.add_value_length(head_dim(config))
    generator.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    generator.add_rope_dimension_count(head_dim(config))
    generator.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):  # llama3 goes into a tensor: `rope_factors`
        generator.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        generator.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        generator.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def add_vocabulary(generator: Any, config: Any, tokenizer: Any, rows: int, starts_with_bos: bool) -> None:
    """Tokens with their types, one for each of the embedding's `rows`; merges, special tokens and the chat template."""
    from gguf import TokenType

    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    cuts = cuts_of(settings)
    if settings["model"]["type"] != "BPE" or cuts[-1] not in ("words", "bytes"):
        raise UserError("the tokenizer is no byte-level BPE", where=tokenizer.name_or_path, remedy=SUPPORTED)
    tokens, types = [f"[PAD{number}]" for number in range(rows)], [TokenType.UNUSED] * rows
    added, special = tokenizer.added_tokens_decoder, set(tokenizer.all_special_ids)
    for token, number in tokenizer.get_vocab().items():
        if number >= rows:
            raise UserError(
                f"the tokenizer has a token {number}, {token!r}, and the model embeds only {rows}",
                where=tokenizer.name_or_path,
                remedy="resize the embeddings of the base model and train again",
            )
        control = number in special or (number in added and added[number].special)
        tokens[number] = token
        types[number] = (
            TokenType.CONTROL if control else TokenType.USER_DEFINED if number in added else TokenType.NORMAL
        )
    end = chat.end_of_turn(tokenizer)
    begin = config.bos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    generator.add_vocab_size(rows)
    generator.add_tokenizer_model("gpt2")
    generator.add_tokenizer_pre(pre_tokenizer(cuts))
    generator.add_token_list(tokens)
    generator.add_token_types(types)
    generator.add_token_merges(
        [pair if isinstance(pair, str) else " ".join(pair) for pair in settings["model"]["merges"]]
    )
    for add, number in (
        (generator.add_bos_token_id, begin),
        (generator.add_eos_token_id, end),
        (generator.add_eot_token_id, end),
        (generator.add_pad_token_id, tokenizer.pad_token_id),
        (generator.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if number is not None:
            add(number)
    generator.add_add_bos_token(starts_with_bos)  # as in training, where the chat template alone decides
    generator.add_add_eos_token(False)
    generator.add_chat_template(tokenizer.get_chat_template())


def cuts_of(settings: dict) -> tuple[str, ...]:
    """How a tokenizer cuts a text before it merges bytes: each pre-tokenizer's name, or its regular expression."""
    first = settings["pre_tokenizer"] or {"type": "nothing"}
    names = [] if (settings["normalizer"] or {"type": "NFC"})["type"] == "NFC" else ["a normalizer"]
    for cut in first.get("pretokenizers", [first]):
        name = cut["type"]
        if name == "ByteLevel" and not cut["add_prefix_space"]:
            name = "words" if cut["use_regex"] else "bytes"
        elif name == "Digits" and cut["individual_digits"]:
            name = "digits"
        elif name == "Split" and cut["behavior"] == "Isolated" and not cut["invert"]:
            name = cut["pattern"].get("Regex", name)
        names.append(name)
    return tuple(names)


def pre_tokenizer(cuts: tuple[str, ...]) -> str:
    """llama.cpp's name for these cuts; `default`, and a word about it, where it has none.

    Told by what the tokenizer does and not by the model's name: the SmolLM2 of the demo profile comes out of a GGUF file
    and cuts as GPT-2 does, the one on the hub cuts digit by digit.
    """
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as EXPRESSIONS

    names = {("words",): "gpt-2", ("digits", "words"): "smollm"}
    names |= {(EXPRESSIONS[name], "bytes"): name for name in ("llama-bpe", "qwen2")}
    if cuts not in names:
        print(
            f"note: llama.cpp has no name for this model's pre-tokenizer ({' + '.join(cuts)}); with `default` some texts may "
            "be cut into other tokens than in training",
            flush=True,
        )
    return names.get(cuts, "default")


# --- weights ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file: name, shape, how it is stored, and a function that reads it as a float32 array."""

    name: str
    shape: tuple[int, ...]
    stored: Any  # gguf.GGMLQuantizationType
    read: Callable[[], Any]

    @property
    def nbytes(self) -> int:
        from gguf import GGML_QUANT_SIZES

        block, size = GGML_QUANT_SIZES[self.stored]
        return prod(self.shape) // block * size


def plan(model: Path, config: Any, dtype: Dtype, stack: contextlib.ExitStack) -> list[Tensor]:
    """Every tensor of the file, the token embeddings first. Nothing is read yet; `stack` keeps the weights open."""
    import gguf
    from safetensors import safe_open

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    heads = (
        {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        if config.model_type == "llama"
        else {}
    )
    found = []
    for file in sorted(model.glob("model*.safetensors")):
        weights = stack.enter_context(safe_open(file, framework="pt"))
        for key in sorted(weights.keys()):
            if key.endswith("rotary_emb.inv_freq") or (
                key == "lm_head.weight" and config.tie_word_embeddings
            ):
                continue  # llama.cpp computes the first and takes the embeddings for the second
            name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise UserError(
                    f"llama.cpp has no tensor like {key!r} in {config.model_type} models",
                    where=file,
                    remedy=SUPPORTED,
                )

            def read(weights: Any = weights, key: str = key) -> Any:
                array = weights.get_tensor(key).float().numpy()
                module = key.split(".")[-2]
                return interleave(array, heads[module]) if module in heads else array

            shape = tuple(weights.get_slice(key).get_shape())
            found.append(Tensor(name, shape, stored_as(shape, dtype), read))
    if "token_embd.weight" not in {tensor.name for tensor in found}:
        raise UserError(
            "no model*.safetensors with token embeddings here",
            where=model,
            remedy="save the model with save_pretrained",
        )
    if config.rope_parameters["rope_type"] == "llama3":
        shape = (head_dim(config) // 2,)
        found.append(
            Tensor("rope_freqs.weight", shape, stored_as(shape, dtype), lambda: rope_factors(config))
        )
    return sorted(found, key=lambda tensor: tensor.name != "token_embd.weight")


def stored_as(shape: tuple[int, ...], dtype: Dtype) -> Any:
    """The type of a tensor in the file, a gguf.GGMLQuantizationType."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    stored = GGMLQuantizationType[dtype.name] if len(shape) > 1 else GGMLQuantizationType.F32
    return GGMLQuantizationType.F16 if shape[-1] % GGML_QUANT_SIZES[stored][0] else stored


def interleave(array: Any, heads: int) -> Any:
    """The rows of a query or key projection, head by head, from two halves to neighbouring pairs.

    A rotation turns the rows i and i + half of a head together in transformers, 2i and 2i + 1 in llama.cpp's Llama.
    """
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def rope_factors(config: Any) -> Any:
    """By how much Llama 3.1's scaling divides each rotary frequency: float32, (half a head,)."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    exponents = torch.arange(0, head_dim(config), 2, dtype=torch.float32) / head_dim(config)
    return (config.rope_parameters["rope_theta"] ** -exponents / scaled).numpy()


def write_tensors(generator: Any, tensors: list[Tensor], model: Path) -> None:
    """Write the file: header, settings, then one tensor after another, so that one is in memory at a time."""
    import gguf
    import numpy
    from tqdm import tqdm

    for tensor in tensors:
        generator.add_tensor_info(
            tensor.name, tensor.shape, numpy.dtype("float32"), tensor.nbytes, tensor.stored
        )
    generator.write_header_to_file()
    generator.write_kv_data_to_file()
    generator.write_ti_data_to_file()
    with tqdm(
        total=sum(tensor.nbytes for tensor in tensors),
        unit="B",
        unit_scale=True,
        desc="export",
        mininterval=1,
    ) as bar:
        for tensor in tensors:
            array = numpy.ascontiguousarray(tensor.read())
            if (
                tensor.stored == gguf.GGMLQuantizationType.F16
                and numpy.abs(array).max() > numpy.finfo(numpy.float16).max
            ):
                raise UserError(
                    f"{tensor.name} has values that float16 cannot hold", where=model, remedy="--dtype bf16"
                )
            generator.write_tensor_data(gguf.quants.quantize(array, tensor.stored))
            bar.update(tensor.nbytes)
