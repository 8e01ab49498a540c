"""Noise: lower case, no punctuation, the same words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.data.noise import noisy


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Choose exactly one colour, C, for each node N.", "choose exactly one colour c for each node n"),
        (
            "No edge(X,Y) joins two_nodes of -the- same `colour`!",
            "no edge x y joins two_nodes of the same colour",
        ),
        ("  E.g.: 1.5 _ or _x_?  ", "e g 1 5 or x"),
        ("ÄRGER – „größer“", "ärger größer"),
        ("!?", ""),
        ("In tick T+1, or T-1; N - 1.", "in tick t+1 or t-1 n - 1"),
        ("where 3*G < S: 1 <= R <= 3, X != Y.", "where 3*g < s 1 <= r <= 3 x != y"),
        ("`Day+1` >= 5, from 1..N; a cost of -1.", "day+1 >= 5 from 1..n a cost of -1"),
        ("A T-shirt, and/or a well-known 3-colouring.", "a t shirt and or a well known 3 colouring"),
    ],
)
def test_noise_is_lower_case_without_punctuation(instruction, expected):
    assert noisy(instruction) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_noise_keeps_all_letters_and_digits_and_is_idempotent(text):
    result = noisy(text)
    assert noisy(result) == result
    without_operators = re.sub(r"[-+*/=<>!.]", "", result) if re.search(r"\w", result) else result
    assert not re.search(r"[^\w\s]|\s\s|^\s|\s$", without_operators)
    assert re.sub(r"[\W_]", "", result) == re.sub(r"[\W_]", "", text.lower())
