"""Results that are computed once: a file holds for the same model, problems, settings and scoring version."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from math import prod
from pathlib import Path

from tqdm.auto import tqdm

from scripts.data.problems import Problem, held_out_families
from scripts.lm.endpoint import Endpoint
from utils_ft import UserError, content_hash, read_json, show_path, write_json

RECORDS = ("fuse.json", "trainer_state.json", "complete.json")
"""Files of a model folder that have no influence on its answers: they say how the folder was made."""

SCORING_VERSION = 3
"""The version of everything that decides a score. Stored scores, studies and own errors hold for one version.

Raise it with any change of the prompts, the repair messages, the verdicts, the repair loop or the rates; of
the rows that are converted or drawn for repair; of the grammar, or of how answers are decoded and sampled.
An edit that changes no answer and no figure leaves it as it is. Then `python -m tests.golden_verdicts`
records the new version: tests/test_scoring_version.py fails if the recorded behaviour changes under an old
one. It sees neither decoding nor sampling.
"""


class Results:
    """A JSON file of results and the files of its unfinished parts.

    All of them carry `identity`, a hash of everything that the results depend on. A file with another
    identity counts as missing. While the work runs, its parts stand in the folder `<file>.parts`.
    """

    def __init__(self, file: Path, identity: str):
        self.file = file
        self.identity = identity
        self._parts = file.with_name(f"{file.name}.parts")

    def finished(self) -> dict | None:
        """The results, if the file has them."""
        return _read(self.file, self.identity)

    def part(self, name: str, compute: Callable[[], dict]) -> dict:
        """The part `name`: from its file, or else computed and written."""
        file = self._parts / f"{name.replace(' ', '-')}.json"
        identity = content_hash(self.identity, name)
        found = _read(file, identity)
        if found is None:
            found = {"identity": identity} | compute()
            write_json(file, found)
        return found

    def finish(self, figures: dict) -> dict:
        """Write the results and remove the parts. Returns the content of the file."""
        result = {"identity": self.identity} | figures
        write_json(self.file, result)
        shutil.rmtree(self._parts, ignore_errors=True)
        return result


GROUP = 16
"""Problems that are written together. Two hundred steps take about as long as those of one problem."""


def of_each_problem(
    problems: Sequence[Problem],
    folder: Path,
    made_by: str,
    compute: Callable[[list[Problem]], Sequence[dict]],
) -> Iterator[dict]:
    """The result of each problem, in order. An interrupted call continues after the last finished group.

    Args:
        problems: The problems. They are computed in groups.
        folder: Where the result of each problem is stored.
        made_by: A hash of everything that the results depend on, besides the problems.
        compute: Returns the results of those problems of a group that are not stored yet.
    """
    with tqdm(total=len(problems), desc="writing", unit="problem", disable=None) as bar:
        for start in range(0, len(problems), GROUP):
            group = problems[start : start + GROUP]
            files = [
                Results(
                    folder / f"{problem.family}.{problem.name}.json", content_hash(made_by, problem.digest)
                )
                for problem in group
            ]
            missing = [place for place, file in enumerate(files) if not file.finished()]
            made = compute([group[place] for place in missing]) if missing else []
            for place, figures in zip(missing, made, strict=True):
                files[place].finish(figures)
            for file in files:
                yield file.finished()
            bar.update(len(group))


@dataclass(frozen=True)
class Subject:
    """What an evaluation evaluates.

    Attributes:
        model: A model folder, or a model behind an endpoint.
        adapter: A LoRA checkpoint over the folder, or None.
        problems: The problems.
        settings: The settings as JSON.
        examples: A hash of what solved examples are taken from; "" without examples.
    """

    model: Path | Endpoint
    adapter: Path | None
    problems: Sequence[Problem]
    settings: dict
    examples: str = ""

    @cached_property
    def asked(self) -> str:
        """A hash of everything but the adapter.

        Where it is the same, the scores of two adapters can be compared.
        """
        if isinstance(self.model, Endpoint):
            model = content_hash(self.model.url, self.model.model)
        else:
            model = weights_digest(self.model)
        return content_hash(
            model,
            json.dumps(self.settings),
            str(SCORING_VERSION),
            *(problem.digest for problem in self.problems),
            *sorted(held_out_families(self.problems)),
            *filter(None, [self.examples]),
        )

    @cached_property
    def identity(self) -> str:
        """A hash of everything that the scores depend on."""
        return content_hash(self.asked, weights_digest(self.adapter) if self.adapter else "")

    def as_json(self) -> dict:
        """The description of the subject at the head of the JSON file."""
        remote = isinstance(self.model, Endpoint)
        packages = ("clingo",) if remote else ("clingo", "torch", "transformers")
        return {
            "asked": self.asked,
            "model": self.model.model if remote else show_path(self.model),
            "adapter": show_path(self.adapter) if self.adapter else None,
            "endpoint": self.model.shown if remote else None,
            "parameters": None if remote else parameters_of(self.model),
            "scoring_version": SCORING_VERSION,
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {name: version(name) for name in packages},
            "problem_set": content_hash(*(problem.digest for problem in self.problems)),
            "settings": self.settings,
            "problems": [problem.id for problem in self.problems],
        }


def _read(file: Path, identity: str) -> dict | None:
    """The JSON object in `file`, if it can be read and has this identity."""
    try:
        found = read_json(file, "")
    except UserError:
        return None
    return found if found.get("identity") == identity else None


def check_result_file(file: Path) -> None:
    """Raise UserError if `file` is there and has no result, damaged or not: it would be lost."""
    remedy = "name another file with --out, or remove this one"
    if file.exists() and "identity" not in read_json(file, remedy):
        raise UserError("this is no result of an evaluation, and would be lost", where=file, remedy=remedy)


def parameters_of(folder: Path) -> int | None:
    """The number of parameters in the safetensors files of a folder; None if there is none."""
    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            total += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total or None


def weights_digest(folder: Path) -> str:
    """A hash of the weights, the tokenizer and the configuration in a folder."""
    state = hashlib.sha256()
    suffixes = (".safetensors", ".json", ".jinja", ".model")
    for file in sorted(file for file in folder.iterdir() if file.suffix in suffixes):
        if file.name not in RECORDS:
            state.update(file.name.encode())
            with file.open("rb") as data:
                while chunk := data.read(2**24):
                    state.update(chunk)
    return state.hexdigest()
