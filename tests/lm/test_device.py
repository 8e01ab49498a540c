"""Missing memory becomes a message with a remedy."""

from pathlib import Path

import pytest
import torch

from scripts.lm.device import explain_out_of_memory
from scripts.training.costs import memory_advice
from scripts.training.recipe import Recipe
from utils_ft import UserError


def test_out_of_memory_names_the_options_to_change():
    advice = memory_advice(Recipe(qlora=False))
    with (
        pytest.raises(UserError, match="model: out of memory\n.*--max-tokens.*4096.*--qlora"),
        explain_out_of_memory(advice, Path("model")),
    ):
        torch.empty(2**45)


def test_the_cuda_library_reports_missing_memory_in_other_words():
    with pytest.raises(UserError, match="out of memory"), explain_out_of_memory("", Path("model")):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="size"), explain_out_of_memory("", Path("model")):
        torch.ones(2) @ torch.ones(3)
