"""Base models: where each comes from, its folder, its name in records, and its fingerprint.

A base model is a folder, a model on the hub, a GGUF file (a named one or a person's own), or random weights
for the tests.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.lm.gguf_models import QWEN_CODER, SMOLLM, GgufSource, named_model, user_model
from scripts.lm.smoke_model import smoke_model
from utils_ft import LOCAL_MODELS, UserError, secret


@dataclass(frozen=True)
class ModelSpec:
    """A base model."""

    type: str
    """Its name in the names of folders."""
    source: str
    """A folder, an id on the hub, `gguf:<type>` for a named GGUF file, a path of one, or `random weights`."""
    gated: bool = False
    """Whether the hub asks for a key."""


MODELS = {
    spec.type: spec
    for spec in (
        ModelSpec("llama", "meta-llama/Meta-Llama-3-8B", gated=True),
        ModelSpec("qwen", "Qwen/Qwen2.5-7B"),
        ModelSpec("qwen-coder", "gguf:qwen-coder"),
        ModelSpec("smollm", "gguf:smollm"),
        ModelSpec("smoke", "random weights"),
    )
}
"""The models with a short name."""

GGUF_SOURCES: dict[str, GgufSource] = {"gguf:qwen-coder": QWEN_CODER, "gguf:smollm": SMOLLM}
"""Source → the GGUF file that the project names."""

_SETTINGS = ("*.json", "*.model", "*.jinja", "*.txt")
"""The files of a model on the hub that are no weights."""

_SECOND_COPY = "consolidated"
"""How the names of Mistral's files begin that have all weights a second time."""

_PIECE = 4096
"""Bytes that `fingerprint` reads at one place of a large file."""
_PIECES = 4096
"""Places at which it reads."""


def model_spec(model_type: str) -> ModelSpec:
    """The model that `model_type` names.

    It is a key of `MODELS`, a folder with a config.json, a GGUF file, or an id on the hub.

    Raises UserError when it is none of them.
    """
    if model_type in MODELS:
        return MODELS[model_type]
    name = Path(model_type).name.lower().replace(" ", "-")
    if (Path(model_type) / "config.json").is_file():
        return ModelSpec(name, str(Path(model_type).resolve()))
    if Path(model_type).suffix == ".gguf" and Path(model_type).is_file():
        return ModelSpec(name.removesuffix(".gguf"), str(Path(model_type).resolve()))
    if model_type.count("/") == 1 and not model_type.startswith((".", "/")) and not Path(model_type).exists():
        return ModelSpec(name, model_type)
    folder_or_id = "a folder with a config.json; or a GGUF file; or a hub id such as Qwen/Qwen2.5-0.5B"
    raise UserError(
        f"unknown model type {model_type!r}", remedy=f"one of {', '.join(MODELS)}; or {folder_or_id}"
    )


def base_model(model_type: str) -> Path:
    """The folder of a base model. A model that is not there yet is made or downloaded.

    Raises UserError for a gated model without a key, and when the hub cannot be reached.
    """
    spec = model_spec(model_type)
    if spec.source == "random weights":
        return smoke_model(LOCAL_MODELS / "smoke")
    if spec.source in GGUF_SOURCES:
        return named_model(GGUF_SOURCES[spec.source], LOCAL_MODELS / spec.type)
    if Path(spec.source).is_file():
        return user_model(Path(spec.source), LOCAL_MODELS)
    if Path(spec.source).is_dir():
        return Path(spec.source)
    return _from_hub(spec, ["*.safetensors", *_SETTINGS])


def config_folder(model_type: str) -> Path:
    """A folder with the `config.json` of a model, and its tokenizer where it has one.

    For a model on the hub, no weights are downloaded. `model_type` may also be the path of a `config.json`.
    """
    if Path(model_type).name == "config.json" and Path(model_type).is_file():
        return Path(model_type).resolve().parent
    spec = model_spec(model_type)
    if spec.source in GGUF_SOURCES or Path(spec.source).exists() or spec.source == "random weights":
        return base_model(model_type)
    return _from_hub(spec, list(_SETTINGS))


def _from_hub(spec: ModelSpec, patterns: list[str]) -> Path:
    """Download the files of a model on the hub that match `patterns`, into the hub's cache."""
    from huggingface_hub import get_token, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    token = secret("HF_KEY") or get_token()  # the second is that of HF_TOKEN or `hf auth login`
    if spec.gated and not token:
        secret("HF_KEY", needed_for=f"the gated model {spec.source}")
    try:
        return Path(
            snapshot_download(
                spec.source, token=token, allow_patterns=patterns, ignore_patterns=[f"{_SECOND_COPY}*"]
            )
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{spec.source} could not be fetched from the hub: {type(error).__name__}",
            remedy="check the name and the network; for a gated model accept its licence on the hub "
            "and set HF_KEY",
        ) from None


def rope_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings that mlx-lm needs at the top level of a configuration, if they are missing there.

    transformers 5 writes them into `rope_parameters` only. mlx-lm then uses its own default frequency without
    a message, and the logits are wrong.
    """
    rope = config.get("rope_parameters") or {}
    if any(isinstance(value, dict) for value in rope.values()):
        return {}  # settings for each kind of layer, which mlx-lm reads there
    settings = {name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if name in rope}
    if rope.get("rope_type", "default") != "default":
        settings["rope_scaling"] = {name: value for name, value in rope.items() if name not in settings}
    return {name: value for name, value in settings.items() if not config.get(name)}


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of a model, without a second copy in another format."""
    return [file for file in sorted(folder.glob("*.safetensors")) if not file.name.startswith(_SECOND_COPY)]


def fingerprint(folder: Path) -> str:
    """A SHA-256 of a model's configuration and weights.

    Of a large file it reads 4,096 pieces of 4,096 bytes, evenly spread, as to read all of it would take
    minutes. Two checkpoints fused into the same base differ in the layers with adapters only; a few pieces
    could miss those.
    """
    state = hashlib.sha256((folder / "config.json").read_bytes())
    for file in weight_files(folder):
        size = file.stat().st_size
        state.update(json.dumps([file.name, size]).encode())
        with file.open("rb") as weights:
            for start in range(0, size, max(_PIECE, size // _PIECES)):
                weights.seek(start)
                state.update(weights.read(_PIECE))
    return state.hexdigest()


def hub_id(source: str) -> str | None:
    """The id on the hub of the base model with this source.

    None for a local folder or file and for random weights.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    named = GGUF_SOURCES.get(source)
    name = named.original if named else source
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name if "/" in name else None


def base_name(source: str) -> str:
    """The name of a base model in records: its id on the hub, or the name of its folder. Never a path."""
    return hub_id(source) or Path(source).name
