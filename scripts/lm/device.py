"""The device and the number format of the computation, memory, and messages of the libraries.

The recipe computes in bfloat16. A CPU without bfloat16 units would be a hundred times slower in it and
computes in float32.
"""

from __future__ import annotations

import contextlib
import gc
import re
import sys
import time
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import torch
from transformers.utils import logging

from utils_ft import UserError


def device() -> str:
    """The device to compute on: `cuda`, else `mps`, else `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@cache
def compute_dtype(name: str | None = None) -> torch.dtype:
    """bfloat16 where the device multiplies it at least as fast as float32, else float32.

    `name` is the device, by default this machine's. On a CPU the speed is measured, which takes 0.1 s.
    """
    if (name or device()) != "cpu":
        return torch.bfloat16
    seconds: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    for _ in range(5):
        for dtype, measured in seconds.items():
            measured.append(_seconds_to_multiply("cpu", dtype))
    # The shortest of each is compared, as other programs can only make a measurement longer.
    is_fast = min(seconds[torch.bfloat16]) <= min(seconds[torch.float32])
    return torch.bfloat16 if is_fast else torch.float32


def emulates_bfloat16() -> bool:
    """Whether the GPU has no units for bfloat16 (T4, V100, RTX 20) and computes it several times slower.

    float16 would be fast there, but models that were trained in bfloat16 overflow in it.
    """
    return device() == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)


def _seconds_to_multiply(name: str, dtype: torch.dtype, size: int = 256, times: int = 3) -> float:
    """Seconds that `times` products of two square matrices take."""
    left, right = (torch.ones(size, size, dtype=dtype, device=name) for _ in range(2))
    (left @ right).sum().item()  # a first product is slower; `item` waits for the device
    start = time.perf_counter()
    for _ in range(times):
        left = left @ right / size
    left.sum().item()
    return time.perf_counter() - start


def flops_per_second() -> float:
    """Floating-point operations per second of a matrix product on this device, in `compute_dtype()`."""
    size, times = (4096, 20) if device() == "cuda" else (1024, 6)
    return 2 * size**3 * times / _seconds_to_multiply(device(), compute_dtype(), size, times)


def free_memory(name: str | None = None) -> int:
    """Bytes that new tensors can take on the device `name`, by default this machine's."""
    if (name or device()) == "cuda":
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # PyTorch reuses it
        return torch.cuda.mem_get_info()[0] + cached
    return min(psutil.virtual_memory().available, _container_memory())


def _container_memory() -> float:
    """Bytes that the limit of a Linux container (cgroup 2) still allows; infinite where there is none."""
    with contextlib.suppress(OSError, ValueError):
        limit, used = (
            int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current")
        )
        return max(0, limit - used)
    return float("inf")


def release_memory() -> None:
    """Give back the memory of models that nothing uses. A trainer and its model refer to each other."""
    gc.collect()
    if device() == "cuda":
        torch.cuda.empty_cache()
    elif device() == "mps":
        torch.mps.empty_cache()


def synchronize() -> None:
    """Wait until the GPU has finished its work."""
    if device() == "cuda":
        torch.cuda.synchronize()
    elif device() == "mps":
        torch.mps.synchronize()


def reset_peak_memory() -> None:
    """Start a new measurement of `peak_memory`, where the system allows it."""
    if device() == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux


def peak_memory() -> int:
    """The largest use of memory since `reset_peak_memory`, in bytes: tensors on a GPU, else the process."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated()
    if device() == "mps":
        return torch.mps.driver_allocated_memory()  # there is no peak; it grows and is rarely given back
    with contextlib.suppress(OSError):
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # does not exist for Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


@contextlib.contextmanager
def explain_out_of_memory(advice: str, where: Path) -> Iterator[None]:
    """Turns PyTorch's errors about missing memory into a UserError at `where`, with the remedy `advice`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("out of memory", where=where, remedy=advice) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. On a CPU and on Apple's GPU it is a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    texts = r"not enough memory|can't allocate memory|out of memory|ALLOC_FAILED"
    return isinstance(error, RuntimeError) and bool(re.search(texts, str(error), re.IGNORECASE))


def silence_peft_warning() -> None:
    """Silence a warning that every run would print: PEFT reads an attribute that transformers renamed."""
    warnings.filterwarnings(
        "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
    )


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Inside this context transformers shows no progress bars, and no warnings are printed."""
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
