"""Take tiny random models of real architectures, with their real chat templates, through the whole pipeline.

    python -m tools.model_table
    python -m tools.model_table --only qwen3,gemma3

    python -m tools.model_table --write

For each model one row: tokens, training with resume, fusing, writing against `generate`, GGUF, MLX. A cell is
`pass`, or the message of the refusal. A model that cannot be trained is refused by the plan, that
is by `--dry-run`. The templates are those that TRL has, byte for byte.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils_ft import ROOT, UserError, command, write_text

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 2048,
    "initializer_range": 0.1,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 1024,
}
HYBRID = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
GEMMA = {"num_hidden_layers": 6, "sliding_window": 64, "tie_word_embeddings": True}
GEMMA4 = GEMMA | {
    "global_head_dim": 32,
    "hidden_size_per_layer_input": 16,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 3,
}
MODELS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "Llama-3-8B-Instruct": ("llama", "llama3", {}),
    "Llama-3-8B (base)": ("llama", None, {"untrained": True}),
    "Llama-3.1-8B-Instruct": ("llama", "llama3_1", {"rope_parameters": LLAMA31}),
    "Llama-3.2-1B-Instruct": ("llama", "llama3_2", {"tie_word_embeddings": True, "rope_parameters": LLAMA31}),
    "Qwen2.5-7B-Instruct": ("qwen2", "qwen2_5", {}),
    "Qwen2.5-0.5B-Instruct": ("qwen2", "qwen2_5", {"tie_word_embeddings": True}),
    "Qwen3-8B": ("qwen3", "qwen3", {}),
    "Qwen3-4B-Instruct-2507": ("qwen3", "qwen3_instruct_2507", {"tie_word_embeddings": True}),
    "Qwen3-30B-A3B": ("qwen3_moe", "qwen3", EXPERTS),
    "Qwen3.5-9B": ("qwen3_5", "qwen3_5_think", {"text_config": HYBRID, "vision_config": QWEN_VISION}),
    "gemma-3-1b-it": ("gemma3_text", "gemma3", GEMMA),
    "gemma-3-4b-it": ("gemma3", "gemma3", {"text_config": GEMMA, "vision_config": VISION}),
    "gemma-4-E4B-it": ("gemma4", "gemma4", {"text_config": GEMMA4, "vision_config": VISION}),
    "SmolLM3-3B": ("smollm3", "smollm3", {"tie_word_embeddings": True, "pad_token_id": 2}),
    "Mistral-7B-Instruct-v0.3": ("mistral", "mistral", {"sliding_window": None}),
    "Ministral-8B-Instruct": ("ministral", "mistral", {"sliding_window": 2048}),
    "Phi-3-mini": ("phi3", "phi3", {"pad_token_id": 0}),
    "GLM-4.5-Air": ("glm4_moe", "glm4moe", {"n_routed_experts": 4, "num_experts_per_tok": 2}),
    "gpt-oss-20b": ("gpt_oss", "gptoss", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "DeepSeek-R1-Distill-Qwen": ("qwen2", "deepseek_r1_distill", {}),
    "granite-3": ("granite", "granite", {}),
    "OLMo-2": ("olmo2", "olmo", {}),
}
"""Name → `model_type`, template (None: no template, as base models come), settings of the configuration.

A model with a vision part has the settings of both parts apart.
"""

PLAIN_TEMPLATES = {
    "smollm3": "chatml",
    "mistral": "mistral",
    "granite": "chatml",
    "olmo": "chatml",
}
"""Models whose template TRL does not have → the key of `lm.chat.TEMPLATES` that is taken instead."""

MARKS = (
    r"<\|[\w|]+\|>|<\|\w+>|<\w+\|>|<｜[\w▁]+｜>|</?think>|<[a-z]+_of_[a-z]+>|<sop>|\[gMASK\]|\[/?[A-Z_]+\]"
)
STEPS = [
    ("Give node 1 exactly one colour.", "{ colour(1, C) : hue(C) } = 1."),
    ("Two adjacent nodes never share a colour.", ":- edge(X, Y), colour(X, C), colour(Y, C)."),
    ("Show the colours.", "#show colour/2."),
]
BASE_MARKS = "<|start_header_id|><|end_header_id|><|eot_id|><|reserved_special_token_0|>"


PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- table:begin, written by tools.model_table -->", "<!-- table:end -->"
HEAD = [
    "| model | tokens | train, resume | fuse (KL) | write | GGUF | MLX |",
    "|---|---|---|---|---|---|---|",
]


def main(only: str | None = None, write: bool = False) -> None:
    """Print the table of models.

    Arguments:
        only: Parts of names, with commas between them. Other models are left out.
        write: Write the table into docs/models.md. With `only`, the other rows there stay.
    """
    rows = _written() if only else {}
    print("\n".join(HEAD), flush=True)
    for name in MODELS:
        if only and not any(part.lower() in name.lower() for part in only.split(",")):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            cells = row(name, Path(scratch))
        rows[name] = f"| {name} | {' | '.join(cells)} |"
        print(rows[name], flush=True)
    if write:
        table = "\n".join([*HEAD, *(rows[name] for name in MODELS if name in rows)])
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        write_text(PAGE, f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")


def _written() -> dict[str, str]:
    """Name → row of the table in docs/models.md."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table.strip().splitlines()[2:]}


def row(name: str, scratch: Path) -> list[str]:
    """The cells of one model. After a refusal the cells that need its result are `–`."""
    base, data = scratch / "base", scratch / "data"
    write_rows(data)
    parts: list[tuple[Callable[[], str], bool]] = [
        (lambda: write_model(name, base), True),
        (lambda: _train(base, data, scratch), True),
        (lambda: _fuse(base, data, scratch), True),
        (lambda: _write(scratch / "fused"), False),
        (lambda: _gguf(scratch), False),
        (lambda: _mlx(base, data, scratch), False),
    ]
    cells: list[str] = []
    stopped = False
    for part, needed in parts:
        if stopped:
            cells.append("–")
            continue
        try:
            cells.append(_quietly(part))
        except UserError as error:
            cells.append(f"refused: {error.what}".replace("|", "\\|"))
            stopped = needed
        except Exception as error:  # an error that nobody explains is what the table looks for
            text = (str(error).splitlines() or [""])[0][:80]
            cells.append(f"FAIL {type(error).__name__} {text}")
            stopped = needed
    return cells


def _quietly(part: Callable[[], str]) -> str:
    import contextlib
    import io

    from scripts.lm.device import silenced

    with silenced(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return part()


def write_rows(folder: Path) -> None:
    from scripts.lm.prompts import conversation

    folder.mkdir()
    for split, count in (("train", 4), ("valid", 2)):
        rows = [
            {"messages": conversation(f"Map {split} {number}.", STEPS), "meta": {"kind": "conversation"}}
            for number in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))


def write_model(name: str, folder: Path) -> str:
    """Write a random model with its tokenizer; check its tokens. Returns the cell."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    from scripts.lm import chat
    from scripts.lm.prompts import conversation

    kind, template, settings = MODELS[name]
    settings = dict(settings)
    untrained = settings.pop("untrained", False)
    tokenizer = _tokenizer(template)
    config = AutoConfig.for_model(kind, **_settings(settings, len(tokenizer)))
    torch.manual_seed(0)
    kind_of_model = AutoModelForImageTextToText if "vision_config" in settings else AutoModelForCausalLM
    model = kind_of_model.from_config(config)
    if untrained:
        rows = [tokenizer.convert_tokens_to_ids(mark) for mark in re.findall(MARKS, BASE_MARKS)]
        model.get_output_embeddings().weight.data[rows] = 1e-23
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    loaded = chat.load_tokenizer(folder)
    chat.encode(loaded, conversation("A map.", STEPS))
    end = loaded.convert_ids_to_tokens(chat.end_of_turn(loaded))
    return f"pass, `{end}`".replace("|", "\\|")


def _settings(settings: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """The arguments of a configuration: those of a small model, and the model's own."""
    sizes = SIZES | {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1}
    if "text_config" not in settings:
        return sizes | settings
    text = sizes | {"vocab_size_per_layer_input": vocabulary} | settings["text_config"]
    ends = {"bos_token_id": 0, "eos_token_id": 1, "mm_tokens_per_image": 4}
    return ends | settings | {"text_config": text}


def _tokenizer(template: str | None) -> Any:
    import trl
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as SPLITS

    from scripts.lm.chat import TEMPLATES

    file = Path(trl.__file__).parent / "chat_templates" / f"{template}.jinja"
    text = None
    if template:
        text = file.read_text(encoding="utf-8") if file.is_file() else TEMPLATES[PLAIN_TEMPLATES[template]]
    marks = re.findall(MARKS, text or BASE_MARKS)
    special = list(dict.fromkeys(["<bos>", "<eos>", "<pad>", "<|endoftext|>", *marks]))
    trained = Tokenizer(models.BPE())
    cuts = pre_tokenizers.Split(Regex(SPLITS["llama-bpe"]), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.pre_tokenizer = pre_tokenizers.Sequence([cuts, byte_level])
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator([part for step in STEPS for part in step], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    tokenizer.chat_template = text
    return tokenizer


def _recipe(**changes: Any) -> Any:
    from scripts.training.recipe import PROFILES

    smoke = PROFILES["smoke"].recipe
    return replace(smoke, max_tokens=1024, max_steps=4, save_every=2, warmup_ratio=0.0, qlora=True, **changes)


def _train(base: Path, data: Path, scratch: Path) -> str:
    """The plan, four training steps over NF4 with noise and dropout, then two of them from the checkpoint."""
    import shutil

    import torch
    from safetensors.torch import load_file

    from scripts.training.plan import plan
    from scripts.training.pytorch_engine import train
    from scripts.training.run import RunOptions

    run = scratch / "run"
    sizes = plan(str(base), _recipe(), data).model  # refuses what cannot be trained
    train(str(base), _recipe(), data, options=RunOptions(folder=run))
    last = run / "checkpoint-4"
    whole = load_file(last / "adapter_model.safetensors")
    shutil.rmtree(last)
    (run / "metrics.json").unlink()
    train(str(base), _recipe(), data, options=RunOptions(folder=run))
    resumed = load_file(last / "adapter_model.safetensors")
    same = all(torch.equal(whole[key], resumed[key]) for key in whole)
    adapted = sorted({key.rsplit(".", 3)[1] for key in whole})
    trained = sum(value.numel() for value in whole.values())
    if trained != sizes.trainable:
        return f"FAIL: {trained} parameters, the plan says {sizes.trainable}"
    return f"{'pass' if same else 'FAIL: resume differs'}, {len(adapted)} matrices"


def _fuse(base: Path, data: Path, scratch: Path) -> str:
    from scripts.export.fuse_pytorch import fuse
    from scripts.export.fusing import Folders

    fuse(str(base), "last", data, folders=Folders(scratch / "run", scratch / "fused"))
    record = json.loads((scratch / "fused" / "fuse.json").read_text())
    return f"pass, {record['exactness']['mean_kl_divergence']:.0e}"


def _write(fused: Path) -> str:
    """Greedy answers against those of transformers' own `generate`."""
    import torch

    from scripts.inference.generator import load_generator
    from scripts.lm import chat
    from scripts.lm.prompts import conversation

    generator = load_generator(fused, max_new_tokens=12)
    generator.model.float()  # in 16 bits random weights have equal logits
    talks = [conversation(f"Map {number}.", STEPS)[: 2 + 2 * (number % 2)] for number in range(4)]
    same = 0
    for talk, text in zip(talks, generator.generate(talks), strict=True):
        ids = torch.tensor([chat.encode_prompt(generator.tokenizer, talk)])
        tokens = generator.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
        own = generator.tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True)
        same += own == text
    return f"{same} of 4"


def _gguf(scratch: Path) -> str:
    from scripts.export.gguf import export

    export(scratch / "fused", scratch / "model.gguf")
    return "pass"


def _mlx(base: Path, data: Path, scratch: Path) -> str:
    """Two training steps in float32, then the merge with its comparisons."""
    from scripts.export.fuse_mlx import fuse
    from scripts.export.fusing import Folders
    from scripts.training.mlx_engine import MlxSettings, train
    from scripts.training.run import RunOptions

    settings, run = MlxSettings(dtype="float32"), scratch / "mlx"
    train(str(base), replace(_recipe(), max_steps=2), data, settings=settings, options=RunOptions(folder=run))
    fuse(str(base), "last", data, folders=Folders(run, scratch / "mlx-fused"))
    record = json.loads((scratch / "mlx-fused" / "fuse.json").read_text())
    return f"pass, {record['mlx_against_transformers']['mean_kl_divergence']:.0e}"


if __name__ == "__main__":
    command(main)()
