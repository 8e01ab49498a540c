"""Convert a LoRA adapter between PEFT's format and mlx-lm's: train on a GPU and fuse on a Mac, or the
reverse.

    python -m scripts.convert_adapter --source adapters/llama_pytorch/checkpoint-550 --target
    adapters/from_gpu
    python -m scripts.convert_adapter --source adapters/llama_mlx --target adapters/from_mac

The weights stay bit for bit the same. MLX need not be installed.
"""

from __future__ import annotations

from pathlib import Path

from scripts.lm.base_models import config_folder
from scripts.training.adapter_formats import PEFT_FILE, to_mlx, to_peft
from utils_ft import command, show_path


def main(source: Path, target: Path, base: str | None = None) -> None:
    """Convert an adapter into a new folder: from PEFT's format to mlx-lm's, or from mlx-lm's to PEFT's.

    Arguments:
        source: The adapter: a PEFT folder, an mlx-lm folder, or one <step>_adapters.safetensors file.
        target: The folder to write. It must not exist.
        base: The base model, as a type, a folder or an id on the hub. By default the one that the adapter
            names.
    """
    convert = to_mlx if (source / PEFT_FILE).is_file() else to_peft
    print(show_path(convert(source, target, config_folder(base) if base else None)))


if __name__ == "__main__":
    command(main)()
