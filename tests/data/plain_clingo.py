"""A check of converted rows with plain clingo: `python -I plain_clingo.py DATA BENCHMARKS`.

It runs in a process of its own and imports nothing of this project, so that it shares no error with it. It
prints how many rows of each kind it has checked and how many `failed`, as JSON, and each failure on standard
error.
"""

import json
import re
import sys
from functools import cache
from pathlib import Path

import clingo


def ground(program):
    """Ground `program`. Return the control (None if clingo rejects the program), the errors and the notes."""
    errors, notes = [], []

    def log(code, text):
        (errors if code == clingo.MessageCode.RuntimeError else notes).append(text.rstrip("\n"))

    control = clingo.Control(["--opt-mode=optN", "--project=show", "0"], logger=log, message_limit=500)
    try:
        control.add("base", [], program)
        control.ground([("base", [])])
    except RuntimeError:
        return None, errors, notes
    return control, errors, notes


def bounded(messages):
    """The text of a message in a row, as docs/data.md states it.

    The first three messages with different first lines; a line has at most 240 characters, the text 1,000.
    What is cut off is replaced by " …".
    """
    first_lines, chosen = set(), []
    for message in messages:
        line = message.split("\n")[0]
        if line not in first_lines and len(chosen) < 3:
            first_lines.add(line)
            chosen.append(message)
    text = "\n".join(cut(line, 240) for line in "\n".join(chosen).split("\n"))
    return cut(text, 1000)


def cut(text, length):
    """The text, or its first characters and " …"."""
    return text if len(text) <= length else text[:length] + " …"


@cache
def answer_sets(program):
    """The projected (optimal) answer sets with costs.

    The solver uses a callback for them, this a solve handle.
    """
    control, errors, _ = ground(program)
    assert control, errors
    sets = set()
    with control.solve(yield_=True) as handle:
        for model in handle:
            if not model.cost or model.optimality_proven:
                sets.add((frozenset(map(str, model.symbols(shown=True))), tuple(model.cost)))
    return frozenset(sets)


def in_some(sets):
    """The atoms that are in some answer set."""
    return set().union(*(atoms for atoms, _ in sets))


def in_all(sets):
    """The atoms that are in all answer sets."""
    return set.intersection(*(set(atoms) for atoms, _ in sets)) if sets else set()


def cost_of(sets):
    """The optimal cost, as a message has it."""
    return " ".join(map(str, min((cost for _, cost in sets), default=()))) or "none"


def is_true(sentence, right, wrong):
    """Whether a sentence about the answer sets of a corrected and a broken rule is true."""
    atom_sentences = {
        r"the atom (.*) is never true, though it should be possible": in_some(right) - in_some(wrong),
        r"the atom (.*) is possible, though it should never be true": in_some(wrong) - in_some(right),
        r"the atom (.*) is not in every answer set, though it should be": in_all(right) - in_all(wrong),
        r"the atom (.*) is in every answer set, though it should not be": in_all(wrong) - in_all(right),
    }
    for pattern, atoms in atom_sentences.items():
        if match := re.fullmatch(pattern, sentence, re.DOTALL):
            return match[1] in atoms
    if match := re.fullmatch(r"the optimal cost is (.*), though it should be (.*)", sentence):
        return match.groups() == (cost_of(wrong), cost_of(right)) and match[1] != match[2]
    if match := re.fullmatch(r"there are (\d+) answer sets, though there should be (\d+)", sentence):
        return match.groups() == (str(len(wrong)), str(len(right))) and match[1] != match[2]
    return sentence in (
        "the answer sets combine the same atoms in other ways than they should",
        "SATISFIABLE, though there should be no answer set",
    )


def check_repair(row):
    """The message is clingo's message about the broken rule, or true; clingo accepts the corrected rule."""
    meta = row["meta"]
    broken, fixed = meta["context"] + meta["broken"], meta["context"] + meta["fixed"]
    control, errors, notes = ground(broken)
    if meta["corruption"] == "unsatisfiable":
        assert meta["error"] == "UNSATISFIABLE" and answer_sets(broken) == set() != answer_sets(fixed)
    elif meta["corruption"] == "answer sets differ":
        opening, _, sentence = meta["error"].partition(", but ")
        assert opening == "clingo accepts this code" and not errors
        right, wrong = answer_sets(fixed), answer_sets(broken)
        assert right != wrong and is_true(sentence, right, wrong), sentence
    elif meta["corruption"] == "wrong arity":
        parts = meta["error"].split("\n<block>")
        said = [bounded([note]) for note in notes]
        assert control and all(any(part in note for note in said) for part in parts), (meta["error"], notes)
    else:
        assert control is None and bounded(errors) == meta["error"], (errors, meta["error"])
    control, errors, notes = ground(fixed)
    assert control and not errors
    if meta["corruption"] == "wrong arity":
        assert not any(note in meta["error"] for note in notes)


def retelling_names(meta, benchmarks):
    """The new names of the retelling of a row; strings stand in quotation marks."""
    if "retelling" not in meta:
        return {}
    file = benchmarks / meta["family"] / meta["problem"] / "retellings.json"
    entry = next(one for one in json.loads(file.read_text()) if one["domain"] == meta["retelling"])
    names = entry.get("constants", {}) | entry["predicates"]
    return names | {f'"{old}"': f'"{new}"' for old, new in names.items()}


def check_conversation(row, benchmarks):
    """The program has the answer sets of the problem's encoding, up to the predicate names."""
    meta, messages = row["meta"], row["messages"]
    names = meta.get("vocabulary", {}) or retelling_names(meta, benchmarks)

    def renamed(text):
        words = r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*'
        return re.sub(words, lambda word: names.get(word[0], word[0]), text)

    assert len(set(names.values())) == len(names)
    assert "retelling" in meta or not set(names.values()) & set(names)
    given = messages[0]["content"].partition("\n\nThe program already contains:\n")[2]
    rules = [message["content"] for message in messages if message["role"] == "assistant"]
    program = "\n".join([given, *rules])
    folder = benchmarks / meta["family"] / meta["problem"]
    gold = (folder / "encoding.lp").read_text()
    for instance in sorted((folder / "instances").glob("*.lp")):
        facts = instance.read_text() + "\n"
        expected = {(frozenset(map(renamed, atoms)), cost) for atoms, cost in answer_sets(facts + gold)}
        assert answer_sets(renamed(facts) + program) == expected, instance


def main():
    data, benchmarks = map(Path, sys.argv[1:])
    assert not any(name.split(".")[0] in ("scripts", "utils_ft") for name in sys.modules)
    counts = {}
    for file in sorted(data.glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            row = json.loads(line)
            kind = row["meta"]["kind"]
            try:
                if kind == "repair":
                    check_repair(row)
                else:
                    check_conversation(row, benchmarks)
            except AssertionError as error:
                corruption = row["meta"].get("corruption")
                print(f"{file.name}:{number}: {kind}: {corruption}: {error}", file=sys.stderr)
                counts["failed"] = counts.get("failed", 0) + 1
            counts[kind] = counts.get(kind, 0) + 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
