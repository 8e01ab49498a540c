"""Rules that a rule could be mistaken for: those with one literal less, and repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scripts.data.generator.rules import Aggregate, Cost, CostElement, Every, Rule, Show, Statement


def repeats(statement: Statement, others: Sequence[Statement]) -> bool:
    """Whether another rule has the same body and derives as much."""
    body = getattr(statement, "body", ())
    return bool(body) and any(
        getattr(other, "body", None) == body and bool(other.head) == bool(statement.head)
        for other in others
        if isinstance(other, Rule) and isinstance(statement, Rule)
    )


def simpler(statement: Statement) -> list[Statement]:
    """The statement without each literal or condition in turn: what it could be mistaken for."""
    if isinstance(statement, Rule):
        found: list[Statement] = [replace(statement, body=body) for body in shorter(statement.body)]
        if isinstance(statement.head, Aggregate):
            found += [replace(statement, head=head) for head in _simpler_aggregates(statement.head)]
        return found
    if isinstance(statement, Cost):
        found = []
        for n, element in enumerate(statement.elements):
            for body in shorter(element.body):
                changed: CostElement = replace(element, body=body)
                found.append(
                    replace(
                        statement, elements=(*statement.elements[:n], changed, *statement.elements[n + 1 :])
                    )
                )
        return found
    if isinstance(statement, Show) and statement.body:
        return [replace(statement, body=body) for body in shorter(statement.body)]
    return []


def shorter(body: tuple) -> list[tuple]:
    """A body without each of its literals, and without each condition inside them."""
    found = [body[:n] + body[n + 1 :] for n in range(len(body)) if len(body) > 1]
    for n, literal in enumerate(body):
        if isinstance(literal, Every) and len(literal.conditions) > 1:
            changed = [replace(literal, conditions=one) for one in shorter(literal.conditions)]
        elif isinstance(literal, Aggregate):
            changed = _simpler_aggregates(literal)
        else:
            continue
        found += [(*body[:n], one, *body[n + 1 :]) for one in changed]
    return found


def _simpler_aggregates(aggregate: Aggregate) -> list[Aggregate]:
    """An aggregate without each of its elements and conditions."""
    found = []
    elements = aggregate.elements
    for n, element in enumerate(elements):
        if len(elements) > 1:
            found.append(replace(aggregate, elements=elements[:n] + elements[n + 1 :]))
        if len(element.conditions) > 1 or element.atom and element.conditions:
            shorts = shorter(element.conditions) if len(element.conditions) > 1 else []
            for conditions in shorts:
                changed = replace(element, conditions=conditions)
                found.append(replace(aggregate, elements=(*elements[:n], changed, *elements[n + 1 :])))
    return found
