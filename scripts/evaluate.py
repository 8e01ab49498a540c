"""Score a model on problems with the solver.

python -m scripts.evaluate --model DIR [--adapter DIR] --benchmarks DIR --out FILE.json
python -m scripts.evaluate --endpoint http://127.0.0.1:8000/v1 --model NAME --out FILE.json
python -m scripts.evaluate --run adapters/smollm_pytorch
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scripts.data.rows import SPLITS
from scripts.evaluation.settings import DEFAULT_SETTINGS, KINDS, EvaluationSettings
from scripts.lm.prompts import REPAIR_PROMPTS
from utils_ft import BENCHMARKS, DATA, UserError, check_writable, command, show_path

if TYPE_CHECKING:
    from scripts.data.left_out import LeftOut
    from scripts.data.problems import Problem

PARTS = ",".join(DEFAULT_SETTINGS.parts)
K = ",".join(map(str, DEFAULT_SETTINGS.k))


def main(
    model: str | None = None,
    out: Path | None = None,
    benchmarks: Path = BENCHMARKS,
    adapter: Path | None = None,
    run: Path | None = None,
    split: str = "auto",
    parts: str = PARTS,
    problems: int | None = None,
    k: str = K,
    samples: int = DEFAULT_SETTINGS.samples,
    temperature: float = DEFAULT_SETTINGS.temperature,
    grammar: bool = False,
    max_new_tokens: int = DEFAULT_SETTINGS.max_new_tokens,
    seed: int = 0,
    strict: bool = False,
    shots: int = 0,
    repair_prompt: str = DEFAULT_SETTINGS.repair_prompt,
    endpoint: str | None = None,
    workers: int = 8,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    answers: Path = DATA / "answers",
    dry_run: bool = False,
) -> None:
    """Score a model on problems and write all figures and answers to a JSON file (docs/evaluation.md).

    Problems that cannot be used are left out and listed, each with file, line and remedy.

    With --endpoint, the model is behind an address that speaks OpenAI's chat completions. Its key, if it
    needs one, is ENDPOINT_API_KEY in .env. Every answer is kept as soon as it arrives, so that the same
    command continues an interrupted run and pays for no answer twice.

    With --run, score the steps of each checkpoint of a training run instead, greedily and on validation
    problems. A checkpoint that is chosen on test problems could not be scored on them.

    Arguments:
        model: Folder of the model; with --endpoint its name there. With --run, the base model; by default the
            one that the adapter names.
        out: JSON file for the figures. If it has the scores of the same model, problems and settings, they
            are kept.
        benchmarks: Folder of problems.
        adapter: Folder of a LoRA checkpoint over the model.
        run: Run folder, such as adapters/smollm_pytorch. Only --model, --benchmarks, --problems and --max-
            new-tokens may be given with it.
        split: test, valid, train or all. auto is test if the folder has a split.json, and all otherwise.
        parts: What to score, with commas between: steps, loop (steps with the repair loop), repair,
            programs, samples (--samples random answers to each step: how often one is right, and which one
            would be chosen), whole (a program in one answer, from the description alone).
        problems: Problems to score, spread over the families. By default all of the split.
        k: Repairs of a step, at most, with commas between; loop and programs are scored once for each
            number.
        samples: Answers to each prompt in loop, programs and samples. In loop and programs the first is
            greedy, and the checks and a vote choose one.
        temperature: Temperature of the samples.
        grammar: Let the model write well-formed statements only.
        max_new_tokens: Tokens of an answer, at most; 8 times as many for whole.
        seed: Seed of the samples and of the repairs that are asked.
        strict: Exit with code 2 at the end if a problem was left out.
        shots: Solved steps of training problems before each step, for models that were not fine-tuned.
        repair_prompt: How loop, repair and programs ask for a repair. turn: an independent turn with
            instruction, code and solver message. conversation: it goes on in the conversation of the step.
        endpoint: Base address of a server that speaks OpenAI's chat completions.
        workers: Requests to the endpoint at the same time.
        max_calls: Requests of this run, at most; it then ends, and the same command continues it.
        max_tokens: Tokens of this run, at most; it then ends, and the same command continues it.
        answers: Folder of the kept answers of endpoints.
        dry_run: Print the number of requests and an estimate of their tokens, and make none.
    """
    if run:
        _refuse_with_run(
            {
                "out": out is not None,
                "adapter": adapter is not None,
                "split": split != "auto",
                "parts": parts != PARTS,
                "k": k != K,
                "samples": samples != DEFAULT_SETTINGS.samples,
                "temperature": temperature != DEFAULT_SETTINGS.temperature,
                "grammar": grammar,
                "seed": seed != 0,
                "strict": strict,
                "shots": shots != 0,
                "repair-prompt": repair_prompt != DEFAULT_SETTINGS.repair_prompt,
                "endpoint": endpoint is not None,
            }
        )
        _score_run(run, benchmarks, problems, Path(model) if model else None, max_new_tokens)
        return
    if model is None or out is None:
        raise UserError(
            "--model and --out are needed",
            remedy="or --run adapters/<type>_pytorch for the checkpoints of a run",
        )
    settings = EvaluationSettings(
        _read_parts(parts),
        _read_k(k),
        samples,
        temperature,
        grammar,
        max_new_tokens,
        seed,
        shots,
        repair_prompt,
    )
    _check(settings)
    limits = {"max_calls": max_calls, "max_tokens": max_tokens, "dry_run": dry_run}
    refuse_with_endpoint({"adapter": adapter, "grammar": grammar}) if endpoint else refuse_without(limits)
    chosen, unreadable = _problems(benchmarks, split, problems)
    check_writable(out)

    from scripts.evaluation.evaluate import evaluate_endpoint, evaluate_once
    from scripts.evaluation.results import check_result_file
    from scripts.evaluation.tables import scores_table

    check_result_file(out)
    if endpoint:
        from scripts.inference.endpoint_generator import PaidLimits
        from scripts.lm.endpoint import read_endpoint

        remote, paid = read_endpoint(endpoint, model), PaidLimits(workers=workers, answers=answers, **limits)
        result = evaluate_endpoint(out, remote, chosen, settings, paid, unreadable)
        if dry_run:
            return
    else:
        result = evaluate_once(out, Path(model), chosen, settings, adapter, unreadable)
    print(scores_table({"": result}).drop(columns="model").to_string(index=False))
    print(show_path(out))
    if strict and result["left_out"]:
        raise typer.Exit(2)


def refuse_with_endpoint(given: Mapping[str, object]) -> None:
    """UserError if an option is given that needs the weights of the model."""
    if idle := [f"--{name}" for name, value in given.items() if value]:
        raise UserError(
            f"{idle[0]} needs the weights of the model, and an endpoint does not give them",
            remedy=f"leave out {' and '.join(idle)}",
        )


def refuse_without(given: Mapping[str, object]) -> None:
    """UserError if an option is given that has an effect with --endpoint only."""
    if idle := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise UserError(
            f"{' and '.join(idle)} is for requests to an endpoint",
            remedy="name the endpoint with --endpoint URL, or leave the option out",
        )


def _refuse_with_run(given: Mapping[str, bool]) -> None:
    """UserError if an option is given that has no effect with --run."""
    idle = [f"--{name}" for name, is_given in given.items() if is_given]
    if idle:
        raise UserError(
            "with --run the steps of every checkpoint are scored, greedily, on validation problems, "
            "and nothing else",
            remedy=f"leave out {' and '.join(idle)}",
        )


def _score_run(
    run: Path, benchmarks: Path, problems: int | None, model: Path | None, max_new_tokens: int
) -> None:
    """Score the checkpoints of a run and print its table."""
    from scripts.evaluation.evaluate import score_checkpoints
    from scripts.training import checkpoints

    if not run.is_dir():
        raise UserError("no such folder", where=run, remedy="name a run, such as adapters/smollm_pytorch")
    chosen, _ = _problems(benchmarks, "valid", problems)
    check_writable(run, folder=True)
    score_checkpoints(run, chosen, model, max_new_tokens)
    print(checkpoints.table(run).to_string(index=False))


def _read_parts(parts: str) -> tuple[str, ...]:
    """The parts in a list with commas. UserError for an unknown one."""
    wanted = tuple(part.strip() for part in parts.split(","))
    if unknown := sorted(set(wanted) - set(KINDS)):
        raise UserError(f"unknown part {unknown[0]!r}", remedy=f"some of {', '.join(KINDS)}")
    return wanted


def _read_k(text: str) -> tuple[int, ...]:
    """The numbers in a list with commas, each once. UserError for anything else."""
    numbers = [number.strip() for number in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,3}", number) for number in numbers):
        raise UserError(f"--k is a list of numbers below 1,000, not {text!r}", remedy="write --k 0,3")
    return tuple(dict.fromkeys(map(int, numbers)))


def _check(settings: EvaluationSettings) -> None:
    """UserError for settings that would score nothing."""
    if settings.shots < 0:
        raise UserError(f"--shots must be at least 0, not {settings.shots}", remedy="write --shots 4")
    if settings.samples < 1:
        raise UserError(f"--samples must be at least 1, not {settings.samples}", remedy="write --samples 4")
    check_repair_prompt(settings.repair_prompt)
    if "samples" in settings.parts and settings.samples < 2:
        raise UserError("the part samples draws several answers to each step", remedy="write --samples 16")
    if settings.parts == ("loop",) and not settings.loop_parts:
        raise UserError(
            "a loop without repairs and without samples is the plain model",
            remedy="write --k 3, or --parts steps",
        )


def check_repair_prompt(repair_prompt: str) -> None:
    """UserError for an unknown way to ask for repairs."""
    if repair_prompt not in REPAIR_PROMPTS:
        raise UserError(
            f"there is no repair prompt {repair_prompt!r}", remedy=f"one of {', '.join(REPAIR_PROMPTS)}"
        )


def _problems(benchmarks: Path, split: str, limit: int | None) -> tuple[list[Problem], Sequence[LeftOut]]:
    """The problems to score, and those that cannot be read. Prints both and the split of the folder.

    UserError for an unknown split.
    """
    from scripts.data.left_out import listing
    from scripts.data.problems import read_collection, some_of_split

    if split not in (*SPLITS, "all", "auto"):
        raise UserError(f"there is no split {split!r}", remedy=f"one of {', '.join(SPLITS)}, all or auto")
    collection = read_collection(benchmarks)
    print(collection.describe_split(), flush=True)
    if text := listing(collection.left_out):
        print(text, flush=True)
    if split == "auto":
        split = "test" if collection.split_file else "all"
    return some_of_split(collection, benchmarks, split, limit), collection.left_out


if __name__ == "__main__":
    command(main)()
