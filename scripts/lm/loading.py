"""Model folders: their configuration, tokenizer and weights are loaded here, and nowhere else.

A model is data. No code of its folder runs, weights are read from safetensors or GGUF only, and a weight that
is missing is an error, not a random number.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from utils_ft import UserError

_LAYER = re.compile(r"model\.layers\.\d+\.(?!.*rotary_emb)")
"""The name of a weight of a layer. The first models also stored rotary frequencies, which are computed."""

REMEDY = "name a folder with config.json, a tokenizer and all weights as safetensors"


def check_model_folder(folder: str | Path) -> None:
    """Raise UserError unless a folder has a `config.json`."""
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return
    what, remedy = "there is no model in this folder", REMEDY
    if (folder / "adapter_config.json").is_file():
        what, remedy = (
            "this folder has an adapter, not a model",
            "give it as --adapter, and its base as --model",
        )
    raise UserError(what, where=folder, remedy=remedy)


@contextlib.contextmanager
def explain_broken(
    folder: str | Path | None, what: str = "the model", remedy: str = REMEDY
) -> Iterator[None]:
    """Turn every error of a library that reads `folder` into a UserError. Missing memory stays what it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # libraries raise many kinds for a damaged file
        from scripts.lm.device import is_out_of_memory

        if is_out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f"{what} cannot be loaded: {reason[:300]}", where=folder, remedy=remedy) from None


def load_config(folder: str | Path) -> Any:
    """The configuration of the model in a folder. UserError if it is missing, damaged, or needs own code."""
    from transformers import AutoConfig

    with explain_broken(folder):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def context_of(config: Any) -> int | None:
    """How many tokens the model of a configuration can read, or None if the configuration does not say."""
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    return context if isinstance(context, int) and context > 0 else None


def load_pretrained_tokenizer(folder: str | Path, **options: Any) -> Any:
    """The tokenizer in a folder, as it lies there; `lm.chat.load_tokenizer` makes it ready for chat.

    UserError if it is missing, damaged, or needs code of its own. `options` are those of `from_pretrained`.
    """
    from transformers import AutoTokenizer

    with explain_broken(folder, "the tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options)


def load_model(folder: str | Path, **options: Any) -> Any:
    """The causal language model in a folder.

    Arguments:
        folder: The folder.
        options: Those of `from_pretrained`, such as `dtype`.

    Raises:
        UserError: The folder has no model, a file of it is damaged, a weight is missing or has another shape
            than `config.json` says, or the model needs code of its own.
    """
    from transformers import AutoModelForCausalLM

    if "gguf_file" not in options:
        check_model_folder(folder)
        options["use_safetensors"] = True
    with explain_broken(folder):
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, output_loading_info=True, **options
        )
    bad = sorted(found["missing_keys"]) or sorted(str(each) for each in found["mismatched_keys"])
    if bad:
        raise _misfit(folder, bad, "missing")
    # With fewer layers than the weights have, a model is cut off.
    if extra := sorted(key for key in found["unexpected_keys"] if _LAYER.match(key)):
        raise _misfit(folder, extra, "too many")
    return model


def check_weights(folder: Path, config: Any) -> None:
    """Raise UserError unless the safetensors files of a folder have all weights of a configuration, and no
    others of layers. Nothing is loaded.
    """
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    with explain_broken(folder), torch.device("meta"):
        wanted = AutoModelForCausalLM.from_config(config, trust_remote_code=False).state_dict()
    shapes = {}
    with explain_broken(folder):
        for file in sorted(folder.glob("model*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                names = list(weights.keys())
                shapes |= {name: tuple(weights.get_slice(name).get_shape()) for name in names}
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if bad := sorted(name for name in wanted.keys() - tied if shapes.get(name) != tuple(wanted[name].shape)):
        raise _misfit(folder, bad, "missing")
    if extra := sorted(name for name in shapes.keys() - wanted.keys() if _LAYER.match(name)):
        raise _misfit(folder, extra, "too many")


def _misfit(folder: str | Path, names: Sequence[str], what: str) -> UserError:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return UserError(
        f"the weights do not fit config.json: {names[0]}{more} {what}",
        where=folder,
        remedy="restore config.json and the weights as they belong together",
    )
