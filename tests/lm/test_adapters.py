"""An adapter is used over the base model that it was trained on, and over no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scripts.inference.generator import load_generator
from scripts.lm.adapters import check_base
from utils_ft import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def elsewhere(pytorch_run: Path, tmp_path: Path) -> Path:
    """A checkpoint without its run, as a person gets it from another machine."""
    folder = Path(shutil.copytree(pytorch_run / "checkpoint-12", tmp_path / "elsewhere" / "adapter"))
    change(folder, base_model_name_or_path="/nowhere/base")
    return folder


def change(folder: Path, **values: object) -> None:
    """Change entries of `adapter_config.json`."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_the_run_of_an_adapter_says_which_base_it_has(pytorch_run: Path, realistic_base: Path, smoke: Path):
    checkpoint = pytorch_run / "checkpoint-12"
    check_base(checkpoint, realistic_base)
    load_generator(realistic_base, checkpoint)
    with pytest.raises(UserError, match="was trained over another base\n.*remedy: name the base"):
        load_generator(smoke, checkpoint)


def test_an_adapter_from_elsewhere_is_compared_with_the_folder_that_it_names(
    elsewhere: Path, realistic_base: Path, smoke: Path
):
    load_generator(smoke, elsewhere)  # of the same shape, and nothing says that it is another model
    change(elsewhere, base_model_name_or_path=str(realistic_base))
    with pytest.raises(UserError, match="another base"):
        load_generator(smoke, elsewhere)
    load_generator(realistic_base, elsewhere)


@pytest.mark.parametrize("sizes", [{"num_hidden_layers": 2}, {"hidden_size": 64}, {"intermediate_size": 32}])
def test_an_adapter_of_another_shape_is_refused(elsewhere: Path, smoke: Path, tmp_path: Path, sizes: dict):
    from transformers import AutoConfig, AutoModelForCausalLM

    other = Path(shutil.copytree(smoke, tmp_path / "other"))
    config = AutoConfig.from_pretrained(other)
    config.update(sizes)
    config.head_dim = config.hidden_size // config.num_attention_heads
    AutoModelForCausalLM.from_config(config).save_pretrained(other)
    with pytest.raises(UserError, match="does not fit the model"):
        load_generator(other, elsewhere)
