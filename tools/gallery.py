"""Write docs/gallery.md: generated problems for a person to read.

python -m tools.gallery
"""

from __future__ import annotations

from pathlib import Path

from scripts.asp.solver import Solver
from scripts.data.generator.problem import LEVELS, Generated, generate
from utils_ft import ROOT, command, write_text

PAGE = ROOT / "docs" / "gallery.md"
STEPS = 5  # the steps of each problem that the page shows
HEAD = """# Gallery of generated problems

`python -m tools.gallery` writes this page: {problems} problems of seed {seed}, all levels in turn. The first
one is shown whole, of each other one {steps} steps. `python -m scripts.data_generator` writes such problems;
[docs/data.md](data.md#generated-problems) says how they are made.
"""


def page(problems: list[Generated], seed: int) -> str:
    """The text of the page."""
    first, *others = problems
    parts = [HEAD.format(problems=len(problems), seed=seed, steps=STEPS), _whole(first)]
    return "\n".join([*parts, *map(_sample, others)])


def _whole(problem: Generated) -> str:
    facts = next(iter(problem.instances.values())).strip()
    description = problem.description.strip().replace("\n#", "\n###").removeprefix("# ")
    title, _, rest = description.partition("\n")
    return (
        f"## {title} ({problem.name})\n{rest}\n\n### An instance\n\n```prolog\n{facts}\n```\n\n"
        f"### The steps\n\n```prolog\n{problem.encoding.strip()}\n```\n"
    )


def _sample(problem: Generated) -> str:
    """Steps of a problem that are evenly far apart."""
    title = problem.description.split("\n")[0].removeprefix("# ")
    setting = problem.description.split("\n")[2]
    count = len(problem.steps)
    chosen = sorted({number * count // STEPS for number in range(STEPS)})
    code = "\n\n".join(f"% {problem.steps[n][0]}\n{problem.steps[n][1]}" for n in chosen)
    return f"## {title} ({problem.name})\n\n{setting}\n\n```prolog\n{code}\n```\n"


def main(out: Path = PAGE, problems: int = 40, seed: int = 0) -> None:
    """Write a page of generated problems for a person to read.

    Arguments:
        out: The file of the page, in Markdown.
        problems: The number of problems.
        seed: The seed of the problems.
    """
    with Solver() as solver:
        drawn = [generate(seed, index, index % len(LEVELS) + 1, solver) for index in range(problems)]
    write_text(out, page(drawn, seed))
    print(out)


if __name__ == "__main__":
    command(main)()
