"""Annotated problems in, proved JSONL out, with a report of what was kept and dropped and why.

    python -m scripts.data_converter --benchmarks data/benchmarks --out data --seed 0

Two kinds of rows: conversations (a problem step by step, in several styles, namings, noise and vocabularies) and
independent repair turns. Each carries a proof: renamed programs have the answer sets of the original, a repair's message is what
clingo prints for that code in its context, its fix is accepted. Same input and seed, same bytes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from scripts.data.conversion import convert_folder
from scripts.data.paraphrase.files import PARAPHRASES
from utils_ft import BENCHMARKS, UserError, command


def main(
    benchmarks: Path = BENCHMARKS,
    out: Path | None = None,
    seed: int = 0,
    conversations: int | None = None,
    repairs: int | None = None,
    problems: int | None = None,
    profile: str | None = None,
    paraphrases: Path | None = None,
    tokenizer: Path | None = None,
    vocabularies: int | None = None,
) -> None:
    """Convert annotated problems into proved training rows.

    --conversations and --repairs limit the rows of each problem, --problems how many are read; the profile
    (smoke, demo, full) has the defaults. --vocabularies retells each training problem with its predicates renamed.
    --paraphrases: the folder that scripts.data_augmentor wrote, for its texts in place of the hand-written ones.
    --tokenizer, a model's folder, has tokens counted.
    """
    if paraphrases and not paraphrases.is_dir() and paraphrases.resolve() != PARAPHRASES.resolve():
        raise UserError(
            "there is no such folder of paraphrases",
            where=paraphrases,
            remedy="leave out --paraphrases for the hand-written ones, or name the --out of scripts.data_augmentor",
        )
    summary = convert_folder(
        benchmarks, out, seed, conversations, repairs, problems, profile, paraphrases, tokenizer, vocabularies
    )
    counts: Counter[tuple[str, str]] = Counter()
    for row in summary["rows"]:
        counts[row["split"], row["kind"]] += row["rows"]
    for (split, kind), number in sorted(counts.items()):
        print(f"{split:6} {kind:13} {number:6}")
    for split, tokens in summary.get("tokens", {}).items():
        print(
            f"{split:6} {tokens['tokens']} tokens, {tokens['supervised_tokens']} supervised, {tokens['cut_turns']} turns cut"
        )
    for reason, number in summary["dropped"].items():
        print(f"dropped {number:5}  {reason}")


if __name__ == "__main__":
    command(main)()
