"""What a notebook prepares in its first cell: profile, problems, recipe and folders.

They come from the notebook's parameters. A parameter that is None takes its value from the profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import utils_ft
from scripts.data import problems as collections
from scripts.data.generator.folder import generate_folder
from scripts.data.paraphrase.files import PARAPHRASES
from scripts.data.problems import Collection, Problem
from scripts.lm import base_models
from scripts.notebook.parameters import check
from scripts.training.recipe import Profile, Recipe, load_profile


@dataclass(frozen=True)
class DataSetup:
    """What the two data notebooks work on.

    Attributes:
        profile: The profile.
        benchmarks: The folder of problems.
        collection: Its problems and their splits.
        model_type: The base model whose tokens are counted.
    """

    profile: Profile
    benchmarks: Path
    collection: Collection
    model_type: str

    @property
    def training_problems(self) -> list[Problem]:
        """The problems of the train split."""
        return self.collection.of_split("train")

    @cached_property
    def tokenizer(self) -> Path:
        """The folder with the tokenizer of the base model. It is fetched at the first use."""
        return base_models.config_folder(self.model_type)

    def generated_problems(self, number: int | None = None, seed: int = 1) -> Path | None:
        """The folder of generated problems; what is missing is generated. None for no problem.

        Arguments:
            number: How many problems, or None for the profile's number.
            seed: Decides all random choices.
        """
        count = self.profile.generated if number is None else number
        if not count:
            return None
        folder = utils_ft.DATA / "generated" / f"{seed}-{count}"
        generate_folder(folder, count, seed)
        return folder

    def generated_paraphrases(self, provider: str | None = None) -> Path | None:
        """The folder of the paraphrases that a provider wrote.

        None if there is none, or if `provider`, by default the profile's, is `shipped`.
        """
        is_shipped = (provider or self.profile.provider) == "shipped"
        return PARAPHRASES if PARAPHRASES.exists() and not is_shipped else None


def data(
    profile: str | None = None, benchmarks: str | Path | None = None, model_type: str | None = None
) -> DataSetup:
    """The setup of a data notebook.

    Arguments:
        profile: The name of a profile, or None for the one of FT_PROFILE or of the model.
        benchmarks: The folder of problems, or None for the shipped one.
        model_type: The base model, or None for the profile's.

    Raises UserError for a parameter that cannot have its value.
    """
    check({"BENCHMARKS": benchmarks, "MODEL_TYPE": model_type})
    chosen = load_profile(profile, model_type)
    folder = Path(benchmarks or utils_ft.BENCHMARKS)
    return DataSetup(
        profile=chosen,
        benchmarks=folder,
        collection=collections.read_collection(folder),
        model_type=model_type or chosen.model_type,
    )


@dataclass(frozen=True)
class TrainingSetup:
    """What a training notebook works on.

    Attributes:
        profile: The profile.
        model_type: The base model: a name, a folder or a hub id.
        recipe: The profile's recipe with the notebook's changes.
        folder: The run folder, with checkpoints, log, metrics and scores.
        valid: The validation problems that checkpoints are scored on.
        tests: The test problems that the base model and the fused model are scored on.
    """

    profile: Profile
    model_type: str
    recipe: Recipe
    folder: Path
    valid: list[Problem]
    tests: list[Problem]

    @cached_property
    def model(self) -> Path:
        """The folder of the base model. It is fetched at the first use."""
        return base_models.base_model(self.model_type)

    @property
    def source(self) -> str:
        """Where the base model comes from: a hub id, a package or a folder."""
        return base_models.model_spec(self.model_type).source

    @property
    def held_out_families(self) -> set[str]:
        """The families of the test problems that training has no problem of."""
        return collections.held_out_families(self.tests)


def training(
    engine: str,
    profile: str | None = None,
    model_type: str | None = None,
    *,
    benchmarks: str | Path | None = None,
    valid_problems: int | None = None,
    test_problems: int | None = None,
    **changes: object,
) -> TrainingSetup:
    """The setup of a training notebook.

    Arguments:
        engine: `pytorch` or `mlx`.
        profile: The name of a profile, or None for the one of FT_PROFILE or of the model.
        model_type: The base model, or None for the profile's.
        benchmarks: The folder of problems for scores, or None for the shipped one.
        valid_problems: How many validation problems to score a checkpoint on, or None for all.
        test_problems: How many test problems to score, or None for the profile's number.
        changes: Hyperparameters that differ from the profile's recipe; None keeps a value.

    Raises UserError for a parameter that cannot have its value.
    """
    given = {"benchmarks": benchmarks, "model_type": model_type, "valid_problems": valid_problems}
    given |= {"test_problems": test_problems, **changes}
    check({name.upper(): value for name, value in given.items()})
    chosen = load_profile(profile, model_type)
    model_type = model_type or chosen.model_type
    folder = Path(benchmarks or utils_ft.BENCHMARKS)
    return TrainingSetup(
        profile=chosen,
        model_type=model_type,
        recipe=chosen.recipe.override(**changes),
        folder=utils_ft.ADAPTERS / f"{base_models.model_spec(model_type).type}_{engine}",
        valid=collections.problems_of_split(folder, "valid", valid_problems),
        tests=collections.problems_of_split(folder, limit=test_problems or chosen.test_problems),
    )
