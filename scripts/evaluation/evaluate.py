"""Evaluation of a model on problems: its parts in order, once for the same model, problems and settings."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.left_out import LeftOut, listing
from scripts.data.problems import Problem, held_out_families
from scripts.evaluation.grader import Grader, graders_of
from scripts.evaluation.items import Item, item_from_json
from scripts.evaluation.parts import score_loop, score_programs, score_repairs, score_steps
from scripts.evaluation.results import Results, Subject
from scripts.evaluation.samples import GROUP, score_samples
from scripts.evaluation.scores import EvaluationResult, Figures, summary
from scripts.evaluation.settings import DEFAULT_SETTINGS, WHOLE, EvaluationSettings, Part
from scripts.evaluation.whole import WholeTask, score_whole_programs, whole_tasks
from scripts.inference.endpoint_generator import PaidLimits, open_endpoint
from scripts.inference.examples import ExampleLibrary, with_shots
from scripts.inference.generator import load_generator
from scripts.inference.requests import MAX_NEW_TOKENS, TextGenerator
from scripts.lm.adapters import CONFIG, check_base
from scripts.lm.base_models import base_model
from scripts.lm.endpoint import Endpoint
from scripts.lm.loading import check_model_folder
from scripts.training import checkpoints
from scripts.training.adapter_formats import to_peft
from utils_ft import UserError, one_writer, read_json, show_path


def evaluate(
    generator: TextGenerator,
    problems: Sequence[Problem],
    settings: EvaluationSettings = DEFAULT_SETTINGS,
    results: Results | None = None,
) -> Figures:
    """Evaluate a model on `problems`: the figures, every item, and the seconds that each part took.

    With `results`, each part is stored when it is finished, and a stored part is not computed again. Problems
    that cannot be used are left out; the figures say why. UserError if none is left.
    """
    items: list[Item] = []
    seconds: Counter[str] = Counter()
    usage: Counter[str] = Counter(answers=0, prompt_tokens=0, answer_tokens=0)
    with Solver() as solver:
        work, stages = _Work(generator, problems, settings, solver), _stages(settings)
        work.prepare(stages)
        for stage in stages:
            for name, compute in _computations(stage, work, items):
                found = results.part(name, compute) if results else compute()
                items += [item_from_json(record) for record in found["items"]]
                seconds[stage.kind] += found["seconds"]
                usage.update(found["usage"])
    figures = summary(items, held_out_families(problems))
    for step in figures["untested"]:
        print(f"not counted, {step['reason']}: {step['problem']}, {step['part']} {step['index']}", flush=True)
    figures["left_out"] = [entry.as_json() for entry in work.left_out]
    seconds_by_kind = {kind: round(total, 1) for kind, total in seconds.items()}
    return figures | {"seconds": seconds_by_kind, "usage": dict(usage)}


@dataclass
class _Work:
    """What all stages of an evaluation use. `left_out` are the problems that cannot be graded."""

    generator: TextGenerator
    problems: Sequence[Problem]
    settings: EvaluationSettings
    solver: Solver
    left_out: list[LeftOut] = field(default_factory=list)

    graders: list[Grader] = field(default_factory=list)
    whole_tasks: list[WholeTask] = field(default_factory=list)

    def prepare(self, stages: Sequence[Part]) -> None:
        """Make what the stages need, and list the problems that cannot be graded."""
        kinds = {stage.kind for stage in stages}
        if kinds != {"whole"}:
            self.graders, self.left_out = graders_of(self.problems, self.solver)
        if "whole" in kinds:
            self.whole_tasks, entries = whole_tasks(self.problems, self.solver)
            known = [entry.as_json() for entry in self.left_out]
            self.left_out += [entry for entry in entries if entry.as_json() not in known]
        if text := listing(self.left_out):
            print(text, flush=True)


def _stages(settings: EvaluationSettings) -> list[Part]:
    """What is computed and stored together, in order. One stage has all loops, which share their attempts."""
    stages = [Part("steps"), Part("repair"), *settings.program_parts, Part("samples"), Part("whole")]
    if settings.loop_parts:
        stages.insert(1, Part("loop"))
    return [stage for stage in stages if stage.kind in settings.parts]


def _computations(
    stage: Part, work: _Work, before: Sequence[Item]
) -> Iterator[tuple[str, Callable[[], dict]]]:
    """What is computed and stored at once, by name: a whole stage, or the samples of a few problems."""
    if stage.kind != "samples":
        yield stage.name, partial(_run_stage, stage, work, before)
        return
    with tqdm(total=len(work.graders), desc="samples", unit="problem", disable=None) as bar:
        for start in range(0, len(work.graders), GROUP):
            some = replace(work, graders=work.graders[start : start + GROUP])
            yield f"samples {start}", partial(_run_stage, stage, some, before)
            bar.update(len(some.graders))


def _run_stage(stage: Part, work: _Work, before: Sequence[Item]) -> dict:
    """The items of a stage as JSON, the seconds it took, and the answers and tokens.

    `before` are the items of the stages before it.
    """
    generator, settings = work.generator, work.settings
    start, used = time.perf_counter(), Counter(generator.usage)
    if stage.kind == "steps":
        items = score_steps(generator, work.graders)
    elif stage.kind == "loop":
        drafts = [item.output for item in before if item.part.kind == "steps"]
        items = score_loop(generator, work.graders, settings.loop_parts, drafts)
    elif stage.kind == "repair":
        items = score_repairs(generator, work.graders, settings.seed, prompt=settings.repair_prompt)
    elif stage.kind == "programs":
        items = score_programs(generator, work.graders, stage)
    elif stage.kind == "samples":
        items = score_samples(generator, work.graders, settings.samples)
    else:
        longest = WHOLE * settings.max_new_tokens
        items = score_whole_programs(generator.for_programs(longest), work.whole_tasks, work.solver)
    return {
        "items": [item.as_json() for item in items],
        "seconds": time.perf_counter() - start,
        "usage": dict(generator.usage - used),
    }


def evaluate_once(
    out: Path,
    model: Path,
    problems: Sequence[Problem],
    settings: EvaluationSettings = DEFAULT_SETTINGS,
    adapter: Path | None = None,
    unreadable: Sequence[LeftOut] = (),
) -> EvaluationResult:
    """Evaluate a model folder, with an adapter over it, and write the result to `out`.

    If `out` has the result for the same weights, problems, settings and scoring version, it is returned as
    it is. An interrupted evaluation continues after the parts that were finished. `unreadable` problems are
    listed in the result with those that are left out. UserError if another process writes to `out`.
    """
    check_model_folder(model)
    load = partial(
        load_generator,
        model,
        adapter,
        settings.max_new_tokens,
        settings.grammar,
        settings.temperature,
        settings.seed,
    )
    library = ExampleLibrary.of_training_problems() if settings.shots else None
    subject = Subject(model, adapter, problems, settings.as_json(), library.digest if library else "")
    with_examples = partial(_few_shot, load, library, settings.shots)
    return _evaluate_subject(out, subject, settings, with_examples, unreadable)


def _few_shot(load: Callable[[], TextGenerator], library: ExampleLibrary | None, shots: int) -> TextGenerator:
    return with_shots(load(), library, shots)


def evaluate_endpoint(
    out: Path,
    endpoint: Endpoint,
    problems: Sequence[Problem],
    settings: EvaluationSettings,
    paid: PaidLimits,
    unreadable: Sequence[LeftOut] = (),
) -> EvaluationResult | None:
    """Evaluate a model behind an endpoint and write the result to `out`, as `evaluate_once` does.

    In a dry run, print the number of requests and their tokens instead, and return None. Then the repair loop
    is left out, as nobody knows how many repairs it will ask for.

    Raises:
        UserError: A limit is reached, or the endpoint cannot be used. Answers that have arrived are kept.
    """
    library = ExampleLibrary.of_training_problems() if settings.shots else None
    subject = Subject(endpoint, None, problems, settings.as_json(), library.digest if library else "")
    drawn = settings.max_new_tokens, settings.temperature, settings.seed
    with open_endpoint(endpoint, paid, *drawn) as remote:
        generator = with_shots(remote, library, settings.shots)
        if paid.dry_run:
            evaluate(generator, problems, replace(settings, k=(0,)))
            print(f"{remote.spent}; up to {max(settings.k)} repairs of each rejected answer come on top")
            return None
        result = _evaluate_subject(out, subject, settings, lambda: generator, unreadable)
        print(remote.spent)
        return result


def _evaluate_subject(
    out: Path,
    subject: Subject,
    settings: EvaluationSettings,
    load: Callable[[], TextGenerator],
    unreadable: Sequence[LeftOut],
) -> EvaluationResult:
    """The result in `out`, or else the evaluation of a subject with the generator that `load` returns."""
    results = Results(out, subject.identity)
    if done := results.finished():
        print(f"already scored: {show_path(out)}", flush=True)
        return done
    with one_writer(out):
        figures = evaluate(load(), subject.problems, settings, results)
        figures["left_out"] = [*(entry.as_json() for entry in unreadable), *figures["left_out"]]
        return results.finish(subject.as_json() | figures)


def score_checkpoints(
    run: Path,
    problems: Sequence[Problem],
    model: Path | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> dict[int, EvaluationResult]:
    """Evaluate the steps of each checkpoint of a run, greedily; training step → result.

    The results are stored as `scores-<step>.json` in the run folder, and their rates with the checkpoints,
    where `checkpoints.table` reads them.

    Args:
        run: The run folder.
        problems: Validation problems.
        model: Folder of the base model; None for the one that the adapter names.
        max_new_tokens: Tokens of an answer, at most.

    Raises:
        UserError: The run has no complete checkpoint.
    """
    found = checkpoints.checkpoints(run)
    if not found:
        raise UserError(
            "there is no complete checkpoint",
            where=run,
            remedy="train first, or run the training again to resume it",
        )
    settings = EvaluationSettings(parts=("steps",), max_new_tokens=max_new_tokens)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for checkpoint in tqdm(found, desc="checkpoints", unit="checkpoint", disable=None):
            adapter = checkpoint.path
            if adapter.is_file():  # of MLX: one file, which PyTorch can read after a conversion
                adapter = to_peft(adapter, Path(scratch) / str(checkpoint.step), model)
            out = run / f"scores-{checkpoint.step}.json"
            base = model or _base_of(adapter)
            check_base(checkpoint.path, base)
            result = evaluate_once(out, base, problems, settings, adapter)
            score = checkpoints.CheckpointScore(checkpoint.step, result["steps"], settings=result["asked"])
            checkpoints.write_score(run, score)
            results[checkpoint.step] = result
    return results


def _base_of(adapter: Path) -> Path:
    """The folder of the base model that an adapter names."""
    remedy = "name the base model with --model"
    named = read_json(adapter / CONFIG, remedy).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise UserError("the adapter names no base model", where=adapter / CONFIG, remedy=remedy)
    return base_model(named)
