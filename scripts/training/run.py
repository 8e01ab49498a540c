"""A training run: its inputs, its folder and its end. Both engines use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from scripts.data.encoded_rows import counts, encode_rows
from scripts.data.rows import Row, data_digest, load_rows, validation_rows
from scripts.lm import chat
from scripts.lm.base_models import base_model, fingerprint, model_spec
from scripts.lm.loading import context_of, load_config
from scripts.training.checkpoints import RUN, incomplete, read_run
from scripts.training.log import TrainingLog
from scripts.training.metrics import EngineMetrics, TrainingMetrics, read_metrics
from scripts.training.order import TrainingRows
from scripts.training.recipe import Recipe
from utils_ft import ADAPTERS, check_writable, content_hash, one_writer, show_path, write_json


class Processes(Protocol):
    """The processes that train together: the part of `accelerate.PartialState` that a run needs."""

    is_main_process: bool
    num_processes: int

    def main_process_first(self) -> AbstractContextManager: ...

    def wait_for_everyone(self) -> None: ...


class SingleProcess:
    """Training in one process."""

    is_main_process = True
    num_processes = 1

    def main_process_first(self) -> AbstractContextManager:
        return nullcontext()

    def wait_for_everyone(self) -> None:
        pass


@dataclass(frozen=True)
class RunOptions:
    """What a run does with its folder and its rows."""

    resume: bool = True
    """Whether a run that is already in the folder is resumed. If not, it is moved aside."""
    folder: Path | None = None
    """The folder of the run. None: `adapters/<type>_<engine>`."""
    chat_template: Path | None = None
    """A file with a chat template that replaces the model's own."""


@dataclass(frozen=True)
class TrainingRun:
    """The inputs of one training run, and its folder."""

    model_type: str
    recipe: Recipe
    folder: Path
    base: Path
    """The folder of the base model."""
    tokenizer: Any
    train_rows: list[Row]
    valid_rows: list[Row]
    identity: dict[str, Any]
    """The recipe, the hashes of the inputs, and the engine's settings.

    Runs with the same identity are the same run.
    """
    processes: Processes

    @classmethod
    def load(
        cls,
        engine: str,
        model_type: str,
        recipe: Recipe,
        data: Path,
        options: RunOptions,
        processes: Processes | None = None,
        **settings: Any,
    ) -> TrainingRun:
        """Load the rows, the base model and the tokenizer. Call `prepare` next.

        Arguments:
            engine: `pytorch` or `mlx`: the end of the folder's name.
            model_type: The base model: a key of `lm.base_models.MODELS`, a folder or a hub id.
            recipe: The recipe.
            data: The folder of `train.jsonl` and `valid.jsonl`.
            options: What is done with the folder and the rows.
            processes: The processes that train together. None: one process.
            settings: What else makes two runs different, for the identity.

        Raises UserError for an unknown model, missing or broken rows, or a tokenizer without a chat template.
        """
        processes = processes or SingleProcess()
        name = model_spec(model_type).type  # first, as an unknown model is found at once
        rows, valid_rows = load_rows(data, "train"), validation_rows(data)
        with processes.main_process_first():  # the first process downloads the model, the others find it
            base = base_model(model_type)
        tokenizer = chat.load_tokenizer(base, options.chat_template)
        recipe = within_context(recipe, load_config(base), processes)
        identity = {
            "recipe": asdict(recipe),
            "base": fingerprint(base),
            "data_sha256": data_digest(rows),
            "valid_sha256": data_digest(valid_rows),
            "chat_template_sha256": content_hash(tokenizer.chat_template),
        }
        folder = options.folder or ADAPTERS / f"{name}_{engine}"
        return cls(
            model_type, recipe, folder, base, tokenizer, rows, valid_rows, identity | settings, processes
        )

    def prepare(self, resume: bool) -> TrainingMetrics | None:
        """Make the folder ready for this run. Returns the metrics when this run is finished already."""
        if self.processes.is_main_process:
            prepare_folder(self.folder, self.identity, resume)
        self.processes.wait_for_everyone()
        file = self.folder / "metrics.json"
        if not file.exists():
            return None
        if self.processes.is_main_process:
            print(f"already done: {show_path(file)}", flush=True)
        return read_metrics(self.folder)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside this context no other process trains in the folder. Only the main process has the lock.

        UserError if another run goes on there.
        """
        check_writable(self.folder, folder=True)
        with one_writer(self.folder) if self.processes.is_main_process else nullcontext():
            yield

    @cached_property
    def rows(self) -> TrainingRows:
        """The encoded rows. The training rows are kept in a cache beside the folder, for the next run."""
        limit = self.recipe.max_tokens
        with self.processes.main_process_first():
            cache = self.folder.parent / ".tokens"
            train = encode_rows(self.tokenizer, self.train_rows, limit, cache_dir=cache)
        valid = encode_rows(self.tokenizer, self.valid_rows, limit)
        return TrainingRows.for_recipe(self.tokenizer, train, self.recipe, valid)

    def finish(self, log: TrainingLog, engine: EngineMetrics) -> TrainingMetrics:
        """Write `log.csv` and `metrics.json`; return the metrics."""
        counted, steps = counts(self.train_rows, self.rows.train), self.recipe.max_steps
        seconds = log.rows[-1]["seconds"] if log.rows else 0.0
        metrics = TrainingMetrics(
            **self.identity,
            **engine,
            model_type=self.model_type,
            rows=counted.rows,
            rows_dropped=counted.dropped_rows,
            turns_cut=counted.cut_turns,
            steps=steps,
            epochs=round(steps * self.recipe.rows_per_step / counted.rows, 2),
            tokens=self.rows.tokens,
            supervised_tokens=self.rows.supervised_tokens,
            train_seconds=seconds,
            tokens_per_second=round(self.rows.tokens / max(seconds, 1e-9), 1),
            losses=log.curve("loss"),
            eval_losses=log.curve("eval_loss"),
        )
        if self.processes.is_main_process:
            log.write()
            write_json(self.folder / "metrics.json", metrics)
        self.processes.wait_for_everyone()
        return metrics


def within_context(recipe: Recipe, config: Any, processes: Processes | None = None) -> Recipe:
    """The recipe with rows that the model can read. A line says so if its rows could be longer.

    Arguments:
        recipe: The recipe.
        config: The configuration of the model.
        processes: The processes that train together. Only the main process prints. None: one process.
    """
    context = context_of(config)
    if context is None or recipe.max_tokens <= context:
        return recipe
    if (processes or SingleProcess()).is_main_process:
        print(
            f"a row has at most {context:,} tokens, as the model's context is no longer "
            f"(--max-tokens or the profile allows {recipe.max_tokens:,})",
            flush=True,
        )
    return replace(recipe, max_tokens=context)


def prepare_folder(folder: Path, identity: dict[str, Any], resume: bool) -> None:
    """Make `folder` the folder of the run with `identity`, which is kept in its `run.json`.

    A run with another identity is moved aside, and with `resume=False` every run. Nothing is deleted.
    Incomplete checkpoints are renamed, so that they are not used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN
    known = read_run(folder) if file.exists() else None
    if known is not None and (known != identity or not resume):
        aside = folder.with_name(f"{folder.name}.{content_hash(json.dumps(known))[:8]}-{int(time.time())}")
        folder.rename(aside)
        print(f"{show_path(folder)} had another run: it is moved to {show_path(aside)}", flush=True)
        folder.mkdir()
        known = None
    if known is None:
        write_json(file, identity)
    for path in incomplete(folder):
        print(f"{show_path(path)} is incomplete and is not used", flush=True)
        path.rename(path.with_name(f".incomplete-{path.name}-{int(time.time())}"))
