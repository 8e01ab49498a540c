"""The base model in 4 bits (NF4), for training and for writing."""

from __future__ import annotations

import os

import torch
from transformers import BitsAndBytesConfig


def sharded() -> bool:
    """Whether `accelerate launch` spreads the model over several GPUs (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with double quantisation (Dettmers et al., 2023), computing in `dtype`.

    FSDP only shards tensors of one dtype, so with FSDP the packed bits are stored as `dtype`.
    """
    storage = {"bnb_4bit_quant_storage": dtype} if sharded() else {}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        **storage,
    )
