"""LoRA adapters from PEFT's format into mlx-lm's and back, bit for bit: train on a GPU, fuse on a Mac, or the reverse.

    python -m scripts.convert_adapter --source adapters/llama_pytorch/checkpoint-550 --target adapters/from_gpu
    python -m scripts.convert_adapter --source adapters/llama_mlx/0000550_adapters.safetensors --target adapters/from_mac

The direction follows from what the source is. PEFT keeps A as (rank, in) and B as (out, rank), mlx-lm their transposes;
PEFT counts an adapter alpha / rank times, mlx-lm `scale` times. Needs no MLX, so it runs on the GPU machine too.
"""

from __future__ import annotations

from pathlib import Path

from scripts.lm.base_models import config_folder
from scripts.training.adapter_formats import PEFT_FILE, to_mlx, to_peft
from utils_ft import command, show_path


def main(source: Path, target: Path, base: str | None = None) -> None:
    """Convert the adapter --source into the new folder --target: PEFT's format into mlx-lm's, mlx-lm's into PEFT's.

    --base is the base model, as a type, a folder or a hub id; by default the one that the adapter names.
    """
    convert = to_mlx if (source / PEFT_FILE).is_file() else to_peft
    print(show_path(convert(source, target, config_folder(base) if base else None)))


if __name__ == "__main__":
    command(main)()
