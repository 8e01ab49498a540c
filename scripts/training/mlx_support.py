"""Whether MLX can be used on this machine. Imports nothing from MLX, so it works where MLX is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from utils_ft import UserError


def require_mlx(platform: str = sys.platform) -> None:
    """Raise UserError where MLX cannot be used: on Windows, and where it is not installed."""
    instead = "use the PyTorch engine, whose adapters convert to MLX: python -m scripts.train_pytorch"
    if platform == "win32":
        raise UserError("MLX does not exist for Windows (Apple silicon and Linux only)", remedy=instead)
    if not (find_spec("mlx") and find_spec("mlx_lm")):
        here = "on Apple silicon or Linux: pip install -r requirements_ft.txt"
        raise UserError("MLX is not installed", remedy=f"{here}; elsewhere {instead}")
