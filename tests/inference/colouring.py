"""A small task for the tests of the repair loop and of programs: colour the nodes of a graph."""

from __future__ import annotations

from scripts.inference.requests import Task
from tests.fakes import ScriptedGenerator

DESCRIPTION = "Colour the nodes. node(N), edge(N,M) and paint(N,C) are used."
FACTS = "node(1..3). edge(1,2). edge(2,3)."
INSTRUCTIONS = ("Each node has one colour.", "Neighbours differ.", "Show the colours.")
GOLD = ("{ paint(N,(red;green)) } = 1 :- node(N).", ":- edge(N,M), paint(N,C), paint(M,C).", "#show paint/2.")
TASK = Task(DESCRIPTION, INSTRUCTIONS, FACTS)


def scripted(*answers: list[str], samples: dict[str, list[str]] | None = None) -> ScriptedGenerator:
    """A generator with a list of answers for each of the three instructions."""
    return ScriptedGenerator.by_list(dict(zip(INSTRUCTIONS, answers, strict=True)), samples)
