"""The leaderboard: result files of several models in one table, if problems and scoring are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from scripts.evaluation.scores import EvaluationResult
from scripts.evaluation.tables import percent, rates_by_title
from utils_ft import UserError, read_json

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("identity", "model", "steps", "problem_set", "scoring_version", "settings", "usage", "versions")
"""Keys that a result file of `evaluate` has."""


def read_results(files: Sequence[Path]) -> list[EvaluationResult]:
    """Read result files. A file that has the same evaluation as an earlier one is left out.

    Raises:
        UserError: A file is not a result of `evaluate`, or two files are of different problems or scoring
            versions.
    """
    results: dict[str, EvaluationResult] = {}
    first: tuple[Path, EvaluationResult] | None = None
    for file in files:
        result = _read_result(file)
        first = first or (file, result)
        for key, what in (("scoring_version", "scoring versions"), ("problem_set", "problems")):
            if result[key] != first[1][key]:
                raise UserError(
                    f"it has other {what} than {first[0].name}, so their figures cannot be compared",
                    where=file,
                    remedy="evaluate both on the same problems with the same version, or make two tables",
                )
        results.setdefault(result["identity"], result)
    if not results:
        raise UserError("there is no result file", remedy="name some: base.json fine_tuned.json")
    return list(results.values())


def _read_result(file: Path) -> EvaluationResult:
    remedy = "name files that python -m scripts.evaluate --out has written; evaluate again if the file is old"
    result = read_json(file, remedy)
    missing = [key for key in NEEDED if key not in result]
    if missing:
        raise UserError(f"not a result of an evaluation: it has no `{missing[0]}`", where=file, remedy=remedy)
    try:
        hash(result["identity"]), len(result["problems"]), prompt_of(result)
        titles = scored_parts([result])
        _row(result, titles), _rank(result, titles)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the result is damaged ({error})", where=file, remedy=remedy) from None
    return result


def leaderboard(results: Sequence[EvaluationResult]) -> pd.DataFrame:
    """One row for each result: the share of answers with the same answer sets by part, and what it cost.

    The best stands first. Tokens are those of prompts and of answers.
    """
    import pandas as pd

    titles = scored_parts(results)
    rows = [_row(result, titles) for result in results]
    best = sorted(range(len(rows)), key=lambda place: _rank(results[place], titles), reverse=True)
    return pd.DataFrame([rows[place] for place in best])


def scored_parts(results: Sequence[EvaluationResult]) -> dict[str, str]:
    """The parts that some result has items of: title → the title with the number of items."""
    counts: dict[str, set[int]] = {}
    for result in results:
        for title, rates in rates_by_title(result).items():
            if rates["n"]:
                counts.setdefault(title, set()).add(rates["n"])
    return {
        title: f"{title} (n = {min(found)})" if len(found) == 1 else title for title, found in counts.items()
    }


def model_label(result: EvaluationResult) -> str:
    """The name of a model with the number of examples in its prompts."""
    name = result["model"]
    if not result.get("endpoint"):
        name = PurePosixPath(result["model"].replace("\\", "/")).name
        if result["adapter"]:
            adapter = PurePosixPath(result["adapter"].replace("\\", "/"))
            name += f" + {adapter.parent.name}/{adapter.name}"
    return name


def prompt_of(result: EvaluationResult) -> str:
    """How the model was asked, as in `0-shot` or `4-shot, grammar`."""
    settings = result["settings"]
    in_conversation = settings.get("repair_prompt") == "conversation"
    return (
        f"{settings.get('shots', 0)}-shot"
        + (", grammar" if settings.get("grammar") else "")
        + (", repairs in the conversation" if in_conversation else "")
    )


def _row(result: EvaluationResult, titles: dict[str, str]) -> dict:
    rates, usage = rates_by_title(result), result["usage"]
    return {
        "model": model_label(result),
        "size": size(result.get("parameters")),
        "prompt": prompt_of(result),
        **{shown: percent(rates.get(title, {}), "equivalent") for title, shown in titles.items()},
        "tokens": f"{usage['prompt_tokens']:,} + {usage['answer_tokens']:,}",
        "seconds": round(sum(result["seconds"].values())),
        "date": result["date"],
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    }


def _rank(result: EvaluationResult, titles: dict[str, str]) -> list[float]:
    rates = rates_by_title(result)
    return [rates[title]["equivalent"] if rates.get(title, {}).get("n") else -1.0 for title in titles]


def size(parameters: int | None) -> str:
    """A number of parameters, as in `135M` or `7.6B`; "" if it is not known."""
    if not parameters:
        return ""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            number = parameters / unit
            return f"{number:.0f}{letter}" if number >= 10 else f"{number:.1f}{letter}"
    return str(parameters)


def markdown(table: pd.DataFrame, results: Sequence[EvaluationResult]) -> str:
    """The table as a Markdown page."""
    number, version = len(results[0]["problems"]), results[0]["scoring_version"]
    head = (
        f"# Leaderboard\n\n{number} problems, scoring version {version}. The figures are shares of answers "
        "with the same answer sets as the gold program, with 95 % intervals. Tokens are those of all prompts "
        "and answers; seconds depend on the machine.\n\n"
    )
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return head + "".join(f"| {' | '.join(row)} |\n" for row in cells)
