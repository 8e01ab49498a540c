"""Scores given by the solver: single steps, repairs, and whole programs, on any folder of problems.

    python -m scripts.evaluate --model DIR [--adapter DIR] --benchmarks DIR --out FILE.json [--k 0,3] [--samples 4] [--grammar]
    python -m scripts.evaluate --run adapters/smollm_pytorch          every checkpoint of a run, on validation problems

Steps are written with the gold history before them, once by the plain model and once with the solver in the loop;
programs on their own history. `judge` decides what is right, `scores` makes the figures.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random

from tqdm.auto import tqdm

from scripts.asp.comparison import Relation, compare
from scripts.asp.solver import Request, Solver
from scripts.data.problems import Problem, held_out_families
from scripts.data.renamed_problems import RenamedProblem
from scripts.data.repairs import RepairMaker
from scripts.evaluation.grader import Grader, Item, graders_of
from scripts.evaluation.results import kept_in, once
from scripts.evaluation.scores import summary
from scripts.inference.attempts import Attempt, check
from scripts.inference.generator import Generator, load_generator
from scripts.inference.programs import program_text, write_programs
from scripts.inference.repair_loop import LoopSettings, write_steps
from scripts.inference.requests import MAX_NEW_TOKENS, StepRequest, Task
from scripts.lm import prompts
from scripts.lm.base_models import base_model
from scripts.training import checkpoints
from scripts.training.adapter_formats import to_peft
from utils_ft import UserError, content_hash, write_json

PARTS = ("steps", "loop", "repair", "programs")
REPAIRS = 8  # a problem
NOT_WITH_RUN = ("out", "adapter", "split", "parts", "k", "samples", "temperature", "grammar", "seed")


def name_of(k: int, samples: int) -> str:
    """What a setting of the loop is called in the figures."""
    return f"k{k}" + (f"n{samples}" if samples > 1 else "")


def score_steps(generator: Generator, graders: Sequence[Grader]) -> list[Item]:
    """Every step of every problem, with the gold history before it."""
    asked = [(grader, index, ask) for grader in graders for index, ask in enumerate(grader.requests())]
    requests = [ask for _, _, ask in asked]
    with tqdm(total=len(requests), desc="steps", unit="step", disable=None) as bar:
        outputs = generator.generate([ask.messages for ask in requests], bar.update)
    return [
        grader.step_item("steps", index, ask.instruction, output)
        for (grader, index, ask), output in zip(asked, outputs, strict=True)
    ]


def score_loop(
    generator: Generator,
    graders: Sequence[Grader],
    ks: Sequence[int],
    samples: int = 1,
    drafts: Sequence[str] | None = None,
) -> list[Item]:
    """The same steps with the solver in the loop, for each k. `drafts` are the plain model's answers where they are known."""
    asked = [(grader, index, ask) for grader in graders for index, ask in enumerate(grader.loop_requests())]
    requests = [ask for _, _, ask in asked]
    with tqdm(total=len(requests), desc="steps in the loop", unit="step", disable=None) as bar:
        written = write_steps(
            generator,
            [
                replace(ask, draft=text)
                for ask, text in zip(requests, drafts or [None] * len(requests), strict=True)
            ],
            LoopSettings(max(ks), samples),
            graders[0].solver,
            on_done=bar.update,
        )
    return [
        grader.step_item(
            f"loop {name_of(k, samples)}",
            index,
            ask.instruction,
            step.after(k).output,
            min(k + 1, len(step.attempts)),
        )
        for k in ks
        for (grader, index, ask), step in zip(asked, written, strict=True)
    ]


def score_repairs(
    generator: Generator, graders: Sequence[Grader], seed: int = 0, limit: int = REPAIRS
) -> list[Item]:
    """Repair turns on corrupted gold steps, made as the training data is; `ground` says whether the error is gone."""
    requests, where = [], []
    for grader in graders:
        rng = Random(content_hash("evaluate", str(seed), grader.problem.id))
        for row in RepairMaker(RenamedProblem(grader.problem), grader.solver).rows(limit, rng):
            messages, meta = row["messages"][:-1], row["meta"]
            requests.append(
                StepRequest(
                    messages, messages[-1]["content"], meta["context"], meta["corruption"] == "unsatisfiable"
                )
            )
            where.append((grader, meta))
    with tqdm(total=len(requests), desc="repairs", unit="repair", disable=None) as bar:
        outputs = generator.generate([ask.messages for ask in requests], bar.update)
    attempts = check(requests, outputs, graders[0].solver)
    differ = [index for index, (_, meta) in enumerate(where) if meta["corruption"] == "answer sets differ"]
    same = dict(
        zip(
            differ,
            _same_sets([(where[index][1], attempts[index].code) for index in differ], graders[0].solver),
            strict=True,
        )
    )
    items = []
    for index, ((grader, meta), ask, found) in enumerate(zip(where, requests, attempts, strict=True)):
        item = grader.step_item("repair", meta["step"], ask.instruction, found.output)
        changed = _is_changed(meta["broken"], found)
        fixed = changed and not found.message and same.get(index, True)
        items.append(
            replace(
                item, ground=fixed, equivalent=item.equivalent and changed, constructs=(meta["corruption"],)
            )
        )
    return items


def _is_changed(broken: str, found: Attempt) -> bool:
    """Whether an answer is another code than the broken one, or the same without its fence: ours to strip, not to mend."""
    code, fenced = prompts.code_of(broken)
    return found.code != code or (fenced and not found.fenced)


def _same_sets(pairs: Sequence[tuple[dict, str]], solver: Solver) -> list[bool]:
    """Whether each code has, in the context of its repair, the answer sets of the fix."""
    requests = [
        Request(meta["context"] + text, solve=True) for meta, code in pairs for text in (meta["fixed"], code)
    ]
    outcomes = list(solver.run(requests))
    return [
        compare([right], [got]).relation is Relation.EQUAL
        for right, got in zip(outcomes[::2], outcomes[1::2], strict=True)
    ]


def score_programs(generator: Generator, graders: Sequence[Grader], k: int, samples: int = 1) -> list[Item]:
    """Whole programs, each written on its own history with up to `k` repairs a step.

    With the loop a refused step is left out, so that nearly every program parses: what counts is whether it is equivalent.
    """
    tasks = [
        Task(
            grader.problem.description,
            tuple(step.instruction for step in grader.steps),
            grader.facts,
            grader.variant.given,
        )
        for grader in graders
    ]
    name = f"programs {name_of(k, samples)}"
    with tqdm(
        total=sum(len(task.instructions) for task in tasks), desc=name, unit="step", disable=None
    ) as bar:
        programs = write_programs(
            generator, tasks, LoopSettings(k, samples), graders[0].solver, lambda *_: bar.update()
        )
    looped = k > 0 or samples > 1  # the plain model has no solver that could leave a step out
    return [
        grader.program_item(
            name, program_text(task, steps, only_accepted=looped), sum(len(step.attempts) for step in steps)
        )
        for grader, task, steps in zip(graders, tasks, programs, strict=True)
    ]


# --- the whole --------------------------------------------------------------------------------------------------


def evaluate(
    generator: Generator,
    problems: Sequence[Problem],
    parts: Sequence[str] = PARTS,
    ks: Sequence[int] = (0, 3),
    seed: int = 0,
    samples: int = 1,
    kept: Callable[[str, Callable[[], dict]], dict] = lambda _, score: score(),
) -> dict:
    """Score a model on `problems`; the figures, every single item, and the seconds that each part took.

    `kept(name, score)` returns what `score` finds for a part, or what it found before an interruption.
    """
    items: list[Item] = []
    seconds: Counter[str] = Counter()
    looped = [k for k in ks if k or samples > 1]

    def timed(score: Callable[[], list[Item]]) -> dict:
        start = time.perf_counter()
        return {"items": [asdict(item) for item in score()], "seconds": time.perf_counter() - start}

    with Solver() as solver:
        graders = graders_of(problems, solver)
        work: list[tuple[str, str, Callable[[], list[Item]]]] = [
            ("steps", "steps", lambda: score_steps(generator, graders)),
            (
                "loop",
                "loop",
                lambda: (
                    score_loop(generator, graders, looped, samples, [item.output for item in items])
                    if looped
                    else []
                ),
            ),
            ("repair", "repair", lambda: score_repairs(generator, graders, seed)),
            *(
                ("programs", f"programs-k{k}", partial(score_programs, generator, graders, k, samples))
                for k in ks
            ),
        ]
        for part, name, score in work:
            if part in parts:
                found = kept(name, partial(timed, score))
                items += [Item(**item | {"constructs": tuple(item["constructs"])}) for item in found["items"]]
                seconds[part] += found["seconds"]
    taken = {part: round(total, 1) for part, total in seconds.items()}
    return summary(items, held_out_families(problems)) | {"seconds": taken}


def evaluate_once(
    out: Path,
    model: Path,
    problems: Sequence[Problem],
    parts: Sequence[str] = PARTS,
    adapter: Path | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    ks: Sequence[int] = (0, 3),
    seed: int = 0,
    samples: int = 1,
    temperature: float = 0.8,
    grammar: bool = False,
) -> dict:
    """Like `evaluate`, kept in `out`: the same model, problems and settings are not scored a second time.

    Until all is scored, the parts that are lie in `out.parts`, so that an interrupted evaluation goes on after them.
    """
    settings = {
        "parts": list(parts),
        "k": list(ks),
        "samples": samples,
        "temperature": temperature,
        "grammar": grammar,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    scored = out.with_name(f"{out.name}.parts")

    def score(identity: str) -> dict:
        def kept(name: str, score: Callable[[], dict]) -> dict:
            found = kept_in(scored / f"{name}.json", identity)
            if not found:
                found = {"identity": identity, **score()}
                write_json(scored / f"{name}.json", found)
            return found

        return evaluate(
            load_generator(model, adapter, max_new_tokens, grammar, temperature, seed),
            problems,
            parts,
            ks,
            seed,
            samples,
            kept,
        )

    result = once(out, model, adapter, problems, settings, score)
    shutil.rmtree(scored, ignore_errors=True)
    return result


def score_checkpoints(
    run: Path,
    problems: Sequence[Problem],
    model: Path | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> dict[int, dict]:
    """Score the steps of each checkpoint of a run, kept as `scores-<step>.json` in it; step → figures.

    Without `model` the base is the one that the adapter names. UserError where there is no whole checkpoint.
    """
    found = checkpoints.checkpoints(run)
    if not found:
        raise UserError(
            "there is no whole checkpoint",
            where=run,
            remedy="train first, or run the training again to resume it",
        )
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for checkpoint in tqdm(found, desc="checkpoints", unit="checkpoint", disable=None):
            adapter = checkpoint.path
            if (
                adapter.is_file()
            ):  # MLX keeps a checkpoint in one file, which PyTorch reads after a conversion
                adapter = to_peft(adapter, Path(scratch) / str(checkpoint.step), model)
            base = model or base_model(
                json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))[
                    "base_model_name_or_path"
                ]
            )
            out = run / f"scores-{checkpoint.step}.json"
            results[checkpoint.step] = evaluate_once(out, base, problems, ("steps",), adapter, max_new_tokens)
    return results
