"""Paraphrases of problem descriptions and instructions in three tones, checked for faithfulness, paid for once.

    python -m scripts.data_augmentor --provider auto --dry-run

What passes the gate is written to data/paraphrases/<family>/<problem>/<style>.md; each answer is kept in `.answers`
beside them, so that a run that was stopped or killed goes on where it was. `data_converter --paraphrases` reads what is there.
"""

from __future__ import annotations

from pathlib import Path

from scripts.data.paraphrase.augmentor import paraphrase
from scripts.data.paraphrase.files import PARAPHRASES
from scripts.data.problems import STYLES, read_problems, split_of
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
    """Paraphrase the training problems of a folder, or with --every all of them; validation and test keep their own words.

    --provider is gemini (with --model or GEMINI_MODEL another than Gemini 3 Flash), local (--model: a chat model's
    folder or hub id), shipped (the hand-written ones) or auto. --dry-run prints the calls and tokens and spends nothing.
    """
    problems = read_problems(benchmarks)
    splits = split_of(problems, benchmarks)
    report = paraphrase(
        [problem for problem in problems if every or splits[problem.id] == "train"],
        provider,
        styles=[style.strip() for style in styles.split(",")],
        out=out,
        model=model,
        instructions=instructions,
        tries=tries,
        max_calls=max_calls,
        max_tokens=max_tokens,
        workers=workers,
        per_minute=per_minute,
        dry_run=dry_run,
    )
    print(f"provider {report.provider} ({report.model}): {report.chosen}")
    if dry_run:
        print(
            f"dry run: {report.calls} calls, about {report.tokens} tokens; the model's thoughts and second tries come on top"
        )
        return
    records = report.summary()
    for record in [dict(zip(records[0], records[0], strict=True)), *records]:
        print(
            "".join(
                f"{value!s:{14 if name in ('kind', 'style') else '>8'}}" for name, value in record.items()
            )
        )
    print(f"{report.calls} calls, {report.tokens} tokens")
    for loss in report.losses()[:20]:
        print(f"{loss['status']}: {loss['problem']} {loss['kind']} {loss['style']}: {loss['why'][:300]}")
    if len(report.losses()) > 20:
        print(f"… and {len(report.losses()) - 20} more")
    if report.stopped:
        print(f"stopped: {report.stopped}; run the same command again to go on")


if __name__ == "__main__":
    command(main)()
