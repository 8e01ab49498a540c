"""The files of generated paraphrases: `<folder>/<family>/<problem>/<style>.md` and
`<style>.instructions.json`.

The hand-written paraphrases lie in the folder of their problem. A generated description contains a hash of
the text that it paraphrases; it is used only as long as the problem has that text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts.data.problems import Problem, read_description
from scripts.data.settings import PARAPHRASES, STYLES
from utils_ft import UserError, content_hash, read_json, read_text, write_json, write_text


def write_paraphrase(
    problem: Problem, style: str, text: str, source: str, model: str, folder: Path = PARAPHRASES
) -> Path:
    """Write a paraphrased description.

    Arguments:
        problem: The problem.
        style: The style of the paraphrase.
        text: The paraphrase.
        source: The provider that wrote it.
        model: The provider's model.
        folder: The folder of generated paraphrases.

    Returns:
        The file. Its front matter has the style, the source, the model and a hash of the original.
    """
    head = {"style": style, "source": source, "model": model, "of": content_hash(problem.description)}
    lines = "".join(f"{name}: {value}\n" for name, value in head.items())
    return write_text(_file(folder, problem, f"{style}.md"), f"---\n{lines}---\n{text}\n")


def write_instructions(
    problem: Problem,
    style: str,
    texts: dict[str, str],
    source: str,
    model: str,
    folder: Path = PARAPHRASES,
) -> Path:
    """Write paraphrased instructions; `texts` has them by their original.

    The other arguments are as above.
    """
    content = {"style": style, "source": source, "model": model, "instructions": texts}
    return write_json(_file(folder, problem, f"{style}.instructions.json"), content)


def load_paraphrases(problem: Problem, folder: Path = PARAPHRASES) -> dict[str, str]:
    """Return the generated descriptions of a problem, by style. Those of an older text are left out."""
    paraphrases = {}
    for style in STYLES:
        file = _file(folder, problem, f"{style}.md")
        if not file.exists():
            continue
        if f"\nof: {content_hash(problem.description)}\n" in read_text(file):
            paraphrases[style] = read_description(file)
    return paraphrases


def load_instructions(problem: Problem, folder: Path = PARAPHRASES) -> dict[str, dict[str, str]]:
    """Return the generated instructions of a problem: for each style, from an instruction to its paraphrase.

    Raises:
        UserError: A file is not what `write_instructions` writes.
    """
    instructions = {}
    for style in STYLES:
        file = _file(folder, problem, f"{style}.instructions.json")
        if not file.exists():
            continue
        remedy = "remove it and paraphrase again"
        texts = read_json(file, remedy).get("instructions")
        if not isinstance(texts, dict) or not all(
            isinstance(text, str) and text.strip() for text in texts.values()
        ):
            raise UserError("not a file of instructions", where=file, remedy=remedy)
        instructions[style] = texts
    return instructions


def with_paraphrases(problems: Sequence[Problem], folder: Path = PARAPHRASES) -> list[Problem]:
    """Return the problems with generated descriptions instead of the hand-written ones of the same style."""
    return [
        replace(problem, paraphrases=problem.paraphrases | load_paraphrases(problem, folder))
        for problem in problems
    ]


def _file(folder: Path, problem: Problem, name: str) -> Path:
    return folder / problem.family / problem.name / name
