"""Attacks on the gate and the scores: random texts against clingo's own lexer, and hostile answers.

`tools.hostile` is the command.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, islice
from pathlib import Path
from random import Random

from clingo.ast import AST, ASTType, parse_string

from scripts.asp.feedback import UNSATISFIABLE
from scripts.asp.gate import DEEPEST, code_only, rejection
from scripts.asp.solver import Limits, Request, Solver
from scripts.asp.syntax import transform_variables
from scripts.asp.worker import tolerate_stray_bytes
from scripts.data.problems import Problem, read_problems
from scripts.evaluation.grader import Grader, graders_of
from scripts.evaluation.items import RepairItem
from scripts.evaluation.own_errors import own_errors
from scripts.evaluation.parts import score_loop, score_programs, score_repairs, score_steps
from scripts.evaluation.settings import Part
from scripts.inference.generator import Generator, load_generator
from scripts.inference.repair_loop import LoopSettings, write_steps
from scripts.inference.requests import MAX_NEW_TOKENS, Unanswered
from scripts.lm import chat, prompts
from scripts.lm.smoke_model import smoke_model
from utils_ft import content_hash

FRAGMENTS = (
    *(
        '"',
        "\\",
        '\\"',
        "\\n",
        "\\q",
        "'",
        "%",
        "*",
        "%*",
        "*%",
        "#!",
        "#",
        "\n",
        "\r",
        "\t",
        " ",
        ".",
        "..",
        "...",
    ),
    *(
        "é",
        "≠",
        "a.",
        "b :- a.",
        "p(",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "|",
        ",",
        ";",
        ":",
        "-",
        "+1",
        "not ",
        "&t{",
    ),
    *(
        "#theory t{",
        "#theory ",
        "#theory t {u{- : 1, unary}; &d/0 : u, body}.",
        "/*",
        "!.",
        "<",
        "=",
        "@",
        "X",
        "1",
    ),
    *("asp 1 0 0\n", "0\n", "10 ", '#include "reached.lp".', "#include", "<reached>.", '"reached.lp"'),
    *(
        "#script (lua)",
        "#end.",
        "#program base.",
        "#program check.",
        "#program",
        " check(t).",
        ":~ a. [1]",
        "#show",
    ),
)
"""Pieces of texts: all that clingo's lexer treats in a special way."""


class Finding(StrEnum):
    """How the gate and clingo can disagree on a text."""

    REACHED = "clingo opens a file"
    PART = "clingo reads a script or a part that the gate does not see"
    DEEP = "a syntax tree is too deep for recursion"
    REFUSED = "clingo parses a text that the gate refuses for no reason"
    LENGTH = "the code has another length than the text"


def random_texts(seed: int, programs: Sequence[str]) -> Iterator[str]:
    """Yield texts without end: fragments at random, fragments in a program, nested terms.

    Arguments:
        seed: Decides all texts.
        programs: Texts that clingo parses.
    """
    rng = Random(seed)
    while True:
        pieces = rng.choices(FRAGMENTS, k=rng.randint(1, 14))
        kind = rng.random()
        if kind < 0.6:
            yield "".join(pieces) + rng.choice(("", '#include "reached.lp".', "#program check. x."))
        elif kind < 0.9:
            text = rng.choice(programs)
            begin = rng.randrange(len(text))
            end = begin + rng.choice((0, 1, 5, 40))
            yield text[max(0, begin - 400) : begin] + "".join(pieces) + text[end : end + 400]
        else:
            opening, closing = rng.choice(
                (
                    ("(", ")"),
                    ("f(", ")"),
                    ("-", ""),
                    ("|", "|"),
                    ("1+", ""),
                    ("{", "}"),
                    ("[", "]"),
                    ("(!.", ")"),
                )
            )
            times = rng.choice((5, DEEPEST // 2 - 2, DEEPEST - 3, DEEPEST + 2, 3 * DEEPEST))
            prefix = rng.choice(("p(", "&t{", ":- X = ", "a :- #sum{"))
            end = {"p(": ").", ":- X = ": "."}.get(prefix, "}.")
            yield f"{prefix}{opening * times}1{closing * times}{end}"


def disagreement(text: str) -> Finding | None:
    """How gate and clingo disagree on a text, or None. The working folder must have no file `reached.lp`."""
    if len(code_only(text)) != len(text):
        return Finding.LENGTH
    found = rejection(text)
    if not text.isascii() and found or "\0" in text:
        return None
    if found and ("levels deep" in found.message or "aspif" in found.message):
        return None  # clingo may crash on it, or open files for it
    trees, messages = _parsed(text)
    if found:
        is_right = messages or any(_is_other_part(tree) for tree in trees)
        return None if is_right else Finding.REFUSED
    if any("could not be opened" in message for message in messages):
        return Finding.REACHED
    if any(_is_other_part(tree) for tree in trees):
        return Finding.PART
    return None if all(map(_can_be_renamed, trees)) else Finding.DEEP


def _parsed(text: str) -> tuple[list[AST], list[str]]:
    """What clingo reads and says in this process."""
    tolerate_stray_bytes()
    trees: list[AST] = []
    messages: list[str] = []
    try:
        parse_string(text, trees.append, logger=lambda _, message: messages.append(message))
    except RuntimeError as error:
        messages.append(str(error))
    return trees, messages


def _is_other_part(tree: AST) -> bool:
    if tree.ast_type == ASTType.Program:
        return tree.name != "base" or len(tree.parameters) > 0
    return tree.ast_type == ASTType.Script


def _can_be_renamed(tree: AST) -> bool:
    """Whether recursion over the tree is possible, as the renaming of variables does it."""
    try:
        return transform_variables(tree, str) == tree
    except RecursionError:
        return False


# --- answers ---

POOL = ",".join(["(1;2;3)"] * 16)
HOSTILE = {
    "memory": f"p({POOL}).",
    "many aggregates": "p :- " + ", ".join(f"#count{{X : q(X)}} = C{n}" for n in range(3000)) + ".",
    "endless": "p(0). p(X+1) :- p(X).",
    "unsafe in pools": f"p(X,{','.join(['(1;2)'] * 9)}).",
    "constraint with pools": ":- N < M, " + ", ".join(["day(1;2;3)"] * 6) + ".",
    "another part": "#program check.",
    "nonsense in another part": "#program foo.\nnonsense(1).",
    "a file": '#include "/etc/passwd".',
    "a file behind a quote": '#theory t{".#include "/etc/passwd".',
    "quotes": 'p("' + '\\"' * 3000,
    "deep": "p(" + "(" * 3000,
    "division": "p((-2147483647-1)/(-1)).",
    "a weight": "[true]",
    "open comment": "a. %*",
    "garbage": "garbage(",
    "long garbage": "the colour of each node " * 300,
    "a long statement": "p(X) :- " + ", ".join(f"q{n}(Y{n})" for n in range(400)) + ".",
    "bytes": "p(≠) :- \x07 ü.",
    "empty": "",
}
"""Answers that no check may pass, by what they try."""


@dataclass
class HostileGenerator:
    """Answers with gold code and hostile code in turn, and records what it is asked.

    Attributes:
        gold: The gold code of each instruction.
        model: A loaded model, which says which prompts are too long for it. It is never asked.
        longest: The tokens of the longest prompt that was not too long.
        asked: The number of answers so far.
    """

    gold: dict[str, str]
    model: Generator
    longest: int = 0
    asked: int = 0
    _names: Iterator[int] = field(default_factory=count)

    def generate(
        self, conversations: Sequence[list[prompts.Message]], on_done: Callable | None = None
    ) -> list[str]:
        """Answer each conversation: every other answer is right."""
        if on_done:
            on_done(len(conversations))
        return [self._answer(messages) for messages in conversations]

    def sample(self, conversations: Sequence[list[prompts.Message]], number: int) -> list[list[str]]:
        """Answer each conversation `number` times."""
        return [[self._answer(messages) for _ in range(number)] for messages in conversations]

    def _answer(self, messages: list[prompts.Message]) -> str:
        self.asked += 1
        if reason := self.model.too_long(messages):
            return Unanswered(reason)
        self.longest = max(self.longest, len(chat.encode_prompt(self.model.tokenizer, messages)))
        number = next(self._names)
        if number % 2:
            text = messages[-1]["content"].removeprefix("Instruction: ").split("\n\nCode:\n")[0]
            if text in self.gold:  # the steps of own errors have other predicates
                return self.gold[text]
        return list(HOSTILE.values())[number // 2 % len(HOSTILE)]


def wrong_results(generator: HostileGenerator, graders: Sequence[Grader]) -> list[str]:
    """Let a hostile generator write for all parts of an evaluation. Return what has a wrong result."""
    hostile = set(HOSTILE.values())
    items = [
        *score_steps(generator, graders),
        *score_repairs(generator, graders),
        *score_loop(generator, graders, [Part("loop", 1), Part("loop", 3)]),
        *score_programs(generator, graders, Part("programs", 3)),
    ]
    wrong = []
    for item in items:
        if item.part.kind == "programs":
            continue
        is_hostile = item.output in hostile
        fixed = isinstance(item, RepairItem) and item.fixed
        if is_hostile and (item.equivalent or fixed or item.verdict == "equal"):
            wrong.append(f"{item.part.name}: right, though it is {item.output[:60]!r}")
        if not is_hostile and not item.equivalent:
            wrong.append(f"{item.part.name}: {item.verdict}, though it is gold: {item.output[:60]!r}")
        if not item.equivalent and (not item.evidence or len(item.evidence) > 1200):
            wrong.append(f"{item.part.name}: the evidence has {len(item.evidence)} characters")
    return wrong + _wrongly_accepted(generator, graders) + _wrong_rows(generator, graders)


def _wrongly_accepted(generator: HostileGenerator, graders: Sequence[Grader]) -> list[str]:
    """Hostile attempts that the repair loop accepts."""
    requests = [request for grader in graders for request in grader.loop_requests()]
    steps = write_steps(generator, requests, LoopSettings(2, 2), graders[0].solver)
    attempts = [attempt for step in steps for attempt in step.attempts]
    return [
        f"loop: accepted, though it is {attempt.output[:60]!r}"
        for attempt in attempts
        if attempt.output in HOSTILE.values() and (attempt.accepted or not attempt.message)
    ]


def _wrong_rows(generator: HostileGenerator, graders: Sequence[Grader]) -> list[str]:
    """Rows of own errors whose answer the solver accepts, or whose message is too long."""
    solver, wrong = graders[0].solver, []
    found = own_errors(generator, [grader.problem for grader in graders], solver)
    metas = [row["meta"] for rows, _ in found for row in rows]
    outcomes = solver.run([Request(meta["context"] + meta["broken"]) for meta in metas])
    for meta, outcome in zip(metas, outcomes, strict=True):
        is_error = not outcome.passes or meta["error"] == UNSATISFIABLE or "info: atom" in meta["error"]
        if not is_error or not 0 < len(meta["error"]) < 1200:
            wrong.append(f"own errors: {meta['broken'][:60]!r} with {len(meta['error'])} characters")
    return wrong if metas else ["own errors: no hostile answer gave a row"]


def generator_for(problems: Sequence[Problem], model: Path) -> HostileGenerator:
    """A hostile generator that knows the gold code of some problems, with the model of a folder."""
    steps = [step for problem in problems for step in problem.encoding.instructed]
    gold = {step.instruction.strip(): step.code for step in steps}
    return HostileGenerator(gold, load_generator(model))


def try_texts(number: int, seed: int) -> list[str]:
    programs = [problem.source for problem in read_problems()]
    results: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for text in islice(random_texts(seed, programs), number):
            results["refused" if rejection(text) else "passed"] += 1
            if found := disagreement(text):
                failures.append(f"{found}: {text!r}")
    print(f"{number:,} texts, {dict(results)}, {len(failures)} disagreements")
    return failures


def try_answers(number: int) -> list[str]:
    import psutil

    problems = sorted(read_problems(), key=lambda problem: content_hash(problem.id))
    failures: list[str] = []
    asked = longest = 0
    limits = Limits(cpu_seconds=0.5, memory_bytes=256 * 2**20)
    with tempfile.TemporaryDirectory() as folder, Solver(limits=limits) as solver:
        model = smoke_model(Path(folder) / "smoke")
        for start in range(0, len(problems), 2):
            graders, _ = graders_of(problems[start : start + 2], solver)
            generator = generator_for([grader.problem for grader in graders], model)
            failures += wrong_results(generator, graders)
            asked, longest = asked + generator.asked, max(longest, generator.longest)
            context = generator.model.model.config.max_position_embeddings
            if longest + MAX_NEW_TOKENS > context:
                failures.append(f"a prompt has {longest:,} tokens, and the model's context {context:,}")
            memory = psutil.Process().memory_info().rss // 2**20
            print(
                f"{asked:,} answers, longest prompt {longest:,} tokens, {memory:,} MB, "
                f"{len(failures)} failures"
            )
            if asked >= number:
                break
    return failures
