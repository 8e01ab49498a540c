"""A fused model as one GGUF file, the format of llama.cpp and Ollama, with a Modelfile beside it.

    python -m scripts.export_gguf --model local_models/ft_smollm_pytorch

Llama (Llama 3, SmolLM2) and Qwen2 with a byte-level vocabulary. What llama.cpp reads is, token by token, what the model
was trained on, and the end of the assistant's turn is the end of the sequence.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from scripts.export.gguf import Dtype, export
from utils_ft import command


def main(model: Path, out: Path | None = None, dtype: Dtype = Dtype.F16) -> None:
    """Export a fused model to GGUF, by default into its own folder, with a Modelfile beside it."""
    name = model.resolve().name
    out = out or model / f"{name}-{dtype}.gguf"
    modelfile = export(model, out, dtype)
    print(
        f"{out}: {out.stat().st_size / 1e6:,.1f} MB. To talk to it:\n"
        f"  ollama create {shlex.quote(name.lower())} -f {shlex.quote(str(modelfile))}\n"
        f"  llama-cli -m {shlex.quote(str(out))} -c 4096 --temp 0"
    )


if __name__ == "__main__":
    command(main)()
