"""Export a fused model to one GGUF file, for llama.cpp and Ollama.

    python -m scripts.export_gguf --model local_models/ft_smollm_pytorch

Llama models (Llama 3, SmolLM2) and Qwen2 models with a byte-level vocabulary can be exported. llama.cpp reads
the same tokens that the model was trained on. A Modelfile for Ollama is written beside the file.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from scripts.export.dtypes import Dtype
from utils_ft import command


def main(model: Path, out: Path | None = None, dtype: Dtype = Dtype.F16) -> None:
    """Export a fused model to a GGUF file, with a Modelfile beside it.

    Arguments:
        model: The folder of the fused model.
        out: The GGUF file. By default <name>-<dtype>.gguf in the model's folder.
        dtype: How matrices are stored. q8_0 takes half the space of f16.
    """
    from scripts.export.gguf import export

    name = model.resolve().name
    out = out or model / f"{name}-{dtype}.gguf"
    modelfile = export(model, out, dtype)
    print(
        f"{out}: {out.stat().st_size / 1e6:,.1f} MB. To use it:\n"
        f"  ollama create {shlex.quote(name.lower())} -f {shlex.quote(str(modelfile))}\n"
        f"  llama-cli -m {shlex.quote(str(out))} -c 4096 --temp 0"
    )


if __name__ == "__main__":
    command(main)()
