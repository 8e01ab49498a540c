"""Merging an adapter into its base model: the steps that both engines share.

`fuse` chooses a checkpoint, lets the engine merge and compare, and writes the folder of the fused model. What
differs between the engines is behind `FusingEngine`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scripts.export.comparison import comparison_rows
from scripts.export.model_card import card
from scripts.lm import chat
from scripts.lm.adapters import check_base, check_trained
from scripts.lm.base_models import base_model, base_name, fingerprint, model_spec, rope_settings
from scripts.lm.chat import Encoded
from scripts.lm.loading import REMEDY
from scripts.training.checkpoints import choose, read_run
from scripts.training.metrics import read_metrics
from scripts.training.projections import MULTIMODAL
from scripts.training.recipe import load_profile
from utils_ft import (
    ADAPTERS,
    LOCAL_MODELS,
    UserError,
    check_writable,
    content_hash,
    finish_new_folder,
    new_folder,
    one_writer,
    read_json,
    show_path,
    write_json,
    write_text,
)


@dataclass(frozen=True)
class Adapter:
    """The adapter that is fused."""

    file: Path
    """Its weights."""
    step: int | None = None
    """Its training step. None for an adapter that was trained elsewhere."""
    run: Path | None = None
    """The run in which it was trained."""

    @property
    def name(self) -> str:
        """What a message calls it."""
        return show_path(self.file) if self.step is None else f"step {self.step}"


class FusingEngine(Protocol):
    """What an engine does when an adapter is fused."""

    name: str
    """`pytorch` or `mlx`: the end of the folders' names."""
    tags: tuple[str, ...]
    """Tags of the model card."""

    def adapter_of(self, checkpoint: Path) -> Path:
        """The weights file of a checkpoint."""

    def guard(self, target: Path) -> AbstractContextManager:
        """A context that turns the engine's errors into UserErrors."""

    def merge(self, adapter: Adapter, base: Path, rows: Sequence[Encoded], draft: Path) -> Any:
        """Write merged weights and `config.json` into `draft`; return what base + adapter compute."""

    def compare(self, expected: Any, rows: Sequence[Encoded], draft: Path) -> dict[str, Any]:
        """Compare the model in `draft` with what `merge` returned.

        Returns entries of `fuse.json`, one of them `exactness`, as `exactness` makes it.
        """


def fuse(
    engine: FusingEngine,
    model_type: str,
    step: int | str,
    data: Path | None,
    adapter: Path | None = None,
    folders: Folders | None = None,
) -> Path:
    """Fuse a checkpoint, or the adapter in the folder `adapter`, into its base model.

    Does nothing when the target already has that very model. An error leaves the old one.

    Arguments:
        engine: The engine that trained the adapter.
        model_type: The base model: a key of `lm.base_models.MODELS`, a folder or a hub id.
        step: The checkpoint: a training step, `best` or `last`.
        data: The folder of `valid.jsonl`. None: that of the profile.
        adapter: The folder of an adapter that was trained elsewhere. `step` is ignored then.
        folders: Where the run is and where the model goes. None: the folders of the model type.

    Returns the folder of the fused model, with `fuse.json` (how exact the merge is) and a model card in it.
    """
    folders = folders or Folders.of(model_type, engine.name)
    source = _adapter(engine, folders.run, step, adapter)
    check_trained(source.file)
    base = base_model(model_type)
    origin = origin_of(model_type, base, source)
    check_writable(folders.target, folder=True)
    if is_fused(folders.target, origin):
        print(f"already fused: {source.name} is {show_path(folders.target)}", flush=True)
        return folders.target
    if any(folders.target.glob("*")) and not (folders.target / "fuse.json").exists():
        what = "this folder has no fused model, and would be lost"
        raise UserError(what, where=folders.target, remedy="move it elsewhere")
    tokenizer = _tokenizer(source, base)
    rows = comparison_rows(tokenizer, data or load_profile().data)
    locked = one_writer(folders.target)
    with locked, engine.guard(folders.target), new_folder(folders.target) as draft:
        expected = engine.merge(source, base, rows, draft)
        _write_settings(base, draft, tokenizer)
        _keep_processor(base, draft)
        _keep_modelfiles(folders.target, draft)
        record = origin | {"checkpoint": source.step} | engine.compare(expected, rows, draft)
        if source.run:
            record["training"] = training_figures(source.run)
        write_json(draft / "fuse.json", record)
        write_text(draft / "README.md", card(folders.target.name, record, engine.tags))
    return folders.target


@dataclass(frozen=True)
class Folders:
    """The folder of a run, and the folder of the model that is fused from it."""

    run: Path
    target: Path

    @classmethod
    def of(cls, model_type: str, engine: str) -> Folders:
        """`adapters/<type>_<engine>` and `local_models/ft_<type>_<engine>`."""
        name = model_spec(model_type).type
        return cls(ADAPTERS / f"{name}_{engine}", LOCAL_MODELS / f"ft_{name}_{engine}")


def _adapter(engine: FusingEngine, run: Path, step: int | str, folder: Path | None) -> Adapter:
    """The adapter in `folder`, or of the checkpoint of `run` at `step`."""
    if folder:
        return Adapter(engine.adapter_of(folder))
    checkpoint = choose(run, step)
    return Adapter(engine.adapter_of(checkpoint.path), checkpoint.step, run)


def _tokenizer(adapter: Adapter, base: Path) -> Any:
    """The tokenizer that the adapter was trained with, or else that of the base model."""
    folder = adapter.file.parent
    for place in (folder, folder / "tokenizer"):
        if (place / "tokenizer.json").is_file():
            return chat.load_tokenizer(place)
    return chat.load_tokenizer(base)


def origin_of(model_type: str, base: Path, adapter: Adapter) -> dict[str, str]:
    """What a fused model is made from: the name and the fingerprint of the base, and the hash of the adapter.

    Raises UserError when the adapter was trained over another base model.
    """
    if not adapter.file.is_file():
        raise UserError("there is no adapter", where=adapter.file, remedy="name the folder of an adapter")
    check_base(adapter.file, base)
    return {
        "base": base_name(model_spec(model_type).source),
        "base_fingerprint": fingerprint(base),
        "adapter_sha256": content_hash(adapter.file.read_bytes()),
    }


def is_fused(target: Path, origin: dict[str, str]) -> bool:
    """Whether the folder `target` has a model with this origin."""
    finish_new_folder(target)
    try:
        record = read_json(target / "fuse.json", "")
    except UserError:  # no or a damaged record: the model is fused again
        return False
    return record.items() >= origin.items() and "exactness" in record  # older records had other keys


def _write_settings(base: Path, draft: Path, tokenizer: Any) -> None:
    """Write the tokenizer, the generation settings, and the rotary settings where mlx-lm reads them."""
    tokenizer.save_pretrained(draft)
    config = read_json(draft / "config.json", REMEDY)
    write_json(draft / "config.json", config | rope_settings(config))
    _write_generation_settings(base, draft, tokenizer)


def _write_generation_settings(base: Path, draft: Path, tokenizer: Any) -> None:
    """Write the base model's `generation_config.json`, with the end of the assistant's turn as a further stop
    token.

    The file is written as JSON, as transformers refuses to save settings that contradict each other, which
    the settings of many models do.
    """
    file = base / "generation_config.json"
    settings = read_json(file, "restore the file, or remove it") if file.exists() else {}
    config = read_json(draft / "config.json", REMEDY)
    ends = settings.get("eos_token_id", config.get("eos_token_id"))
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    settings["eos_token_id"] = list(dict.fromkeys([chat.end_of_turn(tokenizer), *ends]))
    write_json(draft / "generation_config.json", settings | {"pad_token_id": tokenizer.pad_token_id})


def _keep_processor(base: Path, draft: Path) -> None:
    """Copy the settings with which images and sound become inputs, for a model that takes them."""
    if not any(read_json(draft / "config.json", REMEDY).get(name) for name in MULTIMODAL):
        return
    for file in base.glob("*processor_config.json"):
        shutil.copy2(file, draft / file.name)


def _keep_modelfiles(old: Path, new: Path) -> None:
    """Copy the Modelfiles of the folder that will be replaced, as a person may have edited them."""
    for file in old.glob("Modelfile*"):
        shutil.copy2(file, new / file.name)


def training_figures(run: Path) -> dict[str, Any]:
    """The metrics of a run, or its identity while it goes on.

    The loss curves are left out, and the model type, which may be a path of this machine.
    """
    file = run / "metrics.json"
    if not file.exists():
        return read_run(run)
    metrics = read_metrics(run)
    left_out = ("losses", "eval_losses", "accuracies", "eval_accuracies", "margins", "model_type")
    return {name: value for name, value in metrics.items() if name not in left_out}
