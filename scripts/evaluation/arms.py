"""The arms of an ablation study: each is one training that differs from the reference in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.data.rows import Row
from scripts.lm import prompts


@dataclass(frozen=True)
class Arm:
    """One training of a study.

    Attributes:
        question: What is different, in a few words.
        convert: Settings of the conversion that are different.
        recipe: Hyperparameters that are different.
        whole: Whether the model writes the whole program in one turn instead of step by step.
    """

    question: str
    convert: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    whole: bool = False

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that the arm trains on, from the converted ones."""
        if not self.whole:
            return list(rows)
        return [
            row | {"messages": prompts.at_once(row["messages"])}
            if row["meta"]["kind"] == "conversation"
            else row
            for row in rows
        ]


ARMS = {
    "reference": Arm("the whole recipe"),
    "vocabulary": Arm("predicates also get random names", {"vocabularies": 9}),
    "no_retelling": Arm("problems in their own domain only", {"retellings": False}),
    "no_renaming": Arm("variables keep their names", {"namings": ("original",)}),
    "no_wordings": Arm("one wording of each instruction", {"wordings": False}),
    "no_noise": Arm("instructions keep case and punctuation", {"noise": 0.0}),
    "no_paraphrases": Arm("one wording of each description", {"styles": ()}),
    "no_repair": Arm("conversations only", {"repairs": 0}),
    "whole_program": Arm("all instructions in one turn, all rules in the answer", whole=True),
    "top_16": Arm("adapters on the top 16 layers only", recipe={"top_layers": 16}),
    "alpha_32": Arm("adapters count 2 times, not 10", recipe={"alpha": 32}),
    "no_neftune": Arm("no noise on the embeddings", recipe={"neftune_alpha": 0.0}),
}
