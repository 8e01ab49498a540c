"""Paraphrase descriptions and instructions in three styles, and check that the paraphrases are faithful.

python -m scripts.data_augmentor --provider auto --dry-run
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.data.settings import PARAPHRASES, STYLES
from utils_ft import BENCHMARKS, command


def main(
    benchmarks: Path = BENCHMARKS,
    provider: str = "auto",
    out: Path = PARAPHRASES,
    styles: str = ",".join(STYLES),
    model: str | None = None,
    instructions: bool = False,
    tries: int = 3,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    workers: int = 4,
    per_minute: float = 60,
    every: bool = False,
    dry_run: bool = False,
) -> None:
    """Paraphrase the descriptions of the training problems, and keep the paraphrases that are faithful.

    A paraphrase is faithful if it keeps every predicate, number, quoted string and constant. One that is not
    is sent back with its errors. Faithful paraphrases are written to OUT/<family>/<problem>/<style>.md;
    `data_converter --paraphrases OUT` uses them. All answers are stored, so that the same command continues
    an interrupted run and pays for no answer twice. The exit code is 1 if no text got a faithful paraphrase.

    Arguments:
        benchmarks: The folder of problems.
        provider: gemini, local (a chat model), shipped (hand-written) or auto (gemini if there is a key, else
            shipped).
        out: The folder to write to.
        styles: Some of the three styles, with commas between them.
        model: For gemini another model than Gemini 3.8 Flash (also GEMINI_MODEL); for local a model's folder
            or hub id.
        instructions: Paraphrase the instructions of the encodings as well.
        tries: The most answers to one text.
        max_calls: The most paid requests of this run; it then ends, and the same command continues it.
        max_tokens: The most tokens of this run; it then ends, and the same command continues it.
        workers: The number of requests at the same time.
        per_minute: The most requests in a minute.
        every: Paraphrase validation and test problems as well. They are not varied in the training data.
        dry_run: Print the number of requests and an estimate of their tokens, and make none.
    """
    import typer

    from scripts.data.paraphrase.augmentor import ParaphraseSettings, paraphrase
    from scripts.data.problems import read_collection

    settings = ParaphraseSettings(
        styles=[style.strip() for style in styles.split(",")],
        model=model,
        instructions=instructions,
        tries=tries,
        max_calls=max_calls,
        max_tokens=max_tokens,
        workers=workers,
        per_minute=per_minute,
    )
    problems = read_collection(benchmarks).of_split("all" if every else "train")
    report = paraphrase(problems, provider, settings, out=out, dry_run=dry_run)
    print(f"provider {report.provider} ({report.model}): {report.chosen}")
    if dry_run:
        print(
            f"dry run: {report.calls} calls, about {report.tokens} tokens, "
            "without the model's thoughts and further tries"
        )
        return
    records = report.summary()
    if not records:
        print("there is nothing to do: no problem, or none with a hand-written paraphrase")
        return
    for record in [dict(zip(records[0], records[0], strict=True)), *records]:
        columns = (f"{value!s:{14 if name in ('kind', 'style') else '>8'}}" for name, value in record.items())
        print("".join(columns))
    print(f"{report.calls} calls, {report.tokens} tokens")
    for loss in report.losses()[:20]:
        print(f"{loss['status']}: {loss['problem']} {loss['kind']} {loss['style']}: {loss['why'][:300]}")
    if len(report.losses()) > 20:
        print(f"… and {len(report.losses()) - 20} more")
    if report.has_failed:
        print("error: no text has a faithful paraphrase", file=sys.stderr)
        raise typer.Exit(1)
    if report.stopped:
        print(f"stopped: {report.stopped}; run the same command again to continue")


if __name__ == "__main__":
    command(main)()
