"""Fixtures for the tests of the solver."""

from __future__ import annotations

import pytest

from scripts.asp.solver import Solver
from tests.asp.hostile import QUICK


@pytest.fixture(scope="module")
def solver():
    """A solver with two workers and small limits."""
    with Solver(2, QUICK) as pool:
        yield pool
