"""Run the notebooks without a browser.

python -m scripts.run_notebooks --profile demo
python -m scripts.run_notebooks --profile demo --only ft_pytorch_qlora -p MAX_STEPS=20
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scripts.notebook import runner
from scripts.notebook.parameters import parse
from utils_ft import LOCAL_MODELS, UserError, command, show_path


def main(
    profile: str | None = None,
    only: list[str] | None = None,
    p: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE")] = None,
    resume: bool = False,
) -> None:
    """Run the notebooks of a profile in order and print the scores before and after training.

    The executed copies and an index are in runs/<profile>-<time>/. Exit code 1: a cell failed.

    Arguments:
        profile: A profile, such as demo or full. Default: the one of FT_PROFILE or of MODEL_TYPE, else demo.
        only: Run this notebook only. Give the option several times for several notebooks.
        p: A parameter of the notebooks, for instance MAX_STEPS=20. Can be given several times.
        resume: Continue the last run of the profile at the notebook that failed.
    """
    from scripts.training.recipe import load_profile

    parameters = {}
    for pair in p or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{pair!r} is not a parameter", remedy="write -p NAME=VALUE")
        parameters[name] = parse(name, value)
    chosen = load_profile(profile, parameters.get("MODEL_TYPE"))
    try:
        folder = runner.run_notebooks(chosen.name, only or (), parameters, resume)
    except runner.CellFailed as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"\nexecuted notebooks: {show_path(folder / 'index.html')}")
    for name in runner.in_order(only or ()) or runner.notebooks_of(chosen.name):
        if name in runner.ENGINES:
            _print_scores(parameters.get("MODEL_TYPE") or chosen.model_type, runner.ENGINES[name])


def _print_scores(model_type: str, engine: str) -> None:
    """Print the test scores of an engine and the folder of its fused model, if there are scores."""
    from scripts.evaluation.tables import scores_table
    from scripts.lm.base_models import model_spec

    if found := runner.results(model_type, engine):
        print(f"\n{scores_table(found).to_string(index=False)}")
        print(f"\nfused model: {show_path(LOCAL_MODELS / f'ft_{model_spec(model_type).type}_{engine}')}")


if __name__ == "__main__":
    command(main)()
