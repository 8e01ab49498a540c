"""Rates, intervals and tables."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from scripts.data.problems import Problem, held_out_families, read_collection
from scripts.evaluation.evaluate import evaluate
from scripts.evaluation.items import Item, RepairItem, item_from_json
from scripts.evaluation.scores import Figures, interval, summary
from scripts.evaluation.settings import EvaluationSettings, Part
from scripts.evaluation.tables import scores_table
from scripts.notebook import plots
from tests.fakes import ScriptedGenerator
from utils_ft import BENCHMARKS


def test_rates_come_by_family_construct_and_verdict_with_intervals(
    gold_figures: Figures, gold: dict[str, str]
) -> None:
    assert set(gold_figures["per_family"]) == {"graphs", "scheduling", "planning"}
    assert sum(rates["n"] for rates in gold_figures["per_family"].values()) == len(gold)
    constructs = {"integrity constraint", "#show", "choice rule with bounds"}
    assert constructs <= set(gold_figures["per_construct"])
    assert gold_figures["per_verdict"]["steps"] == {"equal": len(gold)}
    low, high = gold_figures["steps"]["equivalent_ci"]
    assert 0.9 < low < high == 1.0


def test_the_json_has_the_keys_of_the_contract(gold_figures: Figures) -> None:
    stored = json.loads(json.dumps(gold_figures))
    assert stored == gold_figures
    assert {"n", "parse", "ground", "equivalent"} <= set(stored["steps"])
    assert {"n", "fixed", "equivalent"} <= set(stored["repair"])
    assert all({"n", "parse", "equivalent"} <= set(rates) for rates in stored["programs"].values())
    for item in stored["verdicts"]:
        kind = RepairItem if item["part"] == "repair" else Item
        assert set(item) == {field.name for field in fields(kind)}


def test_an_item_is_the_same_after_it_is_read_again(gold_figures: Figures) -> None:
    assert all(item_from_json(record).as_json() == record for record in gold_figures["verdicts"])


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Part("steps"), "steps"),
        (Part("loop", 3), "loop k3"),
        (Part("loop", 0, 4), "loop k0n4"),
        (Part("programs", 10, 12), "programs k10n12"),
        (Part("loop", 3, repair="conversation"), "loop k3c"),
        (Part("programs", 3, 4, "conversation"), "programs k3n4c"),
    ],
)
def test_a_part_has_one_name(part: Part, name: str) -> None:
    assert part.name == name and Part.from_name(name) == part


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (47, 100, 0.3751, 0.5671),
        (0, 0, 0.0, 1.0),
    ],
)
def test_intervals_are_wilsons(successes: int, n: int, low: float, high: float) -> None:
    assert interval(successes, n) == pytest.approx((low, high), abs=2e-4)


def test_no_items_are_no_error() -> None:
    empty = summary([])
    assert empty["steps"]["n"] == empty["repair"]["n"] == 0 and empty["programs"] == empty["loop"] == {}


def test_held_out_families_are_scored_apart(some_problems: list[Problem], gold_figures: Figures) -> None:
    split = json.loads((BENCHMARKS / "split.json").read_text())
    assert held_out_families(read_collection().problems) == set(split["test_families"])
    halves = ("seen_families", "held_out_families")
    assert not set(halves) & set(gold_figures), "none of these families is held out"
    items = [item_from_json(record) for record in gold_figures["verdicts"]]
    items = [replace(item, equivalent=item.family == "graphs") for item in items]
    figures = summary(items, {"graphs"})
    assert figures["held_out_families"]["steps"]["equivalent"] == 1.0
    assert figures["seen_families"]["steps"]["equivalent"] == 0.0
    for part in ("steps", "repair"):
        assert figures[part]["n"] == sum(figures[half][part]["n"] for half in halves)
    table = scores_table({"": figures})
    assert table["held-out families"][0].startswith("100.0 %")
    assert table["seen families"][0].startswith("0.0 %")


def test_tables_and_plots_show_every_part(gold_figures: Figures, some_problems: list[Problem]) -> None:
    without_code = ScriptedGenerator.by_instruction(lambda _: "")
    wrong = evaluate(without_code, some_problems, EvaluationSettings(("steps",)))
    results = {"base": wrong, "fine-tuned": gold_figures}
    table = scores_table(results)
    parts = ["steps", "steps", "steps, loop k3", "repair", "programs k0", "programs k3"]
    assert list(table["part"]) == parts
    assert table["same answer sets"][0].startswith("0.0 % (0–")
    assert table["same answer sets"][1].startswith("100.0 %")
    bars = plots.before_after(results)
    labels = {text.get_text() for text in bars.axes[0].get_legend().get_texts()}
    assert labels == {"base", "fine-tuned", "with the loop"}
    for figure in (plots.by_family({"fine-tuned": gold_figures}), plots.verdicts(results)):
        assert figure.axes
