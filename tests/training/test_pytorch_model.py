"""The base model in 4 bits: unpacked on a CPU, and in a format that FSDP can shard."""

from pathlib import Path

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from scripts.lm.quantization import nf4
from scripts.training.pytorch_model import load_base, unpack
from scripts.training.recipe import Recipe
from tests.training.recipes import load_model
from utils_ft import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIGS = ["ddp_cpu.yaml", "ddp_gpu.yaml", "fsdp_qlora.yaml"]


def test_an_unpacked_4_bit_base_computes_what_the_4_bit_base_computes(smoke: Path):
    packed, unpacked, original = (
        load_base(smoke, True, torch.float32),
        unpack(load_base(smoke, True, torch.float32)),
        load_model(smoke),
    )
    ids = torch.tensor([[1, 40, 41, 42, 2, 50]])
    # In evaluation mode bitsandbytes repacks the weights on some CPUs, which fails where a row is below 64
    # wide.
    with torch.no_grad():
        by_bits, by_numbers, plain = (model.train()(ids).logits for model in (packed, unpacked, original))
    assert torch.allclose(by_bits, by_numbers, atol=1e-5)
    assert (by_bits - plain).abs().max() > 1e-3  # the 4-bit model differs from the original
    assert type(unpacked.model.layers[0].mlp.up_proj) is torch.nn.Linear


def launch_environment(name: str) -> dict[str, str]:
    """The environment that `accelerate launch --config_file <name>` gives to its processes."""
    file = ROOT / "accelerate_configs" / name
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(file), "-m", "scripts.train_pytorch"]
    )
    return prepare_multi_gpu_env(_validate_launch_command(arguments)[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shipped_accelerate_configurations_are_valid(name: str):
    assert sorted(file.name for file in (ROOT / "accelerate_configs").iterdir()) == CONFIGS
    config = load_config_from_file(str(ROOT / "accelerate_configs" / name))
    assert config.num_processes == 2 and Recipe().rows_per_step % config.num_processes == 0
    environment = launch_environment(name)
    assert environment["ACCELERATE_MIXED_PRECISION"] == ("no" if name == "ddp_cpu.yaml" else "bf16")
    assert (environment.get("ACCELERATE_USE_FSDP") == "true") == (name == "fsdp_qlora.yaml")


def test_fsdp_wraps_whole_layers_and_stores_4_bits_in_a_format_that_it_can_shard(
    monkeypatch: pytest.MonkeyPatch,
):
    for variable, value in launch_environment("fsdp_qlora.yaml").items():
        monkeypatch.setenv(variable, value)
    assert nf4(torch.bfloat16).bnb_4bit_quant_storage == torch.bfloat16
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.auto_wrap_policy == transformer_auto_wrap_policy
    assert plugin.reshard_after_forward and plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert not plugin.cpu_ram_efficient_loading  # it would load the weights in one process only
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    assert nf4(torch.bfloat16).bnb_4bit_quant_storage == torch.uint8
