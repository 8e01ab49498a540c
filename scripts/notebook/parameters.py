"""The parameters of the notebooks: what values each may have, and how a command line gives them.

A value that a parameter cannot have is one message before a notebook starts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.data.settings import PROVIDERS, STYLES
from scripts.lm.base_models import model_spec
from utils_ft import UserError


@dataclass(frozen=True)
class Kind:
    """What the values of a parameter have in common.

    Attributes:
        name: What a message calls such a value.
        example: One of them, as a command line gives it.
        fits: Whether a value is of this kind. None, which means the default, is not asked.
    """

    name: str
    example: str
    fits: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_styles(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(style in STYLES for style in value)


_TEXT = Kind("a text", "NAME", lambda value: isinstance(value, str | Path) and bool(str(value).strip()))
_FLAG = Kind("True or False", "True", lambda value: isinstance(value, bool))
_FROM_0 = Kind("a whole number, at least 0", "2", lambda value: _is_whole(value) and value >= 0)
_FROM_1 = Kind("a whole number, at least 1", "2", lambda value: _is_whole(value) and value >= 1)
_RATE = Kind(
    "a number above 0",
    "1e-4",
    lambda value: (_is_whole(value) or isinstance(value, float)) and 0 < value < math.inf,
)
_SEED = Kind(
    "a whole number from 0 to 4294967295", "0", lambda value: _is_whole(value) and 0 <= value < 2**32
)
_PROVIDER = Kind(f"one of {', '.join(PROVIDERS)}", "shipped", lambda value: value in PROVIDERS)
_STYLES = Kind(f"a list of some of {', '.join(STYLES)}", '["natural"]', _is_styles)

KINDS = {
    "BENCHMARKS": _TEXT,
    "CHECKPOINT": _FROM_1,
    "CONVERSATIONS": _FROM_0,
    "GENERATED": _FROM_0,
    "INSTRUCTIONS": _FLAG,
    "LEARNING_RATE": _RATE,
    "MAX_CALLS": _FROM_1,
    "MAX_STEPS": _FROM_1,
    "MODEL": _TEXT,
    "MODEL_TYPE": _TEXT,
    "PROVIDER": _PROVIDER,
    "QLORA": _FLAG,
    "RANK": _FROM_1,
    "REPAIRS": _FROM_0,
    "SEED": _SEED,
    "STYLES": _STYLES,
    "TEST_PROBLEMS": _FROM_1,
    "TOP_LAYERS": _FROM_1,
    "VALID_PROBLEMS": _FROM_1,
    "VOCABULARIES": _FROM_0,
}
"""Parameter → the kind of its values. `PROFILE` is an option of its own."""


def parse(name: str, text: str) -> Any:
    """The value of a parameter from the command line: JSON or a Python constant, else the text itself.

    A parameter that is a text has no other value, so that a folder may be called 3.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = {"None": None, "True": True, "False": False}.get(text, text)
    is_text = KINDS.get(name) is _TEXT and value is not None and not isinstance(value, str)
    return text if is_text else value


def check(values: Mapping[str, Any]) -> None:
    """UserError for the first value that its parameter cannot have. Unknown names are not looked at."""
    for name, value in values.items():
        kind = KINDS.get(name)
        if kind and value is not None and not kind.fits(value):
            raise UserError(
                f"{name} must be {kind.name}, not {value!r}",
                remedy=f"write {name}={kind.example}, or leave it out for the default",
            )
    folder = values.get("BENCHMARKS")
    if folder is not None and not Path(folder).is_dir():
        raise UserError("there is no such folder of problems", where=folder, remedy="correct BENCHMARKS")
    if values.get("MODEL_TYPE") is not None:
        model_spec(values["MODEL_TYPE"])
