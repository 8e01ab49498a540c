"""Adapters convert between PEFT's format and mlx-lm's without a change, or are refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.training.adapter_formats import to_mlx, to_peft
from utils_ft import ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_adapters_convert_to_peft_and_back_bit_for_bit(mlx_run: Path, tmp_path: Path):
    checkpoint = mlx_run / "0000002_adapters.safetensors"
    peft = to_peft(checkpoint, tmp_path / "peft")
    again = to_mlx(peft, tmp_path / "mlx")
    before, after = load_file(checkpoint), load_file(again / "adapters.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    config, config_again = (
        json.loads((folder / "adapter_config.json").read_text()) for folder in (mlx_run, again)
    )
    assert config_again == {name: config[name] for name in config_again}
    settings = json.loads((peft / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["layers_to_transform"]) == (4, 16, [2, 3])


def test_the_command_converts_in_both_directions(mlx_run: Path, tmp_path: Path):
    peft = to_peft(mlx_run / "0000002_adapters.safetensors", tmp_path / "peft")
    mlx = to_mlx(peft, tmp_path / "mlx")
    command = [
        sys.executable,
        "-m",
        "scripts.convert_adapter",
        "--source",
        mlx,
        "--target",
        tmp_path / "again",
    ]
    subprocess.run(command, check=True, cwd=ROOT)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (peft / name).read_bytes()


def test_16_bit_adapters_convert_too(mlx_run: Path, realistic_base: Path, tmp_path: Path):
    checkpoint = mlx_run / "0000002_adapters.safetensors"
    peft = to_peft(checkpoint, tmp_path / "peft")
    file = peft / "adapter_model.safetensors"
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}, file)
    halved = load_file(to_mlx(peft, tmp_path / "mlx16", realistic_base) / "adapters.safetensors")
    before = load_file(checkpoint)
    assert all(torch.equal(tensor, before[name].to(torch.bfloat16)) for name, tensor in halved.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"base_model_name_or_path": "nobody/nothing"}, "--base"),
    ],
)
def test_an_adapter_that_mlx_cannot_express_is_refused(
    mlx_run: Path, tmp_path: Path, change: dict, message: str
):
    peft = to_peft(mlx_run, tmp_path / "peft")
    config = json.loads((peft / "adapter_config.json").read_text())
    (peft / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        to_mlx(peft, tmp_path / "mlx")
    assert not (tmp_path / "mlx").exists()
