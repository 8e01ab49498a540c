"""LoRA adapters: whether one belongs to a base model, and its loading over it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from scripts.lm.base_models import fingerprint
from scripts.lm.loading import explain_broken
from utils_ft import UserError, read_json, show_path

PEFT_FILE = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

_REMEDY = "name the base model that the adapter was trained on, as it was then"
_BROKEN = "choose another checkpoint, or train again"


def adapter_tensors(file: Path) -> list[str]:
    """The names of the tensors of an adapter.

    Raises UserError for an adapter without any, and for a file that is missing or incomplete.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as weights:
            names = [name for name in weights.keys() if "lora_" in name]  # noqa: SIM118, it is no dictionary
    except (OSError, SafetensorError):
        raise UserError("no complete safetensors file", where=file, remedy=_BROKEN) from None
    if not names:
        raise UserError(
            "the adapter has no tensors: the training did not save it",
            where=file,
            remedy="with several GPUs take accelerate_configs/fsdp_qlora.yaml as it is, or ddp_gpu.yaml",
        )
    return names


def check_trained(file: Path) -> None:
    """Raise UserError for an adapter that changes nothing: without tensors, or with B zero everywhere."""
    from safetensors import safe_open

    names = [name for name in adapter_tensors(file) if "lora_b" in name.lower()]
    with safe_open(file, "pt") as weights:
        if any(bool(weights.get_tensor(name).any()) for name in names):
            return
    raise UserError(
        "the adapter changes nothing, as its matrices B are zero",
        where=file,
        remedy="train for more steps, or choose a later checkpoint",
    )


def check_base(adapter: Path, base: Path) -> None:
    """Raise UserError if an adapter was trained over another base model.

    The run of the adapter has the fingerprint of its base. An adapter from elsewhere names a folder; if that
    folder exists, it must have the same fingerprint.

    Arguments:
        adapter: The folder of the adapter, or a file of weights in it.
        base: The folder of the base model.
    """
    folder = adapter if adapter.is_dir() else adapter.parent
    for record in (folder / "run.json", folder.parent / "run.json"):
        if record.is_file():
            trained_over = read_json(record, "move its folder aside and train again").get("base")
            if isinstance(trained_over, str):
                _compare(trained_over, base, folder)
                return
    settings = read_json(folder / CONFIG, _BROKEN)
    named = settings.get("base_model_name_or_path") or settings.get("model")
    if isinstance(named, str) and (Path(named) / "config.json").is_file():
        _compare(fingerprint(Path(named)), base, folder)


def _compare(trained_over: str, base: Path, folder: Path) -> None:
    if trained_over != fingerprint(base):
        what = f"the adapter in {show_path(folder)} was trained over another base"
        raise UserError(what, where=base, remedy=_REMEDY)


def load_adapter(network: Any, adapter: Path, base: Path, trainable: bool = False) -> Any:
    """Put the PEFT adapter in a folder over a loaded base model.

    Arguments:
        network: The base model.
        adapter: The folder of the adapter.
        base: The folder that `network` was loaded from.
        trainable: Whether the adapter is to be trained on.

    Raises:
        UserError: The folder has no whole LoRA adapter, or the adapter is not one of this base.
    """
    from peft import PeftModel  # takes seconds to import, and most models have no adapter

    check_base(adapter, base)
    settings = read_json(adapter / CONFIG, _BROKEN)
    if settings.get("peft_type") != "LORA" or settings.get("megatron_config"):
        raise UserError("this is no LoRA adapter of PEFT", where=adapter / CONFIG, remedy=_BROKEN)
    if not (adapter / PEFT_FILE).is_file():
        raise UserError(f"there is no {PEFT_FILE}", where=adapter, remedy=_BROKEN)
    with explain_broken(adapter, "the adapter", _BROKEN), warnings.catch_warnings():
        _check_shapes(network, adapter / PEFT_FILE)
        # A matrix that the adapter lacks would be zero.
        warnings.filterwarnings("error", message=".*missing adapter keys")
        return PeftModel.from_pretrained(network, str(adapter), is_trainable=trainable)


def _check_shapes(network: Any, file: Path) -> None:
    """UserError if a matrix of an adapter has no counterpart in the base model, or one of another size.

    A layer that PEFT does not find would stay as it is, with a warning only.
    """
    from safetensors import safe_open

    modules = dict(network.named_modules())
    with safe_open(file, "pt") as weights:
        for name in weights.keys():  # noqa: SIM118, it is no dictionary
            path, is_lora, half = name.removeprefix("base_model.model.").partition(".lora_")
            if not is_lora or half not in ("A.weight", "B.weight"):
                continue
            rows, columns = weights.get_slice(name).get_shape()
            module = modules.get(path)
            size = (rows if half[0] == "B" else columns), _size(module, half[0])
            if size[0] != size[1]:
                what = f"the adapter does not fit the model: {path} has {size[1]}, the adapter {size[0]}"
                raise UserError(what, where=file, remedy=_REMEDY)


def _size(module: Any, half: str) -> int | None:
    """The outputs (half B) or inputs (half A) of a linear layer. None if there is no such layer."""
    return getattr(module, "out_features" if half == "B" else "in_features", None)
