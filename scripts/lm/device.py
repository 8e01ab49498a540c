"""Which device and number format to compute in, what memory there is, and what was used at the most.

bfloat16 is the recipe; a CPU without it would be a hundred times slower in it, and computes in float32.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from utils_ft import UserError


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
    rounds = [
        [_seconds_to_multiply("cpu", dtype) for dtype in (torch.bfloat16, torch.float32)] for _ in range(5)
    ]
    short, full = map(
        min, zip(*rounds, strict=True)
    )  # the best of each: whatever else runs only ever adds to it
    return torch.bfloat16 if short <= full else torch.float32


def _seconds_to_multiply(name: str, dtype: Any, size: int = 256, times: int = 3) -> float:
    """Seconds that `times` products of two square matrices take."""
    import torch

    left, right = (torch.ones(size, size, dtype=dtype, device=name) for _ in range(2))
    (left @ right).sum().item()  # warm; `item` waits for a device that computes behind our back
    start = time.perf_counter()
    for _ in range(times):
        left = left @ right / size
    left.sum().item()
    return time.perf_counter() - start


def flops_per_second() -> float:
    """Floating-point operations per second of a matrix product on this device, in the dtype that it computes in."""
    size, times = (4096, 20) if device() == "cuda" else (1024, 6)
    return 2 * size**3 * times / _seconds_to_multiply(device(), compute_dtype(), size, times)


# --- memory -----------------------------------------------------------------------------------------------------


def free_memory() -> int:
    """Bytes that a new tensor may still take on the device."""
    import psutil
    import torch

    if device() == "cuda":
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # by PyTorch, for the next tensor
        return torch.cuda.mem_get_info()[0] + kept
    return min(psutil.virtual_memory().available, _container_memory())


def _container_memory() -> float:
    """Bytes that the limit of a Linux container (cgroup 2) still allows; infinite where there is none."""
    with contextlib.suppress(OSError, ValueError):
        limit, used = (
            int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current")
        )
        return max(0, limit - used)
    return float("inf")


def synchronize() -> None:
    """Returns when the GPU has done what it was asked for."""
    import torch

    if device() == "cuda":
        torch.cuda.synchronize()


def reset_peak_memory() -> None:
    """Forget the largest use so far, where the system allows it."""
    import torch

    if device() == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux


def peak_memory() -> int:
    """The largest use of memory since `reset_peak_memory`, bytes: of the GPU by tensors, or of the process on a CPU."""
    import torch

    if device() == "cuda":
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError):
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    import psutil

    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


@contextlib.contextmanager
def explain_out_of_memory(advice: str, where: Path) -> Iterator[None]:
    """Turns "out of memory", in whatever words PyTorch says it, into a UserError with `advice` as its remedy."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("out of memory", where=where, remedy=advice) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch says that memory ran out: on a CPU and on Apple's GPU it is a plain RuntimeError."""
    import torch

    said = re.search(
        r"not enough memory|can't allocate memory|out of memory|ALLOC_FAILED", str(error), re.IGNORECASE
    )
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(
        said and isinstance(error, RuntimeError)
    )


# --- what the libraries say -------------------------------------------------------------------------------------


def silence_peft_warning() -> None:
    """Silence a warning of every run that only PEFT can heed: it asks models for an attribute that transformers renamed."""
    warnings.filterwarnings(
        "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
    )


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Meanwhile transformers shows no progress bars, and nobody warns."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
