"""Convert problems into training rows that the solver has verified, and write a report.

python -m scripts.data_converter --benchmarks data/benchmarks --out data --seed 0
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from scripts.data.left_out import LeftOut, listing
from scripts.data.report import ConversionReport
from scripts.data.settings import PARAPHRASES
from scripts.training.recipe import load_profile
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
    generated: Path | None = None,
    vocabularies: int | None = None,
    repairs_in_conversation: float = 0.0,
    strict: bool = False,
) -> None:
    """Convert problems into training rows that the solver has verified.

    There are two kinds of rows. A conversation has a whole problem, step by step; the training problems are
    varied in style, variable names, predicate names and noise. A repair has a broken rule and the solver
    message, and the corrected rule as the answer. The command writes train.jsonl, valid.jsonl, test.jsonl and
    report.json. The same problems, options and seed give the same bytes. Rows of another origin that are in
    the folder are kept under another name.

    Problems that cannot be used are left out and listed, each with file, line and remedy.

    Arguments:
        benchmarks: The folder of problems: DIR/<family>/<problem>/ with problem.md, encoding.lp and
            instances/*.lp.
        out: The folder to write to. Default: the profile's.
        seed: Decides all random choices.
        conversations: The most conversations of a training problem. Default: the profile's.
        repairs: The most repairs of a problem. Default: the profile's.
        problems: Convert only so many problems, some of each split. Default: the profile's, else all.
        profile: smoke, demo, small or full: where defaults come from. Default: FT_PROFILE, else demo.
        paraphrases: The folder that scripts.data_augmentor wrote. Its paraphrases replace the hand-written
            ones.
        tokenizer: The folder of a model. Its tokenizer counts the tokens of the rows, for the report.
        generated: A folder that scripts.data_generator wrote. Its problems are added to the training
            problems.
        vocabularies: The predicate renamings of each training problem, besides its own names. Default: the
            profile's.
        repairs_in_conversation: The share of the repairs, from 0 to 1, that go on in the conversation of
            their step, for evaluate --repair-prompt conversation. The others are independent turns.
        strict: Exit with code 2 at the end if something was left out.
    """
    from scripts.data.conversion import add_token_counts, convert_collection
    from scripts.data.problems import read_collection

    if paraphrases and not paraphrases.is_dir() and paraphrases.resolve() != PARAPHRASES.resolve():
        raise UserError(
            "there is no such folder of paraphrases",
            where=paraphrases,
            remedy="leave out --paraphrases for the hand-written ones, "
            "or name the --out of scripts.data_augmentor",
        )
    check_share(repairs_in_conversation)
    if problems is not None and problems < 1:
        raise UserError(f"--problems must be at least 1, not {problems}")
    chosen = load_profile(profile)
    out = out or chosen.data
    collection = read_collection(benchmarks)
    collection = collection.with_generated(generated) if generated else collection
    print(collection.describe_split_for_training(), flush=True)
    report = convert_collection(
        collection,
        out,
        chosen.conversion(
            conversations=conversations,
            repairs=repairs,
            vocabularies=vocabularies,
            repairs_in_conversation=repairs_in_conversation,
        ),
        seed=seed,
        limit=problems or chosen.problems,
        paraphrases=paraphrases,
    )
    if tokenizer:
        report = add_token_counts(out, tokenizer, chosen.recipe.max_tokens)
    _print(report)
    if strict and report["left_out"]:
        raise typer.Exit(2)


def check_share(share: float) -> None:
    """UserError unless the share of repairs in the conversation is between 0 and 1."""
    if not 0 <= share <= 1:
        raise UserError(
            f"--repairs-in-conversation must be between 0 and 1, not {share}",
            remedy="write --repairs-in-conversation 0.5 for one half of the repairs",
        )


def _print(report: ConversionReport) -> None:
    rows: Counter[tuple[str, str]] = Counter()
    for counted in report["rows"]:
        rows[counted["split"], counted["kind"]] += counted["rows"]
    for (split, kind), number in sorted(rows.items()):
        print(f"{split:6} {kind:13} {number:6}")
    for split, tokens in report.get("tokens", {}).items():
        print(
            f"{split:6} {tokens['tokens']} tokens, {tokens['supervised_tokens']} supervised, "
            f"{tokens['cut_turns']} turns cut"
        )
    for what, number in report["steps"].items():
        print(f"steps {number:7}  {what}")
    for kind, number in Counter(finding["kind"] for finding in report["findings"]).most_common():
        print(f"found {number:7}  {kind}")
    for reason, number in report["dropped"].items():
        print(f"dropped {number:5}  {reason}")
    for group in report["twins"]:
        print(f"twins, all in {group['split']}: {', '.join(group['problems'])}")
    if text := listing([LeftOut.from_json(record) for record in report["left_out"]]):
        print(f"\n{text}")


if __name__ == "__main__":
    command(main)()
