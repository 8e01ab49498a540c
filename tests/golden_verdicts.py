"""What scoring and encoding do to known inputs, recorded for each version of them in golden_verdicts.json.

    python -m tests.golden_verdicts

The command writes the records of the current version. It never replaces the records of a version. If the
recorded behaviour changes, first raise `SCORING_VERSION` (scripts/evaluation/results.py) or
`ENCODING_VERSION` (scripts/lm/chat.py).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from scripts.asp.grammar import Grammar
from scripts.asp.solver import Limits, Solver
from scripts.data.conversion import convert
from scripts.data.problems import Problem, read_problem
from scripts.data.renamed_problems import RenamedProblem
from scripts.data.repairs import RepairMaker
from scripts.data.settings import ConversionSettings
from scripts.evaluation import parts, results
from scripts.evaluation.ablations import score_whole
from scripts.evaluation.evaluate import evaluate
from scripts.evaluation.grader import Grader
from scripts.evaluation.items import Item
from scripts.evaluation.own_errors import own_errors
from scripts.evaluation.settings import EvaluationSettings, Part
from scripts.inference import attempts, repair_loop, voting
from scripts.inference.attempts import check
from scripts.inference.repair_loop import LoopSettings, write_steps
from scripts.lm import chat, prompts
from scripts.lm.smoke_model import smoke_model
from tests.fakes import ScriptedGenerator, instruction_of
from utils_ft import BENCHMARKS, UserError, command, content_hash, read_text, show_path, write_text

FILE = Path(__file__).with_name("golden_verdicts.json")

Record = dict[str, Any]
"""A record: `what` is recorded, the input that it is `of`, and the `result`."""

ENDLESS = "r(1..3000). :- r(X), r(Y), r(Z), X * Y + Z < 0."  # it runs out of time, not of memory

# Problem → step → name of the answer → answer. None of the problems is a test problem.
ANSWERS: dict[str, dict[int, dict[str, str]]] = {
    "graphs/crane_deadlock": {
        3: {  # recursion: stuck(A,C) :- stuck(A,B), stuck(B,C).
            "equivalent": "stuck(A,C) :- stuck(A,B), waits(B,C,_), -drop(B,C).",
            "syntax error": "stuck(A,C) :- stuck(A,B) stuck(B,C).",
            "unsafe variable": "stuck(A,C) :- stuck(A,B).",
            "wrong arity": "stuck(A,C) :- stuck(A,B,_), stuck(B,C).",
            "wrong meaning": "stuck(C,A) :- stuck(A,B), stuck(B,C), B != C.",
            "unsatisfiable": "stuck(A,A) :- crane(A).",
            "never ends": ENDLESS,
            "#include": 'stuck(A,C) :- stuck(A,B), stuck(B,C). #include "more.lp".',
            "#script": "#script (python)\nprint(1)\n#end.",
            "equivalent, #script in a comment": "stuck(A,C) :- stuck(A,B), stuck(B,C). % no #script",
        },
        4: {  # constraint: :- stuck(A,A).
            "equivalent": ":- stuck(A,B), stuck(B,A).",
            "prose": "No circles:\n:- stuck(A,A).",
            "unsatisfiable": ":- crane(A).",
            "wrong meaning": ":- stuck(A,B), A < B.",
        },
        6: {  # weak constraint: :~ drop(A,B), waits(A,B,P). [P@2,A,B]
            "equivalent": "#minimize { P@2,A,B : drop(A,B), waits(A,B,P) }.",
            "syntax error": ":~ drop(A,B), waits(A,B,P).",
            "equivalent, on another level": ":~ drop(A,B), waits(A,B,P). [P@3,A,B]",
            "wrong meaning": ":~ drop(A,B), waits(A,B,P). [-P@2,A,B]",
        },
        9: {  # #show idle(A) : losses(A,0).
            "equivalent": "#show idle(A) : losses(A,N), N = 0.",
            "wrong meaning": "#show losses/2.",
        },
    },
    "graphs/radio_channels": {
        3: {  # choice: 1 { tuned(M,C) : channel(C) } 1 :- mast(M).
            "equivalent": "{ tuned(M,C) : channel(C) } = 1 :- mast(M).",
            "syntax error": "{{ tuned(M,C) : channel(C) }} = 1 :- mast(M).",
            "unsafe variable": "{ tuned(M,C) } = 1 :- mast(M).",
            "wrong arity": "{ tuned(M,C) : channel(C) } = 1 :- mast(M,_).",
            "wrong meaning": "{ tuned(M,C) : channel(C), C > 1 } = 1 :- mast(M).",
            "unsatisfiable": "{ tuned(M,C) : channel(C), C < 1 } = 1 :- mast(M).",
        },
        9: {  # optimisation: #minimize{ T : top(T) }.
            "equivalent": ":~ top(T). [T]",
            "wrong meaning": "#maximize{ T : top(T) }.",
            "illegal place": "cost = #minimize{ T : top(T) }.",
        },
    },
    "graphs/canal_spill": {
        3: {  # recursion: polluted(Y) :- polluted(X), gate(G,X,Y), open(G).
            "equivalent": "polluted(Y) :- open(G), gate(G,X,Y), polluted(X), not closed(G).",
            "wrong arity": "polluted(Y) :- polluted(X), gate(X,Y), open(G).",
            "wrong meaning": "polluted(Y) :- polluted(X), gate(G,X,Y), closed(G).",
        },
        9: {  # aggregate: :- #sum{ E,G : closed(G), effort(G,E) } > budget.
            "equivalent": ":- budget < #sum{ E,G : effort(G,E), closed(G) }.",
            "syntax error": ":- #sum{ E,G : closed(G), effort(G,E) > budget.",
            "wrong meaning": ":- #count{ E,G : closed(G), effort(G,E) } > budget.",
        },
    },
    "genealogy/blood_alleles": {
        2: {  # choice: { gene(P,S,A) : allele(A) } = 1 :- founder(P), S = (mat;pat).
            "equivalent, in two statements": "{ gene(P,mat,A) : allele(A) } = 1 :- founder(P).\n"
            "{ gene(P,pat,A) : allele(A) } = 1 :- founder(P).",
            "equivalent, on the instances": "{ gene(P,S,A) : allele(A) } = 1 :- person(P), S = (mat;pat).",
            "unsatisfiable": "{ gene(P,S,A) : allele(A) } = 1 :- founder(P), S = mat.\n"
            ":- founder(P), not gene(P,pat,_).",
            "unsatisfiable, on an instance": "{ gene(P,S,A) : allele(A), A != o } = 1 :- founder(P), "
            "S = (mat;pat).",
        },
        9: {  # constraint: :- tested(P,G), not group(P,G).
            "equivalent": ":- tested(P,G), group(P,H), H != G.",
            "wrong meaning": ":- tested(P,G), group(P,G).",
        },
        10: {  # #show gene/3.
            "equivalent": "#show gene/3. #show none/0.",
            "wrong meaning": "#show gene(P,S,A) : gene(P,S,A).",
            "wrong arity": "#show gene/2.",
        },
    },
    "genealogy/baptism_book": {
        8: {  # aggregate: baby(C) :- born(C,Y), Y = #max{ Z : born(_,Z) }.
            "equivalent": "baby(C) :- born(C,Y), not born(_,Z) : born(_,Z), Z > Y.",
            "too many answer sets": "baby(C) :- born(C,Y), Y = #max{ Z : born(_,Z) }.\n{ more(1..12) }.",
            "wrong meaning": "baby(C) :- born(C,Y), Y = #min{ Z : born(_,Z) }.",
        },
    },
    "databases/pantry_ledger": {
        2: {  # disjunction: accepted(T,I) | rejected(T,I) :- doubtful(T,I), entry(T,I,_).
            "equivalent": "{ accepted(T,I); rejected(T,I) } = 1 :- doubtful(T,I), entry(T,I,_).",
            "unsatisfiable": "accepted(T,I) :- doubtful(T,I), entry(T,I,_).",
        },
        11: {  # optimisation: #maximize{ 1,T,I : doubtful(T,I), accepted(T,I) }.
            "equivalent": "#minimize{ -1,T,I : doubtful(T,I), accepted(T,I) }.",
            "other costs": "#maximize{ 2,T,I : doubtful(T,I), accepted(T,I) }.",
        },
    },
}

STATEMENTS = (
    "a.",
    "p(X) :- q(X), not r(X).",
    "{ p(X) : q(X) } = 1 :- s.",
    ":- a, #count { X : p(X) } > 2.",
    ":~ p(X). [X@1,X]",
    "#show p/2.",
    "#minimize { W@2,X : p(X,W) }.",
    "a | not b; c : d.",
    "p(1..3,(a;b)).",
    "a :- X = #sum+ { W,P : p(W,P) }, X != 2*Y-|Z|, q(Y,Z).",
    "#show X : p(X), not q(X).",
    "#const n = 3*(m+1).",
    "#external p(X) : q(X). [true]",
    "#defined p/1.",
    "#project p(X) : q(X).",
    "-a :- not not b.",
    'p("s",#inf).',
    "a :- X \\= Y.",
    "p(@f(1)).",
    "&diff { x } <= 3.",
    "p(1.5).",
    "p(007).",
    "",
    "a",
    "a. b.",
    "% a.",
    "```a.```",
    "{{ a }}.",
    "a :- b and c.",
    '#include "x".',
    "p(X)..",
)

CONVERSATION = [
    {"role": "system", "content": "Colour a map with `hue(C)`."},
    {"role": "user", "content": "Each node gets exactly one of the colours."},
    {"role": "assistant", "content": "{ colour(N, C) : hue(C) } = 1 :- node(N)."},
    {"role": "user", "content": "Say what is shown, größer ≥ klein."},
    {"role": "assistant", "content": " % a comment, 100 %\n#show colour/2.\n"},
]


def slipping(gold: dict[str, str]) -> ScriptedGenerator:
    """A generator that knows the gold code of each instruction and errs.

    The error depends on nothing but the conversation and the number of the answer.
    """

    def answer(messages: list[prompts.Message], number: int) -> str:
        code = gold[instruction_of(messages)]
        variants = (
            code,
            code,
            code,
            f"```asp\n{code}\n```",
            f"{code} )",
            f"{code}\n:- not nowhere.",
            f"{code}\nnowhere(X).",
            "% nothing",
        )
        return variants[int(content_hash(_text(messages), str(number)), 16) % len(variants)]

    return ScriptedGenerator(answer)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _record(what: str, of: str, result: Any) -> Record:
    return {
        "what": what,
        "of": of,
        "result": json.loads(_text(result)),
    }  # with lists in place of tuples, as it is read again


# --- scoring ---


def scoring_records() -> list[Record]:
    """The records of scoring, with real clingo and shipped problems."""
    problems = [read_problem(BENCHMARKS / name, name.split("/")[0]) for name in ANSWERS]
    with Solver() as solver, tempfile.TemporaryDirectory() as scratch:
        graders = [Grader(problem, solver) for problem in problems]
        return [
            *prompt_records(graders),
            *(record for grader in graders for record in _answers(grader)),
            *(record for grader in graders[:2] for record in _programs(grader)),
            *_loop(graders[0]),
            _evaluation(problems[:2]),
            *(_repairs(grader) for grader in graders),
            *_conversion(problems[0]),
            _whole(graders[:2]),
            _own_errors(problems[1], solver),
            _grammar(Path(scratch)),
        ]


def prompt_records(graders: Sequence[Grader]) -> Iterator[Record]:
    """The prompts of each step, of a repair and of a whole program, and the limits of the solver."""
    yield _record(
        "limits",
        "defaults",
        asdict(Limits())
        | {
            "repairs": parts.REPAIRS,
            "vote_sets": voting.VOTE_SETS,
            "others": repair_loop.REDRAWN,
            "solve_seconds": attempts.SOLVE_SECONDS,
        },
    )
    for grader in graders:
        requests = grader.loop_requests()
        yield _record(
            "prompts of the steps, hashed",
            grader.problem.id,
            [content_hash(_text(request.messages)) for request in requests],
        )
        yield _record(
            "contexts of the steps, hashed",
            grader.problem.id,
            content_hash(*(f"{request.solve} {request.context}" for request in requests)),
        )
    yield _record("prompt of a repair", "a made-up step", prompts.repair(" Do. ", "a :- b", "error: no"))
    yield _record("description", "with code that is there already", prompts.describe("Some problem.", "a."))
    yield _record(
        "prompt of a program in one turn, hashed",
        "a made-up problem",
        content_hash(
            _text(
                prompts.at_once(prompts.conversation("Some problem.", [("First.", "a."), ("Second.", "b.")]))
            )
        ),
    )
    for output in ("a.", "```\na.\n```", "Here:\n```asp\na.\n```\nSo.", "a.\n```", "```a.```", " \n"):
        yield _record("code of an output", output, prompts.code_of(output))


def _answers(grader: Grader) -> Iterator[Record]:
    """The verdict of each answer, and what the repair loop does with it."""
    requests = grader.loop_requests()
    for index, special in ANSWERS[grader.problem.id].items():
        step, request = grader.steps[index], requests[index]
        answers = {
            "gold": step.code,
            "gold in a fence": f"Here is the rule:\n```prolog\n{step.code}\n```\n",
            **special,
        }
        if index == min(ANSWERS[grader.problem.id]):
            answers |= {"empty": "", "only a comment": "% nothing to do", "only a fence": "```\n```"}
        for what, answer in answers.items():
            of = f"{grader.problem.id}, step {index}, {what}"
            [attempt] = check([request], [answer], grader.solver)
            item = grader.step_item(Part("steps"), index, step.instruction, attempt)
            if answer == ENDLESS:  # how far it gets is the machine's
                yield _record("answer", of, {"verdict": item.verdict})
                continue
            asked = prompts.repair(request.instruction, attempt.code, attempt.message)
            yield _record(
                "answer",
                of,
                _graded(item)
                | {
                    "constructs": item.constructs,
                    "complaint": attempt.message,
                    "rank": attempt.rank,
                    "prompt of the repair, hashed": content_hash(_text(asked)),
                },
            )


def _graded(item: Item) -> dict[str, Any]:
    names = ("verdict", "evidence", "parse", "ground", "equivalent", "fenced")
    return {name: getattr(item, name) for name in names}


def _programs(grader: Grader) -> Iterator[Record]:
    codes = [step.code for step in grader.steps]
    programs = {
        "right": "\n".join(codes),
        "right, backwards": "\n\n".join(reversed(codes)),
        "wrong, a constraint is missing": "\n".join(code for code in codes if not code.startswith(":- ")),
        "wrong, it does not parse": "\n".join([*codes, "and so on"]),
        "wrong, empty": "",
    }
    for what, program in programs.items():
        yield _record(
            "program",
            f"{grader.problem.id}, {what}",
            _graded(grader.program_item(Part("programs", 0), program, 1)),
        )


def _loop(grader: Grader) -> Iterator[Record]:
    """The attempts of the repair loop, which of them is the best, and its solver message."""
    scripts = {  # step → answers, samples; how many of the samples are drawn depends on k and samples
        3: (
            [
                "stuck(A,C) :- stuck(A,B) stuck(B,C).",
                "stuck(A,C) :- stuck(A,B).",
                "stuck(A,C :- stuck(B,C).",
                grader.steps[3].code,
            ],
            [
                "stuck(A,C) :- stuck(A,B,_), stuck(B,C).",
                "stuck(A,C) :- stuck(A,D).",
                "stuck(A,C) :- stuck(A,B). % so",
                "nothing",
                "stuck(A,C) :- stuck(A,B,_).",
                "stuck(A,B,C) :-",
                "stuck(A,C) :- stuck(A,B), stuck(B,C).",
                "so",
            ],
        ),
        4: (
            [":- crane(A)."] * 4,
            [
                ":- crane(A).",
                ":- crane(B).",
                ":- stuck(A,B), A < B.",
                ":- stuck(A,B), stuck(B,A).",
                *[":- a."] * 4,
            ],
        ),
        6: (
            ["", "% none", ":~ drop(A,B), waits(A,B,P). [P@2]", ":~ drop(A,B). [1@2]"],
            ["", ":~ drop(A,B)", *[""] * 6],
        ),
        9: (
            ["#show idle(A) : losses(A,0,0).", "#show idle(A) : losses(A,0).", "", ""],
            ["#show idle(B) : losses(B,0).", "#show idle(B) : losses(B,0), crane(B).", *[""] * 6],
        ),
        2: (
            ["stuck(A,B) :- waits(A,B,P), drop(A,B).", *[""] * 3],  # the vote is against it
            ["stuck(A,B) :- waits(A,B,P), -drop(A,B).", "stuck(A,B) :- -drop(A,B).", *[""] * 6],
        ),
    }
    every = grader.loop_requests()
    requests = [every[index] for index in scripts]
    for k in range(4):
        for samples in (1, 3):
            texts, samples_of = (
                {
                    request.instruction: list(script[part])
                    for request, script in zip(requests, scripts.values(), strict=True)
                }
                for part in (0, 1)
            )
            written = write_steps(
                ScriptedGenerator.by_list(texts, samples_of),
                requests,
                LoopSettings(k, samples),
                grader.solver,
            )
            for index, step in zip(scripts, written, strict=True):
                yield _record(
                    "loop",
                    f"{grader.problem.id}, step {index}, {LoopSettings(k, samples).name}",
                    {
                        "tries": [attempt.output for attempt in step.attempts],
                        "stands": [attempt is step.best for attempt in step.attempts].index(True),
                        "code": step.code,
                        "message": step.best.message,
                        "satisfiable": step.best.satisfiable,
                    },
                )


def _evaluation(problems: Sequence[Problem]) -> Record:
    """The figures of a whole evaluation, its items in short, and its prompts."""
    generator = slipping(
        {step.instruction.strip(): step.code for problem in problems for step in problem.encoding.instructed}
    )
    figures = evaluate(generator, problems, EvaluationSettings(samples=2))
    items = figures.pop("verdicts")
    figures.pop("seconds")
    outputs = content_hash(
        *(part for item in items for part in (item["prompt"], item["output"], item["code"], item["evidence"]))
    )
    return _record(
        "evaluation",
        ", ".join(problem.id for problem in problems),
        {
            "figures": figures,
            "items": [_item_in_short(item) for item in items],
            "texts, hashed": outputs,
            "asked, hashed": content_hash(_text(generator.asked)),
        },
    )


def _item_in_short(item: dict) -> str:
    """One line about an item.

    Version 1 calls the corruption of a repair its construct, and `fixed` `ground`.
    """
    is_repair = item["part"] == "repair"
    constructs = item["corruption"] if is_repair else "/".join(item["constructs"])
    ground = item["fixed"] if is_repair else item["ground"]
    return (
        f"{item['part']}, {item['problem']} {item['index']}: {item['verdict']}, {item['tries']} tries, "
        f"{constructs}{', ground' * ground}{', equivalent' * item['equivalent']}"
    )


def _repairs(grader: Grader) -> Record:
    """The repair rows that are drawn for a problem."""
    maker = RepairMaker(RenamedProblem(grader.problem), grader.solver)
    rows = maker.rows(parts.REPAIRS, Random(content_hash("golden", grader.problem.id)))
    return _record(
        "repair rows",
        grader.problem.id,
        {
            "corruptions": [row["meta"]["corruption"] for row in rows],
            "messages, hashed": [content_hash(_text(row["messages"])) for row in rows],
        },
    )


def _conversion(problem: Problem) -> Iterator[Record]:
    """The rows of one problem, as a training problem and as a validation problem."""
    for split in ("train", "valid"):
        settings = ConversionSettings(conversations=8, repairs=4, vocabularies=2)
        rows, report = convert([problem], {problem.id: split}, settings)
        yield _record(
            "converted rows",
            f"{problem.id}, {split}",
            {
                "messages, hashed": [content_hash(_text(row["messages"])) for row in rows[split]],
                "dropped": dict(report.dropped),
            },
        )


def _whole(graders: Sequence[Grader]) -> Record:
    """Programs that are written in one turn, as the ablation study scores them."""
    gold = ["\n\n".join(code for _, code in grader.variant.steps) for grader in graders]
    generator = ScriptedGenerator.in_order(
        f"```\n{gold[0]}\n```", gold[1].split("\n\n", 1)[1]
    )  # the second lacks its first statement
    items = score_whole(generator, graders)
    return _record(
        "programs in one turn",
        ", ".join(grader.problem.id for grader in graders),
        {"verdicts": [item.verdict for item in items], "asked, hashed": content_hash(_text(generator.asked))},
    )


def _own_errors(problem: Problem, solver: Solver) -> Record:
    """Repair rows from own errors: the first answer has a syntax error, the second no answer set, the rest
    no code.
    """
    answers = ["a :- b )", "a.\n:- not nowhere.", *[""] * (len(problem.encoding.instructed) - 2)]
    generator = ScriptedGenerator.in_order(*answers)
    [(rows, report)] = own_errors(generator, [problem], solver)
    return _record(
        "own errors",
        problem.id,
        {
            "errors": [row["meta"]["error"] for row in rows],
            "messages, hashed": [content_hash(_text(row["messages"])) for row in rows],
            "dropped": dict(report.dropped),
            "asked, hashed": content_hash(_text(generator.asked)),
        },
    )


def _grammar(scratch: Path) -> Record:
    tokenizer = chat.load_tokenizer(smoke_model(scratch / "smoke"))
    grammar = Grammar(tokenizer, [chat.end_of_turn(tokenizer)])
    return _record(
        "grammar", "which statements can be written", {code: grammar.accepts(code) for code in STATEMENTS}
    )


# --- encoding ---


def encoding_records() -> list[Record]:
    """The records of encoding: the tokens and targets of a conversation, for the smoke model's tokenizer."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = chat.load_tokenizer(smoke_model(Path(scratch) / "smoke"))
        own = tokenizer.chat_template
        templates = {
            "the model's own": own,
            "without a system message": "{% for m in messages %}{% if m.role == 'system' %}"
            "{{ raise_exception('no') }}{% endif %}{% endfor %}" + own,
        }
        return [
            record for name, template in templates.items() for record in _encoded(tokenizer, name, template)
        ]


def _encoded(tokenizer: Any, name: str, template: str) -> Iterator[Record]:
    tokenizer.chat_template = template
    whole = chat.encode(tokenizer, CONVERSATION)
    for room in (4096, len(whole.input_ids) - 1, 8):
        row = chat.encode(tokenizer, CONVERSATION, room)
        yield _record(
            "tokens",
            f"template {name}, {room} at the most",
            {
                "ids, hashed": content_hash(_text(row.input_ids)),
                "targets": "".join("01"[on] for on in row.supervised),
                "cut": row.cut,
            },
        )
    yield _record(
        "prompt tokens, hashed",
        f"template {name}",
        content_hash(_text(chat.encode_prompt(tokenizer, CONVERSATION[:2]))),
    )


# --- the file ---


@dataclass(frozen=True)
class Kind:
    """Behaviour with a version of its own: the name and the value of the constant, and what makes the
    records.
    """

    constant: str
    version: int
    records: Callable[[], list[Record]]


def kinds() -> dict[str, Kind]:
    """Scoring and encoding, each in its current version."""
    return {
        "scoring": Kind("SCORING_VERSION", results.SCORING_VERSION, scoring_records),
        "encoding": Kind("ENCODING_VERSION", chat.ENCODING_VERSION, encoding_records),
    }


def recorded(file: Path = FILE) -> dict[str, dict[str, list[Record]]]:
    """Kind → version → records."""
    return json.loads(read_text(file)) if file.exists() else {}


def changes(kind: Kind, stored: Sequence[Record], now: Sequence[Record]) -> str:
    """The places where the records differ, and what to do; "" if they are the same."""
    old, new = (
        {(record["what"], record["of"]): record["result"] for record in records} for records in (stored, now)
    )
    places = [
        place
        for place in dict.fromkeys((*old, *new))
        if place not in old or place not in new or old[place] != new[place]
    ]
    if not places:
        return ""
    lines = [
        f"  {what}: {of}\n    was {_short(old.get((what, of)))}\n    is  {_short(new.get((what, of)))}"
        for what, of in places[:5]
    ]
    return "\n".join(
        [
            f"behaviour changed; raise {kind.constant} and run `python -m tests.golden_verdicts`",
            f"{len(places)} of {len({**old, **new})} records differ"
            + (", the first:" if len(places) > 5 else ":"),
            *lines,
        ]
    )


def _short(result: Any) -> str:
    text = _text(result)
    return text if len(text) <= 400 else f"{text[:400]} …"


def write(file: Path, current: dict[str, Kind]) -> list[str]:
    """Add the records of each kind whose version is not in `file` yet; the names of what was added.

    Raises:
        UserError: All current versions are in the file.
    """
    stored = recorded(file)
    missing = {name: kind for name, kind in current.items() if str(kind.version) not in stored.get(name, {})}
    if not missing:
        raise UserError(
            "the file has the records of the current versions already, and they are never replaced",
            where=file,
            remedy="if the behaviour changed, raise "
            + " or ".join(kind.constant for kind in current.values()),
        )
    for name, kind in missing.items():
        stored.setdefault(name, {})[str(kind.version)] = kind.records()
    write_text(file, _shown(stored))
    return [f"{kind.constant} {kind.version}" for kind in missing.values()]


def _shown(stored: dict[str, dict[str, list[Record]]]) -> str:
    """JSON with one record in each line, so that a difference can be read."""

    def block(items: dict[str, str], begin: str, end: str) -> dict[str, str]:
        return {name: f"{begin}\n{text}\n{end}" for name, text in items.items()}

    def members(items: dict[str, str]) -> str:
        return ",\n".join(f"{json.dumps(name)}: {text}" for name, text in items.items())

    def lines(records: list[Record]) -> str:
        return ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)

    blocks = {
        name: members(block({version: lines(records) for version, records in versions.items()}, "[", "]"))
        for name, versions in stored.items()
    }
    return f"{{\n{members(block(blocks, '{', '}'))}\n}}\n"


def main() -> None:
    """Write the records of scoring and encoding in their current versions."""
    for name in write(FILE, kinds()):
        print(f"recorded: {name}")
    print(show_path(FILE))


if __name__ == "__main__":
    command(main)()
