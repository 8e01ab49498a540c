"""How the matrices of a GGUF file can be stored."""

from __future__ import annotations

from enum import StrEnum


class Dtype(StrEnum):
    """The type of the matrices. Vectors are stored in float32.

    A matrix whose rows do not divide into the blocks of 32 numbers that q8_0 has is stored in float16.
    """

    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    Q8_0 = "q8_0"
