"""Malformed input of every command ends in one message with exit code 2, and never in a traceback."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import utils_ft
from scripts.data.rows import write_row_files
from tests.examples import colouring_row, write_problem
from utils_ft import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

PROBLEM = (
    "Give each node(N) one colour(N, C) of hue(C); edge(X, Y) joins nodes.",
    "% Give each node exactly one colour.\n{ colour(N, C) : hue(C) } = 1 :- node(N).\n"
    "% Two adjacent nodes never share a colour.\n:- edge(X, Y), colour(X, C), colour(Y, C).\n",
)
OTHER = (
    "A guest(G) may come(G); at least two of them do.",
    "% Each guest may come.\n{ come(G) : guest(G) }.\n% At least two guests come.\n:- { come(G) } < 2.\n",
)
FACTS = "node(1..2). edge(1, 2). hue(red). hue(blue)."
JUNK = bytes(range(256)) * 8


@pytest.fixture(scope="module")
def whole(
    smoke: Path, realistic_base: Path, pytorch_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A working folder in which every command works."""
    folder = tmp_path_factory.mktemp("whole")
    write_problem(folder / "problems" / "f" / "one", *PROBLEM, small=FACTS)
    write_problem(folder / "problems" / "f" / "two", *OTHER, small="guest(1..3).")
    (folder / "problems" / "split.json").write_text('{"valid": ["f/one"]}')
    rows = {
        "train": [colouring_row(number) for number in range(4)],
        "valid": [colouring_row(9)],
        "test": [colouring_row(10)],
    }
    write_row_files(folder / "data", rows, {})
    shutil.copytree(smoke, folder / "model")
    shutil.copytree(realistic_base, folder / "base")
    shutil.copytree(pytorch_run, folder / "run")
    (folder / "problem.md").write_text(PROBLEM[0])
    (folder / "steps.txt").write_text("Give each node a colour.\n")
    (folder / "facts.lp").write_text(FACTS)
    return folder


@pytest.fixture
def work(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `whole` that is the working folder of the test, and the place of all results."""
    folder = Path(shutil.copytree(whole, tmp_path / "work"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FT_PROFILE", "smoke")
    for name in ("GOOGLE_API_KEY", "HF_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(utils_ft, "ENV", folder / ".env")
    monkeypatch.setattr("scripts.training.run.ADAPTERS", folder / "adapters")
    monkeypatch.setattr("scripts.export.fusing.ADAPTERS", folder / "adapters")
    monkeypatch.setattr("scripts.export.fusing.LOCAL_MODELS", folder / "local_models")
    monkeypatch.setattr("scripts.notebook.runner.RUNS", folder / "runs")
    return folder


def run(words: str, capsys: pytest.CaptureFixture) -> tuple[int, str, str]:
    """Run a command line in this process: the exit code, standard error, and both outputs as one."""
    module, *arguments = words.split()
    main = importlib.import_module(module).main
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        utils_ft.command(main)(arguments)
    written = capsys.readouterr()
    return ended.value.code, written.err, written.out + written.err


def fill(name: str, content: bytes) -> Callable[[], None]:
    """Write a file."""

    def spoil() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)

    return spoil


def gone(name: str) -> Callable[[], None]:
    """Remove a file or folder."""

    def spoil() -> None:
        shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()

    return spoil


def folder(name: str) -> Callable[[], None]:
    """Put an empty folder in place of a file or folder."""

    def spoil() -> None:
        if Path(name).exists():
            gone(name)()
        Path(name).mkdir(parents=True)

    return spoil


def cut(name: str) -> Callable[[], None]:
    """Cut a file in half."""
    return lambda: Path(name).write_bytes(Path(name).read_bytes()[: Path(name).stat().st_size // 2])


def change(name: str, **values: object) -> Callable[[], None]:
    """Change entries of a JSON file."""
    return lambda: Path(name).write_text(json.dumps(json.loads(Path(name).read_text()) | values))


def link(name: str, target: str) -> Callable[[], None]:
    """Put a symbolic link in place of a file or folder."""

    def spoil() -> None:
        if Path(name).exists():
            gone(name)()
        Path(name).symlink_to(target)

    return spoil


def pipe(name: str) -> Callable[[], None]:
    """Put a named pipe in place of a file. To read it would wait for ever."""

    def spoil() -> None:
        gone(name)()
        os.mkfifo(name)

    return spoil


def row(**entries: object) -> bytes:
    """A line of a JSONL file."""
    return json.dumps(entries).encode() + b"\n"


USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b."}
DEEP = b"[" * 200_000

GENERATE = (
    "scripts.generate --model model --problem problem.md --steps steps.txt --out x.lp --max-new-tokens 4"
)
ADAPTED = GENERATE.replace("model model", "model base") + " --adapter run/checkpoint-12"
CONVERT = "scripts.data_converter --benchmarks problems --out out"
TRAIN = "scripts.train_pytorch --model-type model --data data --max-steps 2"
EVALUATE = "scripts.evaluate --model model --out scores.json --benchmarks problems --split all --parts steps"
EXPORT = "scripts.export_gguf --model model"
STUDY = "scripts.ablations --out study --arms reference --problems 1"
AUGMENT = "scripts.data_augmentor --benchmarks problems --out out"
ADAPTER = "scripts.convert_adapter --source run/checkpoint-12 --target new"
RUN = "scripts.evaluate --run run --model base --benchmarks problems --max-new-tokens 2"
FUSE = "scripts.fuse --model-type base --data data"
PREFER = (
    "scripts.train_preferences --model-type base --start run --benchmarks problems --data pairs --run new"
)
NOTEBOOKS = "scripts.run_notebooks --profile smoke"
CHECKPOINT = "run/checkpoint-12/"

TEXT_FILES = [
    (f"{GENERATE} --instance facts.lp", spoil(name), words)
    for name in ("problem.md", "steps.txt", "facts.lp")
    for spoil, words in (
        (gone, "no such file"),
        (folder, "a folder, not a file"),
        (lambda name: fill(name, JUNK), "not UTF-8"),
        (lambda name: link(name, name), "cannot be read"),
        (pipe, "no ordinary file"),
    )
]
MODEL_FILES = [
    (GENERATE, gone("model"), "no such model folder"),
    (GENERATE, lambda: (gone("model")(), fill("model", b"x")()), "no such model folder"),
    (GENERATE, folder("model"), "there is no model in this folder"),
    (GENERATE, fill("model/config.json", JUNK), "cannot be loaded"),
    (GENERATE, fill("model/config.json", b"[]"), "cannot be loaded"),
    (GENERATE, fill("model/config.json", DEEP), "cannot be loaded"),
    (GENERATE, change("model/config.json", model_type="unknown"), "cannot be loaded"),
    (GENERATE, change("model/config.json", model_type="own", auto_map={"AutoConfig": "evil.C"}), "cannot be"),
    (GENERATE, change("model/config.json", num_hidden_layers=6), "the weights do not fit"),
    (GENERATE, change("model/config.json", hidden_size=64), "cannot be loaded|do not fit"),
    (GENERATE, change("model/config.json", num_hidden_layers="many"), "cannot be loaded"),
    (GENERATE, cut("model/model.safetensors"), "cannot be loaded"),
    (GENERATE, fill("model/model.safetensors", JUNK), "cannot be loaded"),
    (GENERATE, gone("model/model.safetensors"), "cannot be loaded"),
    (GENERATE, gone("model/tokenizer.json"), "cannot be loaded"),
    (GENERATE, fill("model/tokenizer.json", b"{}"), "cannot be loaded"),
    (GENERATE, fill("model/tokenizer_config.json", DEEP), "cannot be loaded"),
    (GENERATE, fill("model/chat_template.jinja", b"{% for m in messages %}"), "chat template"),
    (GENERATE, fill("model/chat_template.jinja", b"{{ 1 // 0 }}"), "chat template"),
    (GENERATE, fill("model/chat_template.jinja", b"{{ 'a' * 3000000000 }}"), "chat template was stopped"),
    (GENERATE.replace("model model", "model run/checkpoint-12"), None, "an adapter, not a model"),
    (f"{GENERATE} --adapter nowhere", None, "no such model folder"),
    (f"{GENERATE} --adapter data", None, "no adapter in this folder"),
    (f"{GENERATE} --adapter run/checkpoint-12", None, "trained over another base"),
    (ADAPTED, fill(f"{CHECKPOINT}adapter_config.json", JUNK), "not UTF-8|not JSON"),
    (ADAPTED, fill(f"{CHECKPOINT}adapter_config.json", b"[]"), "no JSON object"),
    (ADAPTED, change(f"{CHECKPOINT}adapter_config.json", peft_type="IA3"), "no LoRA adapter"),
    (ADAPTED, change(f"{CHECKPOINT}adapter_config.json", r="x"), "cannot be loaded"),
    (ADAPTED, cut(f"{CHECKPOINT}adapter_model.safetensors"), "cannot be loaded"),
    (ADAPTED, gone(f"{CHECKPOINT}adapter_model.safetensors"), "there is no adapter_model.safetensors"),
]
OUTPUTS = [
    (GENERATE.replace("x.lp", "steps.txt/x.lp"), None, "cannot be written"),
    (GENERATE.replace("x.lp", "data"), None, "cannot be written"),
    (GENERATE.replace("x.lp", "/proc/nowhere/x.lp"), None, "cannot be written"),
    (CONVERT.replace("out out", "out steps.txt"), None, "cannot be written"),
    (CONVERT.replace("out out", "out steps.txt/out"), None, "cannot be written"),
    (EVALUATE.replace("scores.json", "data"), None, "cannot be written"),
    (EVALUATE.replace("scores.json", "steps.txt/scores.json"), None, "cannot be written"),
    (f"{EXPORT} --out data", None, "cannot be written"),
    (f"{EXPORT} --out steps.txt/x.gguf", None, "cannot be written"),
    (STUDY.replace("out study", "out steps.txt"), None, "cannot be written"),
    (
        AUGMENT.replace("out out", "out steps.txt") + " --provider local --model model",
        None,
        "cannot be written",
    ),
    (TRAIN, fill("adapters", b""), "cannot be written"),
    (NOTEBOOKS, fill("runs", b""), "cannot be written"),
    (ADAPTER.replace("new", "data"), None, "exists already"),
    (ADAPTER.replace("new", "steps.txt/new"), None, "cannot be written"),
    ("scripts.own_errors --model model --benchmarks problems --data data --out data", None, "would replace"),
    ("scripts.own_errors --model model --benchmarks problems --data data --out steps.txt", None, "cannot be"),
]
SPLIT, ONE = "problems/split.json", "problems/f/one/"
PROBLEMS = [
    (CONVERT, gone("problems"), "no such folder"),
    (CONVERT, lambda: (gone("problems")(), fill("problems", b"")()), "no such folder"),
    (CONVERT, folder("problems"), "no problem in this folder"),
    (CONVERT, fill(SPLIT, JUNK), "split.json"),
    (CONVERT, fill(SPLIT, b"[]"), "no JSON object"),
    (CONVERT, fill(SPLIT, DEEP), "nested too deeply"),
    (CONVERT, fill(SPLIT, b'{"tests": ["f/one"], "validation": []}'), "unknown key 'tests'"),
    (CONVERT, fill(SPLIT, b'{"test": ["f"]}'), "f is a family"),
    (CONVERT, fill(SPLIT, b'{"test_families": ["f/one"]}'), "f/one is a problem"),
    (CONVERT, fill(SPLIT, b'{"test": "f/one"}'), "not a list of names"),
    (CONVERT, fill(SPLIT, b'{"test": [1]}'), "not a list of names"),
    (CONVERT, fill(SPLIT, b'{"test": ["f/none"]}'), "not in this folder"),
    (CONVERT, fill(SPLIT, b'{"test": [], "test": ["f/one"]}'), "stands twice"),
    (CONVERT, fill(SPLIT, b'{"test": ["\\ud800"]}'), "half a character"),
    (CONVERT, link(SPLIT, "nowhere"), "no such file"),
    (CONVERT, folder(SPLIT), "a folder, not a file"),
    (CONVERT, fill("problems/f/split.json", b"{}"), "decides nothing"),
    ("scripts.benchmarks check nowhere", None, "no such folder"),
    ("scripts.leaderboard nowhere.json", None, "no such file"),
    ("scripts.import_problems aspuzzle nowhere --out imported", None, "no JSON file"),
    ("scripts.data_generator --out generated --level 9", None, "level"),
    ("scripts.benchmarks check problems", fill(f"{ONE}encoding.lp", b"\n"), "the file is empty"),
    ("scripts.benchmarks check problems", fill(f"{ONE}problem.md", b"---\na: b\n---\n"), "the file is empty"),
    ("scripts.benchmarks check problems", fill(f"{ONE}paraphrases/natural.md", b""), "the file is empty"),
    ("scripts.benchmarks check problems", pipe(f"{ONE}encoding.lp"), "no ordinary file"),
    ("scripts.benchmarks check problems", fill(f"{ONE}wordings.json", b"[]"), "no JSON object"),
    ("scripts.benchmarks check problems", fill(f"{ONE}wordings.json", b'{"a": [1]}'), "lists of texts"),
    ("scripts.benchmarks check problems", link(f"{ONE}encoding.lp", "/etc/hostname"), "leads out of"),
    ("scripts.benchmarks check problems", link("problems/f/three", "one"), "leads to a folder"),
    ("scripts.benchmarks check problems", link("problems/f/three", "three"), "leads nowhere"),
    (
        "scripts.benchmarks check problems",
        lambda: (gone(f"{ONE}instances")(), fill(f"{ONE}instances", b"")()),
        "no folder",
    ),
    ("scripts.benchmarks check problems", lambda: os.mkdir(b"problems/f/\xff"), "not printable"),
    ("scripts.benchmarks count problems", None, "count"),
    (f"{CONVERT} --paraphrases nowhere", None, "no such folder of paraphrases"),
    (f"{CONVERT} --profile nothing", None, "unknown profile"),
    (f"{CONVERT} --seed x", None, "seed"),
    (f"{CONVERT} --tokenizer nowhere --problems 1", None, "cannot be loaded"),
]
ROWS, RUN_FILES = "data/train.jsonl", "adapters/model_pytorch/"
TRAINING = [
    (TRAIN, gone(ROWS), "no such file"),
    (TRAIN, gone("data/valid.jsonl"), "no such file"),
    (TRAIN, folder(ROWS), "a folder, not a file"),
    (TRAIN, fill(ROWS, JUNK), "not UTF-8"),
    (TRAIN, fill(ROWS, row(messages=[USER, ANSWER])), "do not belong together"),
    (TRAIN, fill("data/report.json", JUNK), "report.json"),
    (TRAIN, fill("data/report.json", DEEP), "nested too deeply"),
    (TRAIN, fill("data/report.json", b'{"sha256": "abc"}'), "do not belong together"),
    (TRAIN, fill("data/report.json", b'{"sha256": {}}'), "do not belong together"),
    (GENERATE, fill("problem.md", b"word " * 60_000), "too long|context"),
    *(
        (TRAIN, lambda content=content: (gone("data/report.json")(), fill(ROWS, content)()), words)
        for content, words in (
            (b"", "no rows"),
            (b"[]\n", "no list `messages`"),
            (row(messages=None), "no list `messages`"),
            (row(messages=[USER, ANSWER], meta=None), "`meta` is no object"),
            (row(messages=[ANSWER]), "begins with the assistant"),
            (row(messages=[USER]), "does not end with the assistant"),
            (row(messages=[{"role": "user"}, ANSWER]), "role, content"),
            (row(messages=[USER, {"role": "assistant", "content": "\ud800"}]), "half a character"),
            (DEEP, "nested too deeply"),
        )
    ),
    (TRAIN.replace("type model", "type nowhere"), None, "unknown model type"),
    (TRAIN.replace("type model", "type data"), None, "unknown model type"),
    (f"{TRAIN} --chat-template nowhere", None, "no such file"),
    (f"{TRAIN} --chat-template t", fill("t", JUNK), "not UTF-8"),
    (f"{TRAIN} --chat-template t", fill("t", b"{{ messages[0].content + 1 }}"), "chat template"),
    (f"{TRAIN} --max-steps 0", None, "at least one training step"),
    (f"{TRAIN} --dry-run", fill("model/config.json", JUNK), "cannot be loaded"),
    (TRAIN, fill(f"{RUN_FILES}run.json", b"[]"), "no JSON object"),
    (TRAIN, fill(f"{RUN_FILES}run.json", JUNK), "run.json"),
    (f"{FUSE} --step first", None, "is no checkpoint"),
    (FUSE, None, "no complete checkpoint"),
    (RUN, gone("run"), "no such folder"),
    (RUN, fill("run/checkpoint_scores.json", b'{"settings": "a", "rates": []}'), "no scores"),
    (RUN, fill("run/checkpoint_scores.json", JUNK), "checkpoint_scores.json"),
    (RUN, fill("run/log.csv", JUNK), "not UTF-8"),
    (RUN, fill("run/log.csv", b"step,loss\n1\n"), "log is damaged"),
    (RUN, fill("run/run.json", DEEP), "nested too deeply"),
    (RUN, change("run/run.json", base="another"), "of another run"),
    (RUN.replace("base", "model", 1), None, "trained over another base"),
    (f"{RUN} --out x.json", None, "leave out --out"),
]
OTHERS = [
    ("scripts.evaluate --model model", None, "--model and --out are needed"),
    (EVALUATE.replace("model model", "model nowhere"), None, "there is no model in this folder"),
    (f"{EVALUATE} --split tests", None, "no split"),
    (f"{EVALUATE} --k x", None, "list of numbers"),
    (f"{EVALUATE} --samples 0", None, "at least 1"),
    (EXPORT, gone("model"), "no config.json"),
    (EXPORT, fill("model/config.json", b"[]"), "no JSON object"),
    (EXPORT, fill("model/config.json", DEEP), "nested too deeply"),
    (EXPORT, change("model/config.json", model_type="bert"), "cannot be exported"),
    (EXPORT, cut("model/model.safetensors"), "cannot be loaded"),
    (EXPORT, change("model/config.json", num_hidden_layers=6), "do not fit config.json: .* missing"),
    (EXPORT, change("model/config.json", num_hidden_layers=2), "do not fit config.json: .* too many"),
    (EXPORT, change("model/config.json", intermediate_size=128), "do not fit config.json: .* missing"),
    (GENERATE, change("model/config.json", num_hidden_layers=2), "do not fit config.json: .* too many"),
    (ADAPTER, change(f"{CHECKPOINT}adapter_config.json", r=0), "the value of `r` is damaged"),
    (ADAPTER, change(f"{CHECKPOINT}adapter_config.json", lora_alpha="x"), "`lora_alpha` is damaged"),
    (ADAPTER, change(f"{CHECKPOINT}adapter_config.json", base_model_name_or_path=5), "is damaged"),
    (ADAPTER.replace("run/checkpoint-12", "nowhere"), None, "no adapter"),
    (ADAPTER, fill(f"{CHECKPOINT}adapter_config.json", b"[]"), "no JSON object"),
    (ADAPTER, cut(f"{CHECKPOINT}adapter_model.safetensors"), "no complete safetensors file"),
    (f"{ADAPTER} --base nowhere", None, "unknown model type"),
    (f"{STUDY} --seeds x", None, "list of numbers"),
    (STUDY.replace("reference", "none"), None, "unknown arm"),
    (STUDY, fill("study/study.json", JUNK), "study.json"),
    (STUDY, fill("study/study.json", b"[]"), "no JSON object"),
    (STUDY, fill("study/study.json", b"{}"), "another profile"),
    ("scripts.base_models --model-type nowhere", None, "unknown model type"),
    ("scripts.base_models --model-type junk.gguf", fill("junk.gguf", JUNK), "cannot be de-quantised"),
    (f"{AUGMENT} --provider nobody", None, "unknown provider"),
    (f"{AUGMENT} --provider local", None, "needs a model"),
    (f"{AUGMENT} --provider local --model nowhere", None, "unknown model type"),
    (f"{AUGMENT} --styles rude", None, "unknown style"),
    (f"{AUGMENT} --tries 0", None, "above 0"),
    (f"{AUGMENT} --provider gemini", None, "GOOGLE_API_KEY is not set"),
    (AUGMENT, fill(".env", "GOOGLE_API_KEY=é".encode("latin-1")), "not UTF-8"),
    (AUGMENT, fill(".env", "GOOGLE_API_KEY=abc".encode("utf-16")), "not UTF-8"),
    (AUGMENT, fill(".env", "GOOGLE_API_KEY=abc".encode("utf-16-le")), "not UTF-8"),
    (AUGMENT, fill(".env", "GOOGLE_API_KEY=\u201cabc\u201d".encode()), "no key has"),
    (AUGMENT, fill(".env", b'GOOGLE_API_KEY="ab\\nc"'), "no key has"),
    (AUGMENT, folder(".env"), "a folder, not a file"),
    (f"{PREFER} --samples 0", None, "--samples must be at least 1"),
    (f"{PREFER} --pairs 0", None, "--pairs must be at least 1"),
    (f"{PREFER} --beta 0", None, "--beta must be above 0"),
    (f"{PREFER} --generated nowhere", None, "no such folder"),
    (PREFER.replace("data pairs", "data steps.txt"), None, "cannot be written"),
    (PREFER.replace("start run", "start nowhere"), None, "no such checkpoint"),
    (PREFER.replace("type base", "type model"), None, "trained over another base"),
    (f"{PREFER} --start run/checkpoint-12", cut(f"{CHECKPOINT}adapter_model.safetensors"), "no complete"),
    ("scripts.leaderboard nowhere.json", None, "no such file"),
    ("scripts.leaderboard x.json", fill("x.json", JUNK), "not UTF-8"),
    ("scripts.leaderboard x.json", fill("x.json", b"[]"), "no JSON object"),
    ("scripts.leaderboard x.json", fill("x.json", b"{}"), "not a result of an evaluation"),
    ("scripts.leaderboard x.json --out data", None, "cannot be written"),
    ("scripts.import_problems aspuzzle nowhere --out out", None, ""),
    ("scripts.import_problems savanty data --out out", None, ""),
    ("scripts.import_problems other data --out out", None, "other"),
    ("scripts.data_generator --out steps.txt", None, "cannot be written"),
    ("scripts.data_generator --out out --problems 0", None, "cannot be written|1 or more"),
    ("scripts.data_generator --out out --level 9", None, "no level 9"),
    ("scripts.data_generator --out out --level 0", None, "no level 0"),
    ("scripts.data_generator --out out --level abc", None, "valid integer"),
    (f"{EVALUATE} --endpoint nowhere", None, "endpoint"),
    (f"{EVALUATE} --dry-run", None, "is for requests to an endpoint"),
    (f"{NOTEBOOKS} -p MAX_STEPS", None, "is not a parameter"),
    (f"{NOTEBOOKS} --only nothing", None, "no notebook"),
    (f"{NOTEBOOKS} --resume", fill("runs/smoke-20200101-000000/run.json", b"[]"), "no JSON object"),
    (
        f"{NOTEBOOKS} --resume",
        fill("runs/smoke-20200101-000000/run.json", b'{"done": []}'),
        "no state of a run",
    ),
]
AN_INPUT = "is an input, and would be lost"
LOST = [
    (GENERATE.replace("x.lp", "steps.txt"), None, AN_INPUT),
    (GENERATE.replace("x.lp", "problem.md"), None, AN_INPUT),
    (GENERATE.replace("x.lp", "model/config.json"), None, AN_INPUT),
    (GENERATE.replace("x.lp", "facts.lp") + " --instance facts.lp", None, AN_INPUT),
    (GENERATE.replace("x.lp", "link.lp"), link("link.lp", "steps.txt"), AN_INPUT),
    (GENERATE.replace("x.lp", "pipe"), lambda: os.mkfifo("pipe"), "no ordinary file"),
    (EVALUATE.replace("scores.json", SPLIT), None, "no result of an evaluation, and would be lost"),
    (EVALUATE.replace("scores.json", "model/config.json"), None, "no result of an evaluation"),
    (EVALUATE.replace("scores.json", "problem.md"), None, "not JSON"),
    (EVALUATE, fill("scores.json", JUNK), "not UTF-8"),
    (f"{EXPORT} --out model/config.json", None, "no GGUF file, and would be lost"),
    (f"{EXPORT} --out model/model.safetensors", None, "no GGUF file"),
    (f"{EXPORT} --out /dev/null", None, "no ordinary file"),
    (
        f"{FUSE} --step last",
        lambda: (
            shutil.copytree("run", "adapters/base_pytorch"),
            folder("local_models/ft_base_pytorch/mine")(),
        ),
        "no fused model, and would be lost",
    ),
    ("scripts.leaderboard x.json --out x.json", fill("x.json", b"{}"), AN_INPUT),
    ("scripts.leaderboard x.json --out x.png", fill("x.json", b"{}"), "name of the figure"),
    ("scripts.import_problems savanty set --out problems", None, "no JSON file"),
]
NUMBERS = [
    (f"{GENERATE} --samples 2 --temperature {value}", None, "temperature")
    for value in ("nan", "inf", "-1", "0", "1e-300")
]
NUMBERS += [
    (GENERATE.replace("tokens 4", "tokens 0"), None, "at least 1"),
    (f"{GENERATE} --k 1000", None, "from 0 to 999"),
    (f"{EVALUATE} --max-new-tokens -5", None, "at least 1"),
    (f"{EVALUATE} --k 99999999999999999999", None, "numbers below 1,000"),
    (f"{CONVERT} --problems 0", None, "at least 1"),
    (f"{CONVERT} --conversations -1", None, "at least 0"),
    (f"{CONVERT} --vocabularies -1", None, "at least 0"),
    *((f"{TRAIN} --learning-rate {value}", None, "learning rate") for value in ("nan", "-1", "0", "inf")),
    *((f"{TRAIN} --seed {value}", None, "the seed") for value in (-1, 2**70)),
    (f"{AUGMENT} --max-calls -1", None, "above 0"),
    (f"{AUGMENT} --per-minute nan", None, "above 0"),
    (STUDY.replace("--problems 1", "--problems 0"), None, "at least 1"),
]
TABLE = [*TEXT_FILES, *MODEL_FILES, *OUTPUTS, *LOST, *NUMBERS, *PROBLEMS, *TRAINING, *OTHERS]


@pytest.mark.parametrize(
    ("words", "spoil", "message"),
    TABLE,
    ids=[
        f"{number}-{words.split()[0].removeprefix('scripts.')}-{message}"
        for number, (words, _, message) in enumerate(TABLE)
    ],
)
def test_malformed_input_is_one_message_with_exit_code_2(
    work: Path, words: str, spoil: Callable[[], None] | None, message: str, capsys: pytest.CaptureFixture
):
    if spoil:
        spoil()
    before = {file: file.read_bytes() for file in work.rglob("*") if file.is_file()}
    code, text, output = run(words, capsys)
    assert code == 2, text
    assert [file for file, content in before.items() if file.read_bytes() != content] == [], "nothing is lost"
    assert "Traceback" not in text
    assert re.search(message, output), output
    assert len(re.findall(r"(?mi)^error: ", text)) <= 1


WRITERS = {
    TRAIN: ("adapters/model_pytorch", False),
    CONVERT: ("out", True),
    EVALUATE: ("scores.json", False),
    f"{AUGMENT} --provider local --model model": ("out", True),
    "scripts.own_errors --model model --benchmarks problems --data data --out out": ("out", True),
    PREFER: ("pairs", True),
    STUDY: ("study/study.json", False),
    f"{FUSE} --step last": ("local_models/ft_base_pytorch", False),
}
"""A command line → what it writes, and whether the lock is inside."""


@pytest.mark.parametrize(("words", "place"), WRITERS.items(), ids=[words.split()[0] for words in WRITERS])
def test_the_second_writer_is_told_who_the_first_is(
    work: Path, words: str, place: tuple[str, bool], capsys: pytest.CaptureFixture
):
    shutil.copytree("run", "adapters/base_pytorch")
    holder = hold(work / place[0], place[1])
    try:
        code, text, _ = run(words, capsys)
    finally:
        holder.kill()
        holder.wait()
    assert code == 2 and f"another process writes here: process {holder.pid} " in text
    with utils_ft.one_writer(work / place[0], inside=place[1]):
        pass  # the lock has ended with its process


def hold(path: Path, inside: bool) -> subprocess.Popen:
    """A process that writes to `path` until it is killed."""
    code = (
        "import sys, time; from utils_ft import one_writer\n"
        f"with one_writer(sys.argv[1], inside={inside}):\n    print('held', flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", code, str(path)]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_the_table_has_every_command_and_many_inputs():
    commands = {
        f"scripts.{file.stem}"
        for file in (Path(__file__).parents[1] / "scripts").glob("*.py")
        if "__main__" in file.read_text(encoding="utf-8")
    }
    without_mlx = commands - {
        "scripts.fuse_mlx",
        "scripts.train_mlx",
    }  # the same code, and MLX may be missing
    assert without_mlx <= {words.split()[0] for words, _, _ in TABLE}
    assert len(TABLE) >= 160
