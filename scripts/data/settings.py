"""The settings of a conversion: how many rows a problem gives, and in which variations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from utils_ft import DATA, UserError

PARAPHRASES = DATA / "paraphrases"
"""The folder of generated paraphrases."""

STYLES = ("natural", "instructional", "academic")
PROVIDERS = ("auto", "gemini", "local", "shipped")
"""The styles of paraphrases."""

NAMINGS = ("original", "canonical", "abstract")
"""The names of the variables: the problem's own, `V0 V1 …`, `X Y …`."""


@dataclass(frozen=True)
class ConversionSettings:
    """What the conversion makes of each problem. Profiles have the defaults of the command.

    Attributes:
        conversations: The most conversations of a training problem. Validation and test problems have one.
        repairs: The most repairs of a problem.
        vocabularies: The predicate renamings of a training problem, besides its own names.
        styles: The styles of paraphrases that are used besides the original description.
        namings: The variable renamings that are used; `original` is the problem's own names.
        noise: The share of the conversations whose instructions have noise, from 0 to 1.
        wordings: Whether the conversations of a training problem after the first draw each instruction from
            all its wordings.
        retellings: Whether the retellings of a training problem take turns with its own telling.
        repairs_in_conversation: The share of the repairs that go on in the conversation of their step, from 0
            to 1. The others are independent turns.
    """

    conversations: int = 10
    repairs: int = 8
    vocabularies: int = 0
    styles: tuple[str, ...] = STYLES
    namings: tuple[str, ...] = NAMINGS
    noise: float = 0.25
    wordings: bool = True
    retellings: bool = True
    repairs_in_conversation: float = 0.0

    def override(self, **changes: object) -> ConversionSettings:
        """Return a copy with `changes`. A change to None keeps the value. UserError for a negative number."""
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        for name in ("conversations", "repairs", "vocabularies"):
            if getattr(changed, name) < 0:
                raise UserError(f"--{name} must be at least 0, not {getattr(changed, name)}")
        return changed

    def for_generated(self) -> ConversionSettings:
        """Return the settings for a generated problem, which is told once.

        New structure comes from more problems; variations of one add none. It has repairs in the ratio of the
        other training problems.
        """
        repairs = round(self.repairs / max(self.conversations, 1))
        return replace(self, conversations=1, vocabularies=0, repairs=repairs)

    def for_split(self, split: str) -> ConversionSettings:
        """Return the settings for a problem of `split`: only training problems are varied."""
        return (
            self
            if split == "train"
            else replace(
                self,
                conversations=1,
                vocabularies=0,
                namings=("original",),
                wordings=False,
                retellings=False,
            )
        )


@dataclass(frozen=True)
class PairSettings:
    """How preference pairs are made.

    Attributes:
        samples: Answers to each step; the first is greedy.
        pairs: Pairs of one step, at most.
        gold: Whether the gold rule is the right answer where the model wrote none.
        temperature, seed: Of the samples. The seed also draws the new names of constants.
        max_new_tokens: Tokens of an answer, at most.
    """

    samples: int = 8
    pairs: int = 2
    gold: bool = False
    temperature: float = 1.0
    seed: int = 0
    max_new_tokens: int = 160

    def override(self, **changes: object) -> PairSettings:
        """A copy with `changes`. A value of None keeps the own one.

        Raises UserError for settings that make no pair.
        """
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        lowest = 1 if changed.gold else 2
        if changed.samples < lowest:
            raise UserError(
                f"--samples must be at least {lowest}, not {changed.samples}",
                remedy="a pair needs a right and a wrong answer: write --samples 8",
            )
        if changed.pairs < 1:
            raise UserError(f"--pairs must be at least 1, not {changed.pairs}", remedy="write --pairs 2")
        return changed


DEFAULT_PAIRS = PairSettings()
