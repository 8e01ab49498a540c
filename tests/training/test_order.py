"""The order of the rows depends on the seed only, and every row is seen equally often."""

from collections import Counter

import pytest

from scripts.training.order import batches
from utils_ft import UserError


def test_every_row_is_seen_equally_often_and_only_the_seed_changes_the_order():
    order = batches(n_rows=10, rows_per_step=4, max_steps=25, seed=3)
    assert set(Counter(index for step in order for index in step).values()) == {10}
    assert batches(10, 4, 7, seed=3) == order[:7]
    assert batches(10, 4, 25, seed=4) != order


def test_no_rows_are_an_error():
    with pytest.raises(UserError, match="no rows"):
        batches(0, 4, 1, 0)
