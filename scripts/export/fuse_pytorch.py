"""Fusing with PyTorch: a PEFT checkpoint is merged into the 16-bit base model.

A checkpoint that was trained over a 4-bit base is also merged into the 16-bit one. Merging into 4-bit weights
would lose a hundred times more of the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from scripts.export import fusing
from scripts.export.comparison import exactness, greedy, logits
from scripts.export.fusing import Adapter, Folders
from scripts.lm.adapters import load_adapter
from scripts.lm.base_models import weight_files
from scripts.lm.chat import Encoded
from scripts.lm.device import (
    compute_dtype,
    device,
    explain_out_of_memory,
    free_memory,
    release_memory,
    silence_peft_warning,
)
from scripts.lm.loading import load_model

SHARD = "4GB"
"""The largest file of a fused model. A file is in memory as a whole while it is written."""

TOO_LARGE = "fuse on a machine with more memory: the model takes two bytes a parameter; the checkpoint stays"


def fuse(
    model_type: str, step: int | str = "best", data: Path | None = None, *, folders: Folders | None = None
) -> Path:
    """Fuse a checkpoint of `adapters/<type>_pytorch` into `local_models/ft_<type>_pytorch`, and return that
    folder.

    `fusing.fuse` describes the arguments. `fuse.json` has `exactness`: the logits of the fused model, loaded
    from its folder, against those of base + adapter, and the share of prompts after which both write the same
    text.
    """
    return fusing.fuse(PyTorchFusing(), model_type, step, data, folders=folders)


@dataclass(frozen=True)
class Expected:
    """What base + adapter compute."""

    logits: list[torch.Tensor]
    texts: list[list[int]]
    """The tokens written after the first prompt of each row."""


class PyTorchFusing:
    """PyTorch's part of fusing."""

    name = "pytorch"
    tags = ()
    place: Place

    def adapter_of(self, checkpoint: Path) -> Path:
        return checkpoint / "adapter_model.safetensors"

    def guard(self, target: Path) -> AbstractContextManager:
        return explain_out_of_memory(TOO_LARGE, target)

    def merge(self, adapter: Adapter, base: Path, rows: Sequence[Encoded], draft: Path) -> Expected:
        silence_peft_warning()
        self.place = Place.for_model(base)
        print(self.place.reason, flush=True)
        model = load_adapter(self._load(base), adapter.file.parent, base).eval()
        expected = Expected([logits(model, row) for row in rows], [greedy(model, row) for row in rows])
        fused = model.merge_and_unload().to(torch.bfloat16)
        fused.config.use_cache, fused.generation_config = True, GenerationConfig()
        fused.save_pretrained(draft, max_shard_size=SHARD)
        return expected

    def compare(self, expected: Expected, rows: Sequence[Encoded], draft: Path) -> dict[str, Any]:
        release_memory()  # the merged model goes before its copy is loaded
        fused = self._load(draft)
        found = exactness(expected.logits, [logits(fused, row) for row in rows])
        same = sum(text == greedy(fused, row) for text, row in zip(expected.texts, rows, strict=True))
        return {"exactness": found | {"same_greedy_output": round(same / len(rows), 3)}}

    def _load(self, folder: Path) -> Any:
        return load_model(folder, dtype=self.place.dtype, device_map={"": self.place.device}).eval()


@dataclass(frozen=True)
class Place:
    """Where and in which number format models are merged and compared."""

    device: str
    dtype: torch.dtype
    reason: str
    """One line about both."""

    @classmethod
    def for_model(cls, base: Path) -> Place:
        """The device, or the CPU when the model does not fit into the device's free memory.

        The format is bfloat16, as that of the fused weights. A CPU that is faster in float32 takes that if
        twice the memory is free.
        """
        size = sum(file.stat().st_size for file in weight_files(base))
        free, name, why = free_memory(), device(), ""
        if name != "cpu" and free < 1.2 * size:
            why = f", as {name} has {free / 1e9:.1f} GB free"
            name, free = "cpu", free_memory("cpu")
        dtype = compute_dtype(name) if free > 4 * size else torch.bfloat16
        shown = str(dtype).removeprefix("torch.")
        return cls(name, dtype, f"fusing on {name} in {shown}{why}; the model takes {size / 1e9:.1f} GB")
