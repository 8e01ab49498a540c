"""A small problem that passes all checks: colouring a path."""

from __future__ import annotations

from pathlib import Path

from tests.examples import write_problem

TEXT = """# Colouring

- `node(X)`, `edge(X,Y)`: the graph.
- `colour(C)`: red or green.
- `paint(X,C)`: the answer.
"""

ENCODING = """% The colours are red and green.
colour(red;green).

% Paint each node in one colour.
{ paint(X,C) : colour(C) } = 1 :- node(X).

% Neighbours differ.
:- edge(X,Y), paint(X,C), paint(Y,C).

% Show the paint.
#show paint/2.
"""

INSTANCE = "node(1..3).\nedge(1,2).\nedge(2,3).\n"


def write_colouring(folder: Path, text: str = TEXT, encoding: str = ENCODING, **instances: str) -> Path:
    """Write the problem to `folder`, with other texts where they are given. Returns the folder."""
    return write_problem(folder, text, encoding, **(instances or {"path": INSTANCE}))
