"""Which models can be exported to GGUF. Others are refused, as llama.cpp would compute something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.lm.loading import load_config
from utils_ft import UserError, read_json

ARCHITECTURES = ("llama", "qwen2")
SUPPORTED = (
    "supported are Llama (Llama 3, SmolLM2) and Qwen2 (Qwen2, Qwen2.5) models with a byte-level vocabulary"
)

_YARN = {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"}
"""The settings of yarn that llama.cpp reads."""
_YARN_FIXED = {"beta_fast": 32, "beta_slow": 1, "truncate": True}
"""The settings of yarn for which llama.cpp has fixed values."""


def check_folder(model: Path) -> None:
    """Raise UserError unless `model` is the folder of an unquantised model of a supported architecture."""
    file, remedy = model / "config.json", "give the folder of a fused model: python -m scripts.fuse makes one"
    if not file.is_file():
        raise UserError("no config.json here, so this is no model", where=model, remedy=remedy)
    settings = read_json(file, remedy)
    if settings.get("model_type") not in ARCHITECTURES:
        raise UserError(
            f"models of the type {settings.get('model_type')!r} cannot be exported",
            where=file,
            remedy=f"{SUPPORTED}; for others run llama.cpp's own converter on this folder: "
            f"python convert_hf_to_gguf.py {model} --outtype f16 --outfile MODEL.gguf",
        )
    if settings.get("quantization_config") or settings.get("quantization"):
        what = "the weights are quantised, and only 16- and 32-bit weights can be exported"
        raise UserError(what, where=file, remedy=remedy)


def export_advice(model: Path) -> str:
    """One line on how a model that is fused from the model in a folder becomes a GGUF file."""
    config = load_config(model)
    if config.model_type not in ARCHITECTURES or any(_unknown_settings(config).values()):
        return f"with convert_hf_to_gguf.py of llama.cpp; export_gguf does not write {config.model_type!r}"
    return "with python -m scripts.export_gguf"


def check_config(config: Any, model: Path) -> None:
    """Raise UserError for a setting that llama.cpp does not know for this architecture."""
    for setting, is_unknown in _unknown_settings(config).items():
        if is_unknown:
            raise UserError(
                f"llama.cpp does not know the setting {setting} for {config.model_type} models",
                where=model / "config.json",
                remedy=SUPPORTED,
            )


def _unknown_settings(config: Any) -> dict[str, bool]:
    """Setting → whether llama.cpp would compute something else because of it."""
    rope, is_llama = config.rope_parameters, config.model_type == "llama"
    kind = rope["rope_type"]
    kinds = {"default", "linear", "yarn", "llama3"} if is_llama else {"default", "linear", "yarn"}
    heads_fill_hidden = head_dim(config) * config.num_attention_heads == config.hidden_size
    yarn = _unknown_yarn_settings(rope) if kind == "yarn" else []
    return {
        f"hidden_act {config.hidden_act!r}": config.hidden_act != "silu",
        "use_sliding_window": bool(getattr(config, "use_sliding_window", False)),
        f"rope_type {kind!r}": kind not in kinds,
        "partial_rotary_factor": rope.get("partial_rotary_factor") not in (None, 1),
        "head_dim": not is_llama and not heads_fill_hidden,
        f"{' and '.join(yarn)} of yarn": bool(yarn),
    }


def _unknown_yarn_settings(rope: dict[str, Any]) -> list[str]:
    """The settings of yarn, by name, that llama.cpp does not read and that differ from its fixed values."""
    return sorted(
        name
        for name, value in rope.items()
        if name not in _YARN and value is not None and value != _YARN_FIXED.get(name)
    )


def head_dim(config: Any) -> int:
    """The width of one attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
