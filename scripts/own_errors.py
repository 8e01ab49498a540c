"""Make repair rows from the errors that a fine-tuned model makes on training problems.

    python -m scripts.own_errors --model local_models/ft_smollm_pytorch

Training then continues from the fused model:

    python -m scripts.train_pytorch --profile demo --model-type local_models/ft_smollm_pytorch \
        --data data/own_errors --max-steps 60 --learning-rate 2e-4 --no-qlora
"""

from __future__ import annotations

from pathlib import Path

from scripts.data_converter import check_share
from scripts.inference.requests import MAX_NEW_TOKENS
from utils_ft import BENCHMARKS, UserError, check_writable, command, show_path


def main(
    model: Path,
    benchmarks: Path = BENCHMARKS,
    data: Path | None = None,
    out: Path | None = None,
    problems: int | None = None,
    samples: int = 1,
    seed: int = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
    repairs_in_conversation: float = 0.0,
) -> None:
    """Make repair rows from the errors that a fine-tuned model makes on training problems (an experiment).

    The model writes the steps of training problems under new predicate names. Each answer that the solver
    rejects becomes a repair row. The folder --out can be given to a training with --data. An interrupted
    command continues when it is run again.

    Arguments:
        model: Folder of the fine-tuned model.
        benchmarks: Folder of problems.
        data: Folder of the converted rows. By default that of the profile.
        out: Folder for the files. train.jsonl gets the new rows and as many converted ones; valid.jsonl and
            test.jsonl are those of --data. By default own_errors in --data.
        problems: Training problems to write, spread over the families. By default all.
        samples: Answers to each step. The first is greedy.
        seed: Seed of the samples and of the predicate names.
        max_new_tokens: Tokens of an answer, at most.
        repairs_in_conversation: The share of the new rows, from 0 to 1, that go on in the conversation of
            their step. The others are independent turns.
    """
    from scripts.data.problems import problems_of_split
    from scripts.training.recipe import load_profile

    if samples < 1:
        raise UserError(f"--samples must be at least 1, not {samples}", remedy="write --samples 2")
    check_share(repairs_in_conversation)
    data = data or load_profile().data
    out = out or data / "own_errors"
    if out.resolve() == data.resolve():
        raise UserError(
            "the new rows would replace the converted rows",
            where=out,
            remedy="name another folder with --out",
        )

    check_writable(out, folder=True)
    from scripts.evaluation.own_errors import OwnErrorSettings, write_own_errors

    chosen = problems_of_split(benchmarks, "train", problems)
    settings = OwnErrorSettings(samples, seed, max_new_tokens, repairs_in_conversation)
    found = write_own_errors(model, chosen, data, out, settings)
    for reason, number in sorted(found.dropped.items()):
        print(f"dropped {number:5}  {reason}")
    for kind, number in sorted(found.by_kind.items()):
        print(f"{kind:16} {number:6}")
    print(show_path(out))


if __name__ == "__main__":
    command(main)()
