"""The matrices of a PyTorch model that get adapters: the projections in the layers of its language model.

Parts for images and sound lie outside the language model. They are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch

from scripts.training.recipe import PROJECTIONS
from utils_ft import UserError

MULTIMODAL = ("vision_config", "audio_config")
"""The settings of a model that has parts for images and sound."""


def language_model(model: Any) -> str:
    """The path of the language model inside `model`, with a dot at its end; "" if it is the whole model."""
    decoder = model.get_decoder()
    path = next((path for path, module in model.named_modules() if module is decoder), "")
    return f"{path}." if path else ""


def linear_layers(model: Any) -> Iterator[tuple[str, int, Any]]:
    """(name inside its layer, number of the layer, module) of each linear module in the layers of the
    language model.
    """
    start = language_model(model)
    for path, module in model.named_modules():
        layer = re.search(r"(?:^|\.)layers\.(\d+)\.", path)
        if path.startswith(start) and isinstance(module, torch.nn.Linear) and layer:
            yield path.rsplit(".", 1)[-1], int(layer[1]), module


def outside_language_model(model: Any) -> str | None:
    """PEFT's `exclude_modules` for the parts of `model` that get no adapters. None: there are none."""
    start = language_model(model)
    beside = (path for path, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    if all(path.startswith(start) or "layers." not in path for path in beside):
        return None
    return rf"(?!{re.escape(start)}).*"


def check_dense(model: Any, where: str | None = None) -> None:
    """Raise UserError for a mixture of experts: its experts would get no adapters, or wrong ones."""
    for path, module in model.named_modules():
        if path.rsplit(".", 1)[-1] == "experts" or "Experts" in type(module).__name__:
            raise UserError(
                f"the model is a mixture of experts ({path}), and experts cannot be trained",
                where=where,
                remedy="choose a dense model, such as Qwen/Qwen3-8B",
            )


def check_adapted(names: set[str], where: str | None = None) -> None:
    """Raise UserError unless one of the linear modules with these names gets an adapter."""
    if not names.intersection(PROJECTIONS):
        raise UserError(
            "the model has none of the projections that LoRA adapts",
            where=where,
            remedy=f"they are {', '.join(PROJECTIONS)}",
        )
