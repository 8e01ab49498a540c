"""Train a checkpoint further on its own right and wrong answers, as the solver grades them.

    python -m scripts.train_preferences --model-type smollm --generated data/generated
    python -m scripts.train_preferences --profile smoke --dry-run

The pairs go into `preferences/` in the folder of the profile's data, the checkpoints into
`adapters/<type>_preferences/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts.training.recipe import load_profile
from utils_ft import BENCHMARKS, check_writable, command, show_path

if TYPE_CHECKING:
    from scripts.data.problems import Problem
    from scripts.data.settings import PairSettings
    from scripts.evaluation.preference_pairs import ModelAndProblems
    from scripts.training.preferences import Start
    from scripts.training.recipe import PreferenceRecipe, Recipe
    from scripts.training.run import RunOptions

    Recipes = tuple[Recipe, PreferenceRecipe]


def main(
    profile: str | None = None,
    model_type: str | None = None,
    start: Path | None = None,
    benchmarks: Path = BENCHMARKS,
    generated: Path | None = None,
    problems: int | None = None,
    samples: int | None = None,
    temperature: float | None = None,
    pairs: int | None = None,
    gold: bool | None = None,
    max_new_tokens: int | None = None,
    data: Path | None = None,
    run: Path | None = None,
    beta: float | None = None,
    sft_weight: float | None = None,
    pairs_per_step: int | None = None,
    max_steps: int | None = None,
    learning_rate: float | None = None,
    max_tokens: int | None = None,
    qlora: bool | None = None,
    seed: int | None = None,
    resume: bool = True,
    report_to: str = "none",
    dry_run: bool = False,
) -> None:
    """Train a checkpoint further on pairs of a right and a wrong answer, with DPO.

    First the model answers the steps of training problems several times. The solver grades each answer: it is
    right if all answer sets of all instances stay the same, also with other constants in the facts. A step
    with right and wrong answers gives pairs. Then training continues from the checkpoint. Problems for
    validation and test are never asked.

    An interrupted command continues when it is run again. The run is like any other: evaluate --run scores
    its checkpoints, fuse --run merges one.

    Arguments:
        profile: The profile: smoke, demo, small or full. By default FT_PROFILE, else the one for the model,
            else demo.
        model_type: The base model, as in train_pytorch. By default the profile's.
        start: The checkpoint that is trained further, or a run, whose best checkpoint is taken. By default
            adapters/<type>_pytorch.
        benchmarks: Folder of problems. Those of its training split are asked.
        generated: A folder that scripts.data_generator wrote. Its problems are asked in place of those of
            --benchmarks.
        problems: Problems that are asked, at most. By default the profile's, else all.
        samples: Answers to each step. The first is greedy.
        temperature: Temperature of the samples.
        pairs: Pairs of one step, at most.
        gold: Take the gold rule as the right answer to a step that the model never wrote right.
        max_new_tokens: Tokens of an answer, at most.
        data: Folder of the pairs. By default preferences in the folder of the profile's data.
        run: Folder of the run. By default adapters/<type>_preferences.
        beta: How much a difference from the first checkpoint costs. A larger beta keeps the model closer to
            it.
        sft_weight: Weight of the ordinary loss on the right answers, which is added to that of the pairs.
        pairs_per_step: Pairs in one training step.
        max_steps: Training steps. By default as many as see each pair once.
        learning_rate: The highest learning rate. By default a twentieth of the profile's.
        max_tokens: The longest prompt with its answer, in tokens. A longer pair is left out.
        qlora: Hold the base model in 4 bits (NF4) while the adapters are trained.
        seed: Seeds the samples and the order of the pairs.
        resume: Resume a run that is in the folder. With --no-resume it is moved aside.
        report_to: An experiment tracker: tensorboard, wandb, mlflow or none. Several with commas.
        dry_run: Print how many answers would be drawn and what would be trained, and stop.
    """
    chosen = load_profile(profile, model_type)
    model_type, data = model_type or chosen.model_type, data or chosen.data / "preferences"
    drawn = chosen.pairs.override(
        samples=samples,
        temperature=temperature,
        pairs=pairs,
        gold=gold,
        seed=seed,
        max_new_tokens=max_new_tokens,
    )
    preferences = chosen.preferences.override(
        beta=beta,
        sft_weight=sft_weight,
        pairs_per_step=pairs_per_step,
        max_steps=max_steps,
        learning_rate=learning_rate,
    )
    recipe = chosen.recipe.override(qlora=qlora, seed=seed, max_tokens=max_tokens)
    asked = _problems(benchmarks, generated, problems or chosen.problems)
    check_writable(data, folder=True)

    from scripts.evaluation.preference_pairs import ModelAndProblems
    from scripts.lm.base_models import base_model
    from scripts.training.preferences import Start
    from scripts.training.run import RunOptions

    first = Start.of(model_type, start)
    source = ModelAndProblems(base_model(model_type), first.folder, asked)
    if dry_run:
        _describe(source, data, drawn, first, (recipe, preferences))
        return
    _train(source, data, drawn, first, (recipe, preferences), RunOptions(resume, run), report_to)


def _problems(benchmarks: Path, generated: Path | None, limit: int | None) -> list[Problem]:
    """The problems that are asked. None is for validation or test.

    UserError if a generated problem is one of the collection, or its twin in another split.
    """
    from scripts.data.left_out import listing
    from scripts.data.problems import read_collection, some_of_split
    from scripts.data.twins import check_split
    from utils_ft import evenly_spaced

    collection = read_collection(benchmarks)
    if generated:
        collection = collection.with_generated(generated)
        check_split(collection.problems, collection.splits, generated)
    print(collection.describe_split(), flush=True)
    if text := listing(collection.left_out):
        print(text, flush=True)
    if not generated:
        return some_of_split(collection, benchmarks, "train", limit)
    chosen = [problem for problem in collection.problems if problem.id in collection.generated]
    return evenly_spaced(chosen, limit or len(chosen))


def _describe(
    source: ModelAndProblems, data: Path, drawn: PairSettings, first: Start, recipes: Recipes
) -> None:
    """Print what the command would do."""
    from scripts.evaluation.preference_pairs import existing_pairs
    from scripts.training.preferences import PreferenceRun, describe
    from scripts.training.run import RunOptions

    print(f"start    {show_path(first.folder)}")
    steps = sum(len(problem.encoding.instructed) for problem in source.problems)
    print(
        f"answers  {steps * drawn.samples:,}, {drawn.samples} to each of {steps:,} steps "
        f"of {len(source.problems):,} problems"
    )
    found = existing_pairs(source, data, drawn)
    if found is None:
        print("pairs    not made yet; when they are, --dry-run says what the training needs")
    else:
        print(describe(PreferenceRun.of(first, *recipes, found, RunOptions())))


def _train(
    source: ModelAndProblems,
    data: Path,
    drawn: PairSettings,
    first: Start,
    recipes: Recipes,
    options: RunOptions,
    report_to: str,
) -> None:
    """Make the pairs, then train. Under `accelerate launch` the first process makes them."""
    from scripts.data.pairs import load_pairs
    from scripts.evaluation.preference_pairs import make_pairs
    from scripts.training.metrics import describe_metrics
    from scripts.training.preferences import PreferenceRun, train_preferences
    from scripts.training.pytorch_engine import all_processes

    processes = all_processes()
    with processes.main_process_first():
        report = make_pairs(source, data, drawn)
    if processes.is_main_process:
        for what, number in report["counts"].items():
            print(f"{number:7}  {what}")
        print(f"{report['pairs']:7}  pairs: {show_path(data)}", flush=True)
    training = PreferenceRun.of(first, *recipes, load_pairs(data), options, processes)
    metrics = train_preferences(training, resume=options.resume, report_to=report_to)
    if processes.is_main_process:
        print(describe_metrics(metrics))
        print(f"run: {show_path(training.folder)}")


if __name__ == "__main__":
    command(main)()
