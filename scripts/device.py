"""Which device and number format to compute in. bfloat16 is the recipe; a CPU without it would be a hundred times slower."""

from __future__ import annotations

import time
from functools import cache
from typing import Any


def device() -> str:
    """`cuda`, `mps` or `cpu`, the best there is."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@cache
def compute_dtype(name: str | None = None) -> Any:
    """bfloat16 where the device multiplies it at least as fast as float32, else float32. On a CPU that is measured (0.1 s)."""
    import torch

    if (name or device()) != "cpu":
        return torch.bfloat16

    def seconds(dtype: Any) -> float:
        left, right = (torch.ones(256, 256, dtype=dtype) for _ in range(2))
        left @ right
        start = time.perf_counter()
        for _ in range(3):
            left @ right
        return time.perf_counter() - start

    return torch.bfloat16 if seconds(torch.bfloat16) <= seconds(torch.float32) else torch.float32
