"""Scores given by the solver: single steps, repairs, and whole programs, on any folder of problems.

    python -m scripts.evaluate --model DIR [--adapter DIR] --benchmarks DIR --out FILE.json

A step is written with the gold history before it and judged in its place: does it parse, does it ground, are ALL
answer sets (projected, with costs) of ALL instances those of the gold program? A program is written on its own
history, without the loop (k0) and with it (k3). A program that meets a limit has its own verdict and never passes.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from random import Random

from tqdm.auto import tqdm

from scripts import prompts
from scripts.asp_solver import Comparison, Outcome, Relation, Request, Solver, Verdict, compare
from scripts.benchmarks import Problem, canonical, constructs, read_problems, split_of
from scripts.data_converter import Report, Variant, repair_rows
from scripts.feedback import complaint, context_of
from scripts.generate import MAX_NEW_TOKENS, Task, Writer, load_writer, program_text, write_programs
from utils_ft import BENCHMARKS, UserError, command, digest, show_path, write_json

PARTS = ("steps", "repair", "programs")
REPAIRS = 8  # a problem


@dataclass(frozen=True)
class Item:
    """One thing that was asked of the model and what became of it; `verdict` is `equal` or why not."""

    part: str
    problem: str
    family: str
    index: int
    prompt: str
    output: str
    gold: str
    code: str
    fenced: bool
    verdict: str
    evidence: str
    parse: bool
    ground: bool
    equivalent: bool
    constructs: tuple[str, ...] = ()


class Judge:
    """Compares code with the gold program of one problem, on all its instances."""

    def __init__(self, problem: Problem, solver: Solver):
        self.problem, self.solver = problem, solver
        self.steps = problem.encoding.instructed
        self.variant = Variant("original", problem.encoding.given, tuple((s.instruction, s.code) for s in self.steps))
        self.facts = list(problem.instances.values())

    @cached_property
    def gold(self) -> list[Outcome]:
        """The gold program's answer sets, one outcome an instance."""
        return self.solve(self.variant.program)

    def solve(self, program: str) -> list[Outcome]:
        return list(self.solver.run(Request(f"{facts}\n{program}", solve=True) for facts in self.facts))

    def program(self, program: str) -> Comparison:
        """How a whole program stands to the gold program."""
        return compare(self.gold, self.solve(program))

    def step(self, index: int, code: str) -> tuple[Outcome, Comparison]:
        """What clingo says of `code` after the gold steps before `index`, and how the whole program with it compares."""
        codes = [step.code for step in self.steps]
        context = context_of(self.facts[0], self.variant.given, codes[:index])
        outcome = self.solver.check(context + code)
        if not outcome.passes:
            return outcome, Comparison(Relation.DIFFERENT, outcome.verdict, outcome.message)
        return outcome, self.program(context_of("", self.variant.given, [*codes[:index], code, *codes[index + 1 :]]))


def _item(judge: Judge, part: str, index: int, prompt: str, output: str) -> Item:
    """Judge the model's `output` for step `index`."""
    code, fenced = prompts.code_of(output)
    step = judge.steps[index]
    if code:
        outcome, comparison = judge.step(index, code)
    else:
        outcome = Outcome(Verdict.SYNTAX, "error: there is no code")
        comparison = Comparison(Relation.DIFFERENT, outcome.verdict, outcome.message)
    equal = comparison.relation is Relation.EQUAL
    return Item(
        part=part, problem=judge.problem.id, family=judge.problem.family, index=index, prompt=prompt, output=output, gold=step.code,
        code=code, fenced=fenced, verdict=_verdict(outcome, comparison), evidence=comparison.evidence or outcome.message,
        parse=outcome.verdict not in (Verdict.SYNTAX, Verdict.REFUSED), ground=outcome.passes, equivalent=equal,
        constructs=tuple(sorted(set().union(*(constructs(statement) for statement in step.statements)))),
    )


def _verdict(outcome: Outcome, comparison: Comparison) -> str:
    if comparison.relation is Relation.EQUAL:
        return "equal"
    if not outcome.passes:
        return str(outcome.verdict)
    if comparison.verdict not in (Verdict.OK, Verdict.UNSATISFIABLE):
        return "undecided" if comparison.verdict is Verdict.TOO_MANY else str(comparison.verdict)
    if comparison.relation is Relation.UNDECIDED:
        return "undecided"
    return "unsatisfiable" if comparison.verdict is Verdict.UNSATISFIABLE else "wrong"


# --- the three parts --------------------------------------------------------------------------------------------


def score_steps(writer: Writer, judges: Sequence[Judge]) -> list[Item]:
    """Every step of every problem, with the gold history before it."""
    asked, where = [], []
    for judge in judges:
        description = prompts.describe(judge.problem.description, judge.variant.given)
        for index, step in enumerate(judge.steps):
            asked.append([*prompts.conversation(description, judge.variant.steps[:index]), prompts.step(step.instruction)])
            where.append((judge, index))
    with tqdm(total=len(asked), desc="steps", unit="step", disable=None) as bar:
        outputs = writer.answers(asked, bar.update)
    return [_item(judge, "steps", index, messages[-1]["content"], output)
            for (judge, index), messages, output in zip(where, asked, outputs, strict=True)]


def score_repairs(writer: Writer, judges: Sequence[Judge], seed: int = 0, limit: int = REPAIRS) -> list[Item]:
    """Repair turns on corrupted gold steps, made as the training data is; `ground` says whether the error is gone."""
    asked, where = [], []
    for judge in judges:
        rng = Random(digest("evaluate", str(seed), judge.problem.id))
        for row in repair_rows(judge.problem, {"original": judge.variant}, limit, rng, judge.solver, Report()):
            asked.append(row["messages"][:-1])
            where.append((judge, row["meta"]))
    with tqdm(total=len(asked), desc="repairs", unit="repair", disable=None) as bar:
        outputs = writer.answers(asked, bar.update)
    items = []
    for (judge, meta), messages, output in zip(where, asked, outputs, strict=True):
        item = _item(judge, "repair", meta["step"], messages[-1]["content"], output)
        fixed = item.ground and item.code != meta["broken"] and not complaint(judge.solver.check(meta["context"] + item.code), meta["context"])
        items.append(Item(**{**asdict(item), "ground": fixed, "constructs": (meta["corruption"],)}))
    return items


def score_programs(writer: Writer, judges: Sequence[Judge], k: int) -> list[Item]:
    """Whole programs, each written on its own history with up to `k` repairs a step."""
    tasks = [Task(judge.problem.description, tuple(s.instruction for s in judge.steps), judge.facts[0], judge.variant.given) for judge in judges]
    total = sum(len(task.instructions) for task in tasks)
    with Solver() as solver, tqdm(total=total, desc=f"programs k{k}", unit="step", disable=None) as bar:
        programs = write_programs(writer, tasks, k, solver, lambda *_: bar.update())
    items = []
    for judge, task, steps in zip(judges, tasks, programs, strict=True):
        text = program_text(task, steps, only_accepted=k > 0)
        outcome = judge.solver.check(f"{judge.facts[0]}\n{text}")
        comparison = judge.program(text)
        items.append(Item(
            part=f"programs k{k}", problem=judge.problem.id, family=judge.problem.family, index=0, prompt=task.description, output=text,
            gold=judge.variant.program, code=text, fenced=False, verdict=_verdict(outcome, comparison),
            evidence=comparison.evidence or outcome.message, parse=outcome.verdict not in (Verdict.SYNTAX, Verdict.REFUSED),
            ground=outcome.passes, equivalent=comparison.relation is Relation.EQUAL,
        ))
    return items


# --- figures ----------------------------------------------------------------------------------------------------


def interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a rate, (low, high)."""
    if not n:
        return 0.0, 1.0
    rate, squared = successes / n, z * z / n
    centre, half = (rate + squared / 2) / (1 + squared), z * math.sqrt(rate * (1 - rate) / n + squared / (4 * n)) / (1 + squared)
    return max(0.0, centre - half), min(1.0, centre + half)


def rates(items: Iterable[Item], names: Sequence[str] = ("parse", "ground", "equivalent")) -> dict:
    """n, each rate in 0–1, and its interval under `<name>_ci`."""
    items = list(items)
    result: dict = {"n": len(items)}
    for name in names:
        hits = sum(getattr(item, "ground" if name == "fixed" else name) for item in items)
        result[name] = hits / len(items) if items else 0.0
        result[f"{name}_ci"] = interval(hits, len(items))
    return result


def summary(items: Sequence[Item]) -> dict:
    """The figures of an evaluation: the shape of contract 4 of the design, with intervals beside each rate."""
    parts: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        parts[item.part].append(item)
    per_family: dict[str, list[Item]] = defaultdict(list)
    per_construct: dict[str, list[Item]] = defaultdict(list)
    for item in parts["steps"]:
        per_family[item.family].append(item)
        for name in item.constructs:
            per_construct[name].append(item)
    programs = {part.split()[1]: rates(found, ("parse", "equivalent")) for part, found in parts.items() if part.startswith("programs")}
    return {
        "steps": rates(parts["steps"]),
        "repair": rates(parts["repair"], ("fixed", "equivalent")),
        "programs": programs,
        "per_family": {name: rates(found) for name, found in sorted(per_family.items())},
        "per_construct": {name: rates(found) for name, found in sorted(per_construct.items())},
        "per_verdict": {part: dict(Counter(item.verdict for item in found)) for part, found in parts.items() if found},
        "verdicts": [asdict(item) for item in items],
    }


def evaluate(writer: Writer, problems: Sequence[Problem], parts: Sequence[str] = PARTS, ks: Sequence[int] = (0, 3), seed: int = 0) -> dict:
    """Score a model on `problems`; the figures and every single item."""
    items: list[Item] = []
    with Solver() as solver:
        judges = [Judge(problem, solver) for problem in problems]
        for judge in judges:
            if failing := next((outcome for outcome in judge.gold if outcome.answer_sets is None), None):
                raise UserError(f"the gold program has no complete answer: {failing.verdict} {failing.message}", where=judge.problem.encoding_file,
                                remedy=f"python -m scripts.benchmarks check {show_path(judge.problem.folder)}")
        if "steps" in parts:
            items += score_steps(writer, judges)
        if "repair" in parts:
            items += score_repairs(writer, judges, seed)
        if "programs" in parts:
            for k in ks:
                items += score_programs(writer, judges, k)
    return summary(items)


def evaluate_once(
    out: Path, model: Path, problems: Sequence[Problem], parts: Sequence[str] = PARTS, adapter: Path | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS, ks: Sequence[int] = (0, 3), seed: int = 0,
) -> dict:
    """Like `evaluate`, kept in `out`: the same model, problems and parts are not scored a second time."""
    identity = digest(_weights(model), _weights(adapter) if adapter else "", *(problem.id for problem in problems), *parts,
                      *(canonical(problem.encoding) for problem in problems), str((max_new_tokens, ks, seed)))
    if out.exists() and (kept := json.loads(out.read_text())).get("identity") == identity:
        print(f"already scored: {show_path(out)}", flush=True)
        return kept
    result = evaluate(load_writer(model, adapter, max_new_tokens), problems, parts, ks, seed)
    result = {"identity": identity, "model": show_path(model), "adapter": show_path(adapter) if adapter else None} | result
    write_json(out, result)
    return result


def _weights(folder: Path) -> str:
    """A hash of the weights in a folder."""
    return digest(*(file.read_bytes() for file in sorted(folder.glob("*.safetensors"))))


def held_out(benchmarks: Path = BENCHMARKS, split: str = "test", limit: int | None = None) -> list[Problem]:
    """The problems of a split; `limit` of them, spread evenly over the families."""
    problems = read_problems(benchmarks)
    splits = split_of(problems, benchmarks)
    chosen = [problem for problem in problems if splits[problem.id] == split]
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[round(index * len(chosen) / limit)] for index in range(limit)]


def main(
    model: Path, out: Path, benchmarks: Path = BENCHMARKS, adapter: Path | None = None, split: str = "auto",
    parts: str = ",".join(PARTS), problems: int | None = None, seed: int = 0,
) -> None:
    """Score a model on problems and write the figures and every single answer to a JSON file.

    --split test, valid, train or all; `auto` takes the test problems of a folder that has a split.json, else all.
    """
    wanted = tuple(part.strip() for part in parts.split(","))
    if unknown := set(wanted) - set(PARTS):
        raise UserError(f"unknown part {sorted(unknown)[0]!r}", remedy=f"some of {', '.join(PARTS)}")
    if split == "auto":
        split = "test" if (benchmarks / "split.json").exists() else "all"
    chosen = read_problems(benchmarks)[:problems] if split == "all" else held_out(benchmarks, split, problems)
    if not chosen:
        raise UserError(f"no problem of this folder is in the split {split!r}", where=benchmarks, remedy="use --split all")
    result = evaluate_once(out, model, chosen, wanted, adapter, seed=seed)
    for name in ("steps", "repair"):
        if name in wanted:
            print(f"{name:12} " + "  ".join(f"{key} {value:.1%}" if isinstance(value, float) else f"n {value}"
                                            for key, value in result[name].items() if not key.endswith("_ci")))
    for name, value in result["programs"].items():
        print(f"programs {name:3} n {value['n']}  parse {value['parse']:.1%}  equivalent {value['equivalent']:.1%}")
    print(show_path(out))


if __name__ == "__main__":
    command(main)()
