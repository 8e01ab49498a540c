"""The importer of the Savanty benchmark: constraint problems in JSON, with their ground truth.

A problem assigns a value to each variable, `assign(Var,Value)`. Its constraints become a gold program, and
this is verified with the ground truth of the file: whether there is a solution, the reference solution, the
optimal value. A problem is left out if this fails, or if its answer sets cannot all be enumerated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.asp.solver import Outcome, Solver, Verdict
from scripts.data.expected import Expected
from scripts.data.importers.layout import ImportedProblem, json_objects
from utils_ft import UserError, show_path

FAMILY = "savanty"
_REMEDY = "fetch the repository of Savanty and name its folder benchmark/problems"
_NEEDED = ("id", "nl_description", "variables", "domains", "constraints", "feasible")
_OUTPUT = """## Output

`assign(Var,Value)`: the variable Var has the value Value. Each variable has exactly one value. Each answer
set is a solution{best}. Shown. Names and values are constants as in these domains; there are no facts.
"""


def read_savanty(source: Path, solver: Solver) -> list[ImportedProblem]:
    """The problems in a folder of Savanty's JSON files that can be enumerated and verified.

    A problem that is left out is named with the reason.

    Raises:
        UserError: The folder has no such file, or none of its problems is left.
    """
    problems = []
    for file, content in json_objects(source, _NEEDED, _REMEDY):
        try:
            problems.append(_problem(content, solver))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            print(f"left out, {error}: {show_path(file)}", flush=True)
    if not problems:
        raise UserError("no problem of this folder can be verified", where=source, remedy=_REMEDY)
    return problems


def _problem(content: Mapping[str, Any], solver: Solver) -> ImportedProblem:
    """A problem with its gold program's answer sets. ValueError if the ground truth says something else."""
    program = program_of(content)
    outcome = solver.answer_sets(program)
    if outcome.answer_sets is None:
        raise ValueError(f"not all answer sets can be enumerated ({outcome.verdict})")
    _verify(content, outcome)
    best = ", as good as possible" if content.get("objective") else ""
    if not isinstance(content["nl_description"], str):
        raise ValueError("the description is no text")
    domains = "\n".join(
        f"- `{name}`: {', '.join(f'`{value}`' for value in content['domains'][name])}"
        for name in content["variables"]
    )
    name = ("unsat_" if outcome.verdict is Verdict.UNSATISFIABLE else "") + "only"
    found = Expected(("assign/2",), frozenset(atoms for atoms, _ in outcome.answer_sets))
    return ImportedProblem(
        f"{FAMILY}/{content['id']}",
        f"{content['nl_description']}\n\n{_OUTPUT.format(best=best)}\n{domains}",
        instances={name: "% no facts"},
        expected={name: found},
    )


def program_of(content: Mapping[str, Any]) -> str:
    """The gold program of a problem. KeyError for a kind of constraint that is not known."""
    names = [_constant(name) for name in content["variables"]]
    if len(set(names)) != len(names):
        raise ValueError("two variables have one name")
    lines = []
    for name in content["variables"]:
        values = ";".join(_constant(value) for value in content["domains"][name])
        lines.append(f"{{ assign({_constant(name)},({values})) }} = 1.")
    for constraint in content["constraints"]:
        if constraint["type"] not in _CONSTRAINTS:
            raise ValueError(f"the constraint {constraint['type']!r} is not known")
        lines += _CONSTRAINTS[constraint["type"]](constraint, content["variables"])
    if objective := content.get("objective"):
        weights = [
            f"{_whole(weight)},{_constant(name)} : assign({_constant(name)},{_constant(value)})"
            for name, by_value in objective["weights"].items()
            for value, weight in by_value.items()
        ]
        sense = {"max": "#maximize", "min": "#minimize"}[objective["sense"]]
        lines.append(f"{sense} {{ {'; '.join(weights)} }}.")
    return "\n".join([*lines, "#show assign/2."])


def _different(constraint: Mapping[str, Any], _variables: Sequence[str]) -> Iterator[str]:
    one, other = _constant(constraint["a"]), _constant(constraint["b"])
    yield f":- assign({one},V), assign({other},V)."


def _equal(constraint: Mapping[str, Any], _variables: Sequence[str]) -> Iterator[str]:
    one, other = _constant(constraint["a"]), _constant(constraint["b"])
    yield f":- assign({one},V), not assign({other},V)."


def _all_different(constraint: Mapping[str, Any], _variables: Sequence[str]) -> Iterator[str]:
    names = ";".join(_constant(name) for name in constraint["vars"])
    yield f":- assign(X,V), assign(Y,V), X < Y, X = ({names}), Y = ({names})."


def _forbidden(constraint: Mapping[str, Any], _variables: Sequence[str]) -> Iterator[str]:
    yield f":- assign({_constant(constraint['var'])},{_constant(constraint['value'])})."


def _required(constraint: Mapping[str, Any], _variables: Sequence[str]) -> Iterator[str]:
    yield f":- not assign({_constant(constraint['var'])},{_constant(constraint['value'])})."


def _counted(key: str, operator: str) -> Callable[[Mapping[str, Any], Sequence[str]], Iterator[str]]:
    """A bound on how many variables have a value; the constraint is broken if the count is `operator` it."""

    def write(constraint: Mapping[str, Any], variables: Sequence[str]) -> Iterator[str]:
        value = _constant(constraint["value"])
        names = ";".join(_constant(name) for name in constraint.get("vars") or variables)
        yield f":- #count {{ X : assign(X,{value}), X = ({names}) }} {operator} {_whole(constraint[key])}."

    return write


def _weighted(constraint: Mapping[str, Any], _variables: Sequence[str]) -> Iterator[str]:
    value = _constant(constraint["selected_value"])
    weights = "; ".join(
        f"{_whole(weight)},{_constant(name)} : assign({_constant(name)},{value})"
        for name, weight in constraint["weights"].items()
    )
    yield f":- #sum {{ {weights} }} > {_whole(constraint['bound'])}."


_CONSTRAINTS: dict[str, Callable[[Mapping[str, Any], Sequence[str]], Iterator[str]]] = {
    "not_equal": _different,
    "equal": _equal,
    "all_different": _all_different,
    "forbidden": _forbidden,
    "required": _required,
    "capacity": _counted("max", ">"),
    "min_count": _counted("min", "<"),
    "exact_count": _counted("count", "!="),
    "weighted_capacity": _weighted,
}


def _verify(content: Mapping[str, Any], outcome: Outcome) -> None:
    """ValueError unless the answer sets agree with the ground truth of the file."""
    if bool(content["feasible"]) is not bool(outcome.answer_sets):
        raise ValueError("the file says otherwise whether there is a solution")
    if not outcome.answer_sets:
        return
    objective, (_, costs) = content.get("objective"), next(iter(outcome.answer_sets))
    best = content.get("optimal_value")
    if objective and best is not None:
        found = -costs[0] if objective["sense"] == "max" else costs[0]
        if found != best:
            raise ValueError(f"the best value is {found}, and the file says {best}")
    witness = content.get("_reference_witness")
    if witness and not objective:
        atoms = tuple(
            sorted(f"assign({_constant(name)},{_constant(value)})" for name, value in witness.items())
        )
        if atoms not in {atoms for atoms, _ in outcome.answer_sets}:
            raise ValueError("the reference solution is no answer set")


def _constant(value: Any) -> str:
    """A name or a value as a constant of a program. ValueError if it is none."""
    text = str(value)
    if not re.fullmatch(r"[a-z][A-Za-z0-9_]*|0|[1-9][0-9]*", text):
        raise ValueError(f"{text!r} is no constant")
    return text


def _whole(value: Any) -> int:
    """A weight as a whole number. ValueError if it is none."""
    if int(value) != value:
        raise ValueError(f"{value} is no whole number")
    return int(value)
