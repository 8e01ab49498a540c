"""The weights of a GGUF file: order of rows, rotary factors, types."""

import gguf
import numpy
import pytest
from transformers import LlamaConfig

from scripts.export.dtypes import Dtype
from scripts.export.gguf import export
from scripts.export.gguf_tensors import interleave, rope_factors
from tests.export.gguf_models import (
    LLAMA31,
    folder_of,
)


def test_the_rows_of_a_head_are_interleaved():
    assert interleave(numpy.arange(8), heads=2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert interleave(numpy.arange(6).reshape(6, 1), heads=1)[:, 0].tolist() == [0, 3, 1, 4, 2, 5]


def test_llama_3_1_divides_low_rotary_frequencies_and_keeps_high_ones():
    rope = LLAMA31 | {"rope_theta": 5e5, "original_max_position_embeddings": 8192}
    factors = rope_factors(LlamaConfig(hidden_size=512, num_attention_heads=4, rope_parameters=rope))
    assert factors.shape == (64,) and factors[0] == 1 and factors[-1] == pytest.approx(8)
    assert (numpy.diff(factors) >= -1e-6).all()


def test_a_matrix_whose_rows_do_not_divide_into_blocks_is_stored_in_16_bits(tmp_path):
    folder = folder_of(tmp_path / "odd", intermediate_size=80)
    export(folder, tmp_path / "odd.gguf", Dtype.Q8_0)
    stored = {
        tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "odd.gguf").tensors
    }
    assert stored["blk.0.ffn_down.weight"] == "F16" and stored["blk.0.ffn_up.weight"] == "Q8_0"
    assert stored["output_norm.weight"] == "F32" and stored["output.weight"] == "Q8_0"
