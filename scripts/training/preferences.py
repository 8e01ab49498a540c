"""Learning from preference pairs: DPO (Rafailov et al., 2023) with TRL's DPOTrainer, from a checkpoint on.

The loss of a pair falls when the right answer gains more probability than the wrong one, both compared with
the first checkpoint. The LoRA matrices of that checkpoint are trained further, so the run is like any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.trainer import utils as trl_utils

from scripts.data.pairs import Pair, pairs_digest
from scripts.data.rows import EVAL_ROWS
from scripts.lm import chat
from scripts.lm.adapters import CONFIG, PEFT_FILE, adapter_tensors, check_base, load_adapter
from scripts.lm.base_models import base_model, fingerprint, model_spec
from scripts.lm.chat import Encoded
from scripts.lm.device import compute_dtype, device, free_memory, silence_peft_warning
from scripts.lm.loading import load_config
from scripts.training.callbacks import TruncatedBackward
from scripts.training.checkpoints import choose
from scripts.training.costs import largest_batch, memory_use, model_sizes, needs_checkpointing
from scripts.training.log import OnLog
from scripts.training.lora_groups import group_adapters
from scripts.training.metrics import EngineMetrics, TrainingMetrics
from scripts.training.order import TrainingRows
from scripts.training.pytorch_engine import train_run
from scripts.training.pytorch_model import load_for_training
from scripts.training.recipe import PreferenceRecipe, Recipe
from scripts.training.run import Processes, RunOptions, SingleProcess, TrainingRun, within_context
from scripts.training.sft_trainer import IGNORED, explain_setup_errors, trainer_settings
from utils_ft import ADAPTERS, UserError, content_hash, file_sha256, read_json, show_path

ENGINE = "preferences"
"""The end of the name of a run's folder."""


@dataclass(frozen=True)
class EncodedPair(Encoded):
    """A pair as tokens. `input_ids` are all that the model reads: the prompt with each of its two answers."""

    prompt: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()

    @classmethod
    def of(cls, prompt: list[int], chosen: list[int], rejected: list[int]) -> EncodedPair:
        """The pair of two answers to a prompt."""
        parts = (prompt, False), (chosen, True), (prompt, False), (rejected, True)
        tokens = [token for ids, _ in parts for token in ids]
        supervised = [is_answer for ids, is_answer in parts for _ in ids]
        return cls(tokens, supervised, 0, tuple(prompt), tuple(chosen), tuple(rejected))

    def as_trl(self) -> dict[str, list[int]]:
        """The pair as TRL's collator reads it."""
        return {
            "prompt_ids": list(self.prompt),
            "chosen_ids": list(self.chosen),
            "rejected_ids": list(self.rejected),
        }


def encode_pairs(tokenizer: Any, pairs: Sequence[Pair], max_tokens: int) -> list[EncodedPair]:
    """Encode pairs, in their order, with the tokens of `lm.chat`.

    A pair is left out if an answer does not fit into `max_tokens` tokens, or if the chat template would
    change it.

    Raises:
        UserError: No pair is left. The error says why the last one was left out.
    """
    found, error = [], None
    for pair in pairs:
        prompt = chat.encode_prompt(tokenizer, pair["prompt"])
        try:
            chosen, rejected = (
                chat.encode(tokenizer, [*pair["prompt"], *pair[side]], max_tokens)
                for side in ("chosen", "rejected")
            )
        except UserError as fault:
            error = fault
            continue
        if chosen.cut or rejected.cut:
            error = UserError(f"no pair fits into {max_tokens} tokens", remedy="raise --max-tokens")
            continue
        answers = (each.input_ids[len(prompt) :] for each in (chosen, rejected))
        found.append(EncodedPair.of(prompt, *answers))
    if not found and error:
        raise error
    return found


def hold_out(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The pairs for training, and those on which the validation loss is measured: of every tenth problem."""

    def name(pair: Pair) -> str:
        return f"{pair.get('meta', {}).get('family')}/{pair.get('meta', {}).get('problem')}"

    names = sorted({name(pair) for pair in pairs}, key=content_hash)
    held_out = set(names[: len(names) // 10])
    train = [pair for pair in pairs if name(pair) not in held_out]
    return train, [pair for pair in pairs if name(pair) in held_out][:EVAL_ROWS]


@dataclass(frozen=True)
class Start:
    """The checkpoint that training continues from."""

    model_type: str
    """The base model."""
    folder: Path

    @classmethod
    def of(cls, model_type: str, given: Path | None = None) -> Start:
        """A checkpoint of a base model.

        Arguments:
            model_type: The base model: a key of `lm.base_models.MODELS`, a folder or a hub id.
            given: A checkpoint in PEFT's format, or a run, whose best one is taken. None: the run
                `adapters/<type>_pytorch`.

        Raises:
            UserError: There is none, it is in mlx-lm's format, or it was trained over another base model.
        """
        folder = given or ADAPTERS / f"{model_spec(model_type).type}_pytorch"
        if not folder.is_dir():
            raise UserError(
                "there is no such checkpoint",
                where=folder,
                remedy="train first (python -m scripts.train_pytorch), or name a checkpoint with --start",
            )
        if not (folder / CONFIG).is_file():
            folder = choose(folder).path
        if folder.is_file() or not (folder / PEFT_FILE).is_file():
            raise UserError(
                "this is no adapter in PEFT's format",
                where=folder,
                remedy="convert one of mlx-lm: python -m scripts.convert_adapter --source … --target …",
            )
        adapter_tensors(folder / PEFT_FILE)
        check_base(folder, base_model(model_type))
        return cls(model_type, folder)

    def recipe(self, recipe: Recipe) -> Recipe:
        """`recipe` with the rank, alpha and layers of the checkpoint."""
        settings = read_json(self.folder / CONFIG, "choose another checkpoint, or train again")
        layers = settings.get("layers_to_transform")
        return replace(
            recipe,
            rank=settings.get("r", recipe.rank),
            alpha=settings.get("lora_alpha", recipe.alpha),
            top_layers=len(layers) if isinstance(layers, list) and layers else recipe.top_layers,
        )


@dataclass(frozen=True)
class PreferenceRun(TrainingRun):
    """A training run whose rows are preference pairs."""

    start: Path
    """The checkpoint that it continues from."""

    @classmethod
    def of(
        cls,
        start: Start,
        recipe: Recipe,
        preferences: PreferenceRecipe,
        pairs: Sequence[Pair],
        options: RunOptions,
        processes: Processes | None = None,
    ) -> PreferenceRun:
        """The run on some pairs.

        Arguments:
            start: The checkpoint that training continues from.
            recipe: The recipe of the profile. `preferences` changes it.
            preferences: The recipe of the training on pairs.
            pairs: The pairs. Those of every tenth problem are for the validation loss.
            options: What is done with the folder.
            processes: The processes that train together. None: one process.

        Raises UserError if the folder of the run is that of the checkpoint.
        """
        processes = processes or SingleProcess()
        with processes.main_process_first():
            base = base_model(start.model_type)
        has_tokenizer = (start.folder / "tokenizer.json").is_file()
        tokenizer = chat.load_tokenizer(start.folder if has_tokenizer else base, options.chat_template)
        train, valid = hold_out(pairs)
        recipe = preferences.recipe(start.recipe(recipe), len(train))
        recipe = within_context(recipe, load_config(base), processes)
        identity = {
            "recipe": asdict(recipe),
            "preferences": asdict(preferences),
            "base": fingerprint(base),
            "start_sha256": file_sha256(start.folder / PEFT_FILE),
            "data_sha256": pairs_digest(train),
            "valid_sha256": pairs_digest(valid),
            "chat_template_sha256": content_hash(tokenizer.chat_template),
        }
        folder = options.folder or ADAPTERS / f"{model_spec(start.model_type).type}_{ENGINE}"
        if start.folder.resolve().parent == folder.resolve():
            raise UserError(
                "the run would replace the one that it continues",
                where=folder,
                remedy="name another folder with --run",
            )
        inputs = start.model_type, recipe, folder, base, tokenizer, train, valid, identity, processes
        return cls(*inputs, start.folder)

    @cached_property
    def rows(self) -> TrainingRows:
        """The encoded pairs."""
        limit = self.recipe.max_tokens
        train = encode_pairs(self.tokenizer, self.train_rows, limit)
        valid = encode_pairs(self.tokenizer, self.valid_rows, limit) if self.valid_rows else []
        return TrainingRows.for_recipe(self.tokenizer, train, self.recipe, valid)


def train_preferences(
    run: PreferenceRun, *, resume: bool = True, on_log: OnLog | None = None, report_to: str = "none"
) -> TrainingMetrics:
    """Train on preference pairs; write and return the metrics.

    A finished run is not repeated, and an interrupted one continues from its last complete checkpoint. A run
    with another recipe, model, first checkpoint or other pairs is moved aside.

    Arguments:
        run: The run, from `PreferenceRun.of`.
        resume: Whether a run that is in the folder is resumed. If not, it is moved aside.
        on_log: Is called with the log so far after each training step.
        report_to: Names of experiment trackers, with commas between them, or `none`.

    Raises UserError for what a person can correct, as `pytorch_engine.train` does.
    """
    return train_run(run, resume, partial(_trainer, report_to=report_to), on_log, _figures)


def _trainer(run: PreferenceRun, callbacks: list[TrainerCallback], report_to: str) -> PreferenceTrainer:
    """The trainer of a run, over its freshly loaded base model and first checkpoint."""
    recipe, rows = run.recipe, run.rows
    silence_peft_warning()
    sizes = model_sizes(load_config(run.base), recipe)  # refuses a model before its weights are loaded
    model = load_for_training(run.base, recipe.qlora)
    (checkpointing,) = broadcast_object_list([needs_checkpointing(sizes, recipe, rows.longest)])
    model = load_adapter(model, run.start, run.base, trainable=True)
    model.peft_config["default"].base_model_name_or_path = str(run.base)  # where it is now
    preferences = PreferenceRecipe(**run.identity["preferences"])
    sft = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, preferences.sft_weight]}
    common = trainer_settings(
        recipe, run.folder, recipe.max_steps, bool(rows.valid), checkpointing, report_to
    )
    config = DPOConfig(
        **common,
        **(sft if preferences.sft_weight else {}),
        beta=preferences.beta,
        max_length=None,
    )
    order = [index for step in rows.order for index in step]
    place = {index: number for number, index in enumerate(dict.fromkeys(order))}  # of the pairs that are seen
    with explain_setup_errors(config):
        return PreferenceTrainer(
            order=[place[index] for index in order],
            model=model,
            args=config,
            processing_class=run.tokenizer,
            train_dataset=Dataset.from_list([rows.train[index].as_trl() for index in place]),
            eval_dataset=Dataset.from_list([pair.as_trl() for pair in rows.valid]) if rows.valid else None,
            callbacks=callbacks,
        )


class PreferenceTrainer(DPOTrainer):
    """TRL's DPOTrainer on pairs that are tokens already.

    Before the training the model is the first checkpoint, so the probabilities that it then gives are those
    of the reference. They are computed once for each pair, and TRL's copy of the adapter, `ref`, is removed.

    Arguments:
        order: The pairs in the order of training, as indices into `train_dataset`.
        arguments: The arguments of DPOTrainer.
    """

    def __init__(self, order: Sequence[int], **arguments: Any):
        super().__init__(**arguments)
        if self.is_fsdp_enabled:
            raise UserError(
                "training on pairs cannot spread the base model over several GPUs",
                remedy="use accelerate_configs/ddp_gpu.yaml, where each GPU has the whole model",
            )
        self.model.delete_adapter("ref")
        self.add_callback(TruncatedBackward)
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        group_adapters(self.model)
        self.train_dataset = self._with_reference(self.train_dataset, "pairs").select(order)
        if self.eval_dataset is not None:
            self.eval_dataset = self._with_reference(self.eval_dataset, "held-out pairs")
        self.precompute_ref_logps = True

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """The dataset as it is: `encode_pairs` made its tokens."""
        return dataset

    def _with_reference(self, dataset: Dataset, title: str) -> Dataset:
        """The dataset with the log-probabilities of both answers. The processes share the work."""
        state, found = self.accelerator, []
        mine = range(state.process_index, len(dataset), state.num_processes)
        for index in tqdm(mine, desc=f"first checkpoint, {title}", unit="pair", disable=None):
            batch = self.data_collator([dataset[index]])
            inputs = {name: batch[name].to(state.device) for name in ("input_ids", "attention_mask")}
            labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED).to(state.device)
            with torch.no_grad(), state.autocast(), answers_only():
                output = self.model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
            found.append((index, *output.log_probs.sum(1).tolist()))
        rows = sorted(gather_object(found))
        for place, name in ((1, "ref_chosen_logps"), (2, "ref_rejected_logps")):
            dataset = dataset.add_column(name, [row[place] for row in rows])
        return dataset

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        """The loss of a batch, with logits of the answers' tokens only."""
        with answers_only():
            return super().compute_loss(*arguments, **named)


@contextlib.contextmanager
def answers_only() -> Iterator[None]:
    """Inside this context TRL computes logits at the tokens of answers only, as it does on GPUs by itself.

    On a CPU it computes those of the prompts too, and does not use them.
    """
    own = trl_utils._use_triton
    trl_utils._use_triton = lambda _: True
    try:
        yield
    finally:
        trl_utils._use_triton = own


def _figures(trainer: Trainer) -> EngineMetrics:
    """How the probabilities of right and wrong answers moved apart, step by step."""
    names = {
        "accuracies": "rewards/accuracies",
        "eval_accuracies": "eval_rewards/accuracies",
        "margins": "rewards/margins",
    }
    history = trainer.state.log_history
    return EngineMetrics(
        {
            name: [[entry["step"], entry[logged]] for entry in history if logged in entry]
            for name, logged in names.items()
        }
    )


def describe(run: PreferenceRun) -> str:
    """What a training on pairs will need, as a few aligned lines of text. Nothing is trained."""
    recipe, rows = run.recipe, run.rows
    sizes = model_sizes(load_config(run.base), recipe)
    width, where = compute_dtype().itemsize, device()
    batch = largest_batch(rows.longest, recipe)
    use = memory_use(sizes, recipe, batch, width=width, checkpointing=False, where=where)
    lines = {
        "pairs": f"{len(rows.train):,} for training, {len(rows.valid):,} for the validation loss; "
        f"the longest has {len(rows.longest.input_ids):,} tokens with both answers",
        "trained": f"{sizes.trainable:,} parameters: LoRA of rank {recipe.rank} "
        f"on {sizes.adapted_layers} layers",
        "tokens": f"{rows.tokens:,} in {recipe.max_steps} steps of {recipe.rows_per_step} pairs, "
        "besides those of the first checkpoint's probabilities",
        "memory": f"{use.total / 1e9:.2f} GB expected without gradient checkpointing; "
        f"{free_memory() / 1e9:.1f} GB are free",
        "run": show_path(run.folder),
    }
    return "\n".join(f"{name:8} {line}" for name, line in lines.items())
