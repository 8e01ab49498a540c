"""The notebooks in order, headless, for a profile: papermill with a progress bar and the executed copies kept.

    python -m scripts.run_notebooks --profile demo [-p MAX_STEPS=20] [--only ft_pytorch_qlora] [--resume]

Copies, as notebooks and as pages, and an index that links them lie in `runs/<profile>-<time>/`. The same command with
--resume goes on at the notebook that failed. Exit code 1: a cell failed; 2: something that a person can mend.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scripts.lm.base_models import model_spec
from scripts.notebook.runner import (
    ENGINES,
    CellFailed,
    _value,
    in_order,
    notebooks_of,
    results,
    run_notebooks,
)
from scripts.training.recipe import load_profile
from utils_ft import LOCAL_MODELS, UserError, command, show_path


def main(
    profile: str | None = None,
    only: list[str] | None = None,
    p: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE, a notebook's parameter")] = None,
    resume: bool = False,
) -> None:
    """Run the notebooks of a profile and print the scores before and after.

    --only NAME, once or more: these notebooks alone, in their order. --resume: go on with the last run of the profile
    where it did not come to its end.
    """
    parameters = {}
    for pair in p or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{pair!r} is no parameter", remedy="write -p NAME=VALUE")
        parameters[name] = _value(value)
    chosen = load_profile(profile, parameters.get("MODEL_TYPE"))
    try:
        folder = run_notebooks(chosen.name, only or (), parameters, resume)
    except CellFailed as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"\nexecuted notebooks: {show_path(folder / 'index.html')}")
    model_type = parameters.get("MODEL_TYPE") or chosen.model_type
    for name in in_order(only or ()) or notebooks_of(chosen.name):
        if name in ENGINES and (found := results(model_type, ENGINES[name])):
            from scripts.evaluation.tables import scores

            print(f"\n{scores(found).to_string(index=False)}")
            print(
                f"\nfused model: {show_path(LOCAL_MODELS / f'ft_{model_spec(model_type).type}_{ENGINES[name]}')}"
            )


if __name__ == "__main__":
    command(main)()
