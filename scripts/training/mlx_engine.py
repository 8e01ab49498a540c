"""The MLX engine: the same recipe, tokens and order as the PyTorch engine, on Apple silicon (and on Linux, on the CPU).

    python -m scripts.train_mlx --profile full --model-type llama [--max-steps N] [--no-resume] [--fuse-step 550]

mlx-lm gives the models, the LoRA layers and the file formats; the step is in `scripts/mlx_step.py`. Writes
`<step>_adapters.safetensors` into `adapters/<type>_mlx/` with its optimiser beside it, `log.csv`, `metrics.json`, and
fuses the chosen checkpoint into `local_models/ft_<type>_mlx/`.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import data_digest, load_rows, validation_rows
from scripts.lm import chat
from scripts.lm.base_models import base_model, fingerprint, model_spec
from scripts.training.checkpoints import (
    OnLog,
    checkpoints,
    prepare_run,
    read_log,
    rotate,
    stop_if_diverging,
    write_log,
)
from scripts.training.mlx_model import (
    adapter_config,
    add_adapter,
    load_arrays,
    load_base,
    on_metal,
    require_mlx,
    save_arrays,
)
from scripts.training.mlx_step import (
    adamw,
    evaluate,
    learning_rate,
    optimiser_step,
    seeded_layers,
    takes_noise,
)
from scripts.training.order import batches
from scripts.training.recipe import Recipe
from utils_ft import ADAPTERS, UserError, content_hash, show_path, write_json

# --- checkpoints ------------------------------------------------------------------------------------------------


def save_checkpoint(run: Path, step: int, model: Any, optimizer: Any, keep: int) -> None:
    """Write the adapter of `step` and the optimiser beside it, the adapter last: where it is, the step is whole.

    The newest also lies under the one name that mlx-lm reads. Beyond `keep` the oldest go.
    """
    from mlx.utils import tree_flatten

    save_arrays(_optimizer_file(run, step), dict(tree_flatten(optimizer.state)), step=str(step))
    file = run / f"{step:07d}_adapters.safetensors"
    save_arrays(file, dict(tree_flatten(model.trainable_parameters())), step=str(step))
    draft = run / ".adapters.safetensors"
    shutil.copyfile(file, draft)
    os.replace(draft, run / "adapters.safetensors")
    rotate(run, keep)


def _optimizer_file(run: Path, step: int) -> Path:
    return run / f"{step:07d}_optimizer.safetensors"


def restore(run: Path, model: Any, optimizer: Any) -> int:
    """Load the newest checkpoint that is whole, adapter and optimiser; its step, or 0 where there is none.

    One that is not whole (a full disk, a copy cut short) is renamed and passed over. UserError where only the state of the
    optimiser is missing: nobody wants to begin again for that without being asked.
    """
    from mlx.utils import tree_unflatten

    for found in reversed(checkpoints(run)):
        moments = _optimizer_file(run, found.step)
        if not moments.exists():
            raise UserError(
                "the state of the optimiser is missing",
                where=moments,
                remedy="bring the file back, or begin again with --no-resume (the run is moved aside)",
            )
        try:
            weights, state = load_arrays(found.path), load_arrays(moments)
        except UserError:
            print(f"{show_path(found.path)} is not whole: passed over", flush=True)
            found.path.rename(found.path.with_name(f".torn-{found.path.name}"))
            continue
        model.load_weights(list(weights.items()), strict=False)
        optimizer.state = tree_unflatten(list(state.items()))
        print(f"resuming {show_path(run)} from step {found.step}", flush=True)
        return found.step
    return 0


# --- a run ------------------------------------------------------------------------------------------------------


def train(
    model_type: str,
    recipe: Recipe,
    data: Path,
    resume: bool = True,
    on_log: OnLog | None = None,
    chat_template: Path | None = None,
    dtype: str | None = None,
    quantize: bool | None = None,
    gradient_checkpointing: bool | None = None,
    run: Path | None = None,
) -> dict:
    """Train LoRA adapters on `data/train.jsonl` and return the metrics, also written to `metrics.json`.

    The same call again says "already done", or goes on exactly from the last whole checkpoint; a run with another
    recipe, model or data is moved aside, never deleted. `resume=False` starts afresh.

    `dtype` is bfloat16 or float32 (None: bfloat16 on Metal; MLX on a CPU is twice as fast in float32). `quantize` (None:
    where the recipe says QLoRA, and on Metal) trains over a 4-bit base. `gradient_checkpointing` (None: on Metal) trades
    time for memory. `run` is the folder, `adapters/<type>_mlx` by default.
    """
    require_mlx()
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.utils import maybe_set_recommended_wired_limit

    name = model_spec(model_type).type  # an unknown model is the first thing to hear of
    rows, valid_rows = load_rows(data, "train"), validation_rows(data)
    folder = base_model(model_type)
    run = run or ADAPTERS / f"{name}_mlx"
    dtype = dtype or ("bfloat16" if on_metal() else "float32")
    quantize = recipe.qlora and on_metal() if quantize is None else quantize
    checkpointing = on_metal() if gradient_checkpointing is None else gradient_checkpointing
    tokenizer = chat.load_tokenizer(folder, chat_template)
    identity = {
        "recipe": asdict(recipe),
        "base": fingerprint(folder),
        "data_sha256": data_digest(rows),
        "valid_sha256": data_digest(valid_rows),
        "dtype": dtype,
        "quantized": quantize,
        "chat_template_sha256": content_hash(tokenizer.chat_template),
    }
    if (finished := prepare_run(run, identity, resume)) is not None:
        return finished

    encoded = encode_rows(tokenizer, rows, recipe.max_tokens, cache_dir=run.parent / ".tokens")
    valid = encode_rows(tokenizer, valid_rows, recipe.max_tokens)
    order = batches(len(encoded), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    tokens_of = [sum(len(encoded[index].input_ids) for index in step) for step in order]

    maybe_set_recommended_wired_limit()
    model = load_base(folder, dtype, quantize)
    config = adapter_config(model, recipe, str(folder), dtype, quantize)
    add_adapter(model, config, seed=recipe.seed)
    optimizer = adamw(recipe)
    optimizer.init(model.trainable_parameters())
    tokenizer.save_pretrained(run / "tokenizer")
    write_json(run / "adapter_config.json", config)
    noise = recipe.neftune_alpha if takes_noise(model) else 0.0

    first = restore(run, model, optimizer)
    log = [row for row in read_log(run) if row["step"] <= first]
    before, start = max((row["seconds"] or 0.0 for row in log), default=0.0), time.perf_counter()
    model.train()
    bar = tqdm(total=recipe.max_steps, initial=first, desc="training", unit="step")
    with bar, seeded_layers(model, checkpointing) as seed:
        for step in range(first + 1, recipe.max_steps + 1):
            loss = optimiser_step(
                model, optimizer, [encoded[i] for i in order[step - 1]], recipe, step - 1, noise, seed
            )
            stop_if_diverging([row["loss"] for row in log] + [loss], run, recipe)
            save = step % recipe.save_every == 0 or step == recipe.max_steps
            eval_loss = evaluate(model, valid, recipe.batch_size) if save else None
            spent = time.perf_counter() - start
            log.append(
                {
                    "step": step,
                    "loss": loss,
                    "eval_loss": eval_loss,
                    "learning_rate": learning_rate(recipe, step - 1),
                    "tokens_per_second": round(sum(tokens_of[first:step]) / spent, 1),
                    "seconds": round(before + spent, 2),
                }
            )
            if save:
                write_log(run, log)
                save_checkpoint(run, step, model, optimizer, recipe.keep_checkpoints)
            if on_log:
                on_log(log)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

    metrics = identity | {
        "model_type": model_type,
        "device": mx.default_device().type.name,
        "gradient_checkpointing": checkpointing,
        "neftune": noise > 0,
        "rows": len(encoded),
        "rows_dropped": len(rows) - len(encoded),
        "turns_cut": sum(row.cut for row in encoded),
        "steps": recipe.max_steps,
        "tokens": sum(tokens_of),
        "supervised_tokens": sum(sum(encoded[i].supervised) for step in order for i in step),
        "train_seconds": log[-1]["seconds"],
        "losses": [[row["step"], row["loss"]] for row in log if row["loss"] is not None],
        "eval_losses": [[row["step"], row["eval_loss"]] for row in log if row["eval_loss"] is not None],
        "trainable_parameters": sum(value.size for _, value in tree_flatten(model.trainable_parameters())),
        "peak_memory_gb": round(mx.get_peak_memory() / 1e9, 3),
        "versions": {name: version(name) for name in ("mlx", "mlx-lm", "transformers", "clingo")},
    }
    metrics["epochs"] = round(recipe.max_steps * recipe.rows_per_step / len(encoded), 2)
    metrics["tokens_per_second"] = round(metrics["tokens"] / max(metrics["train_seconds"], 1e-9), 1)
    write_json(run / "metrics.json", metrics)
    return metrics
