"""The grammar of a step: it accepts what clingo parses, but for what is left out on purpose."""

from __future__ import annotations

import random
import re
from functools import cache, partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from scripts.asp.grammar import Grammar
from scripts.asp.solver import Request, Solver, Verdict
from scripts.asp.syntax import trees_of
from scripts.data.problems import read_problems
from scripts.inference.generator import Generator, load_generator
from tests.asp_programs import STATEMENT

CODE = [
    "a.",
    "-a.",
    "p(1..3).",
    "p(a;b,c).",
    "p(X,Y) :- X = 1..3, Y = (X,2), not q(X,_), not not -r(Y).",
    "a :- 1 < X <= Y != Z, p(X,Y,Z).",
    "a | b :- c.",
    "a; not b; c : d, e.",
    "a : b.",
    ":- a : b, c; d.",
    "{ a }.",
    "1 { p(X,Y) : q(X), not r(Y); s } N-1 :- t(N).",
    "1 <= #count { H : o(E,H) : h(H,S) } <= 2 :- e(E).",
    "a :- X = #sum+ { W,P : p(W,P); 3 }, not #min { Y : q(Y) } > X.",
    ":- not 2 { p(X) } , q.",
    "#show.",
    "#show p/2.",
    "#show -p/2.",
    "#show X : p(X), not q(X).",
    "#const n = 3 * (m+1).",
    "#const n = 2. [override]",
    "#minimize { W@2,X : p(X,W); 3 }.",
    "#maximise{1,X:p(X)}.",
    ":~ p(X), not q(X). [X@1,X]",
    ":~ a. [2]",
    "p(|X-Y|**2\\3) :- q(X,-Y).",
    'p("a. \\" % b", "").',
    "p(X') :- _q(X').",
    "#true :- #false.",
    "p :- X == 1.",
    "p(#inf, #sup).",
    "p(X) :-\n    q(X),\n\tr(X).",
    "#external p(X) : q(X). [true]",
    "#defined p/1.",
    "#project p(X) : q(X).",
    "p((1,),(a,b)).",
    "p(-1, - X) :- q(X).",
    "a : -b, c.",
    "{ p(X) : - X < 3, q(X) }.",
    "nota.",
    "p(~X&Y?Z^1) :- q(X,Y,Z).",
    "#heuristic p(X) : q(X), r. [X@2,sign]",
    "#heuristic -a. [1,true]",
    "#program base.",
    "#edge (1,2).",
    "#edge(X,Y;Y,X) : p(X,Y).",
    "#external a : . [free]",
    "a :- .",
    ":- .",
    ":~ . [1]",
    "a : .",
    "a : :- b.",
    "a ::- b.",
    "{ a : ; b }.",
    ":- a : ; b.",
    "#count { : a } > 1.",
    ":- #sum { 1 : ; : a ; 2 } > 1.",
    "#minimize { 1@2,x : ; 2 }.",
    "p().",
    "p(;).",
    "p((),(,),(1,;2)).",
    "#const n = f((),(1,)).",
    "a, b :- c.",
    "a, b; c | d : e ; f : ; g.",
    "p(0x1F,0o17,0b101).",
    "a :- X <> Y, p(X,Y).",
    "#show -p/2.",
    "#show(1,2).",
    "#show X : p(X) : q; r.",
    "#inf = X :- p(X,#supremum).",
    "a. b.",
    "a.\nb :- c, d : e.\n#show a/0.\n:~ a. [1]\n#const n = 1. [default]",
]

LEFT_OUT = [  # clingo parses these; the grammar has them not, on purpose
    "&diff { x } <= 3.",
    "#theory t { }.",
    "p(@f(1)).",
    "p :- X = @f.",
    "#const n = @f.",
    "#program check(t).",
    "a. % a comment",
    "%* a comment *% a.",
]


BROKEN = [  # errors that models make, and other texts that are no statements
    "",
    "a",
    "a :- b",
    "p(X",
    "p(X)..",
    "```a.```",
    "1. {a}.",
    "{{ a }}.",
    "a :- X \\= Y.",
    "a :- X =< Y.",
    "a :- \\+ b.",
    "a :- b and c.",
    "a :- b,.",
    "a :- , b.",
    "a :- b :- c.",
    "not.",
    "p(not).",
    ":~ a.",
    "% a.",
    "Here is the rule: a.",
    "a :- X = Y mod 2.",
    "a :- #sum { X : p(X) = 3.",
    "a :- #between(1,X,3).",
    "p(#count { X : q(X) }).",
    "a :- b. [1]",
    "p(007).",
    "a b.",
    '#include "x".',
    "#script (lua) #end.",
    "#const n.",
    "#const n = X.",
    "#showp",
    "X :- p(X).",
    "a :-b:-c.",
    "{a :-b}.",
    "{a:-b}.",
    ":- ~p(X).",
    "P(x).",
    "p(1.5).",
    "a ==> b.",
    "#showp.",
    "#externala.",
    "#program base",
    "#heuristic a. [1]",
    "#edge (1,2;3).",
    "a :| b.",
    "a | .",
    "{ a; }.",
    "p(1,).",
    "p(0x).",
    "p(0o8).",
    "#show X : .",
    "a. b",
    "a. Here is the rule: b.",
]


@pytest.fixture(scope="module")
def generator(smoke) -> Generator:
    return load_generator(smoke, max_new_tokens=100, grammar=True)


@pytest.fixture(scope="module")
def grammar(generator: Generator) -> Grammar:
    return generator.grammar


@cache
def parses(code: str) -> bool:
    try:
        trees_of(code)
    except RuntimeError:
        return False
    return True


def test_every_statement_of_the_shipped_problems_is_accepted(grammar: Grammar) -> None:
    statements = [
        (problem.id, statement.code)
        for problem in read_problems()
        for step in problem.encoding.steps
        for statement in step.statements
    ]
    assert len(statements) > 1000
    assert not [(name, code) for name, code in statements if not grammar.accepts(code)]


@pytest.mark.parametrize("code", CODE)
def test_what_clingo_parses_is_accepted(grammar: Grammar, code: str) -> None:
    assert parses(code) and grammar.accepts(code)


@pytest.mark.parametrize("code", BROKEN)
def test_text_that_is_no_statement_is_rejected(grammar: Grammar, code: str) -> None:
    assert not grammar.accepts(code)


@pytest.mark.parametrize("code", LEFT_OUT)
def test_theory_external_functions_program_parts_and_comments_are_left_out(
    grammar: Grammar, code: str
) -> None:
    assert parses(code) and not grammar.accepts(code)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(STATEMENT)
def test_a_generated_statement_is_accepted_if_and_only_if_clingo_parses_it(
    grammar: Grammar, tokens: list[str]
) -> None:
    code = "".join(tokens)
    if not re.search(r"@g|&(diff|sum)", code):
        assert grammar.accepts(code) == parses(code)


SEEDS = [
    "a, b; c | d : e ; f : ; g.",
    "a :- b : c; not 1 <= #sum { X,Y : p(X,Y); : } < 3.",
    "#heuristic p(X) : q(X), r. [X@2,sign]",
    "#edge (X,Y;Y,X) : p(X,Y).",
    "#show p(X) : q(X), r : s; t.",
    "#minimize { W@2,X : p(X,W); 3 : }.",
    ":~ p(X), X = (1;2). [X@1,X]",
    "1 { p(X,Y) : q(X), not r(Y); s : } N-1 :- t(N).",
    "#const n = f(3,(m+1,)) ** 2. [override]",
    "2 #count { X,Y : p(X) : q(Y); : r } 3 :- |X-1| = 2..3.",
    "#project -p(X) : q. a.\nb | not c.",
]
WORDS = (
    "a p X not 1 0x2 ( ) { } ; , : :- . .. | - ~ #count #sum+ #true #show #minimize #edge #heuristic"
    ' #external [ ] @ = < <> / #inf "s" _ ** :~'
).split()


def test_a_changed_statement_is_accepted_if_and_only_if_clingo_parses_it(grammar: Grammar) -> None:
    rng, accepted = random.Random(5), 0
    for _ in range(4000):
        tokens = re.findall(r'"[^"]*"|#\w+|\w+|:-|:~|<=|\.\.|\*\*|\s+|.', rng.choice(SEEDS))
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(tokens))
            tokens[place : place + rng.randint(0, 1)] = [
                rng.choice(["", rng.choice([" ", ""]) + rng.choice(WORDS)])
            ]
        code = "".join(tokens).strip()
        if code and not re.search(r"@\s*[a-z]", code):
            assert grammar.accepts(code) == parses(code), code
            accepted += parses(code)
    assert accepted > 300


def test_clingo_parses_random_statements_of_the_grammar(grammar: Grammar) -> None:
    """Tokens are drawn from all that the grammar allows.

    Those that close something are more likely, later on.
    """
    texts = [grammar.tokens.decode_str([token]) for token in range(grammar.tokens.vocab_size)]
    closing = torch.tensor([4.0 if re.fullmatch(r"[)}\]|.\"]", text) else 0.0 for text in texts])
    common = torch.tensor(
        [2.0 if re.fullmatch(r"[abpqXY01 :,;.#(){}<=~*-]+|not|:-|#count", text) else 0.0 for text in texts]
    )
    end, finished = grammar.tokens.eos_token, []
    for seed in range(120):
        draw = partial(_draw, generator=torch.Generator().manual_seed(seed))
        matcher, tokens = grammar.start(), []
        for step in range(120):
            logits = common + closing * min(1.0, step / 60)
            logits[end] = 20.0 if seed % 4 else 2.0  # most of them end after the first statement
            token = grammar.choose(matcher, logits, draw)
            if token == end:
                finished.append(grammar.tokens.decode_str(tokens))
                break
            tokens.append(token)
    assert len(set(finished)) > 30
    assert not [code for code in finished if not parses(code)]


def _draw(logits: torch.Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))


def test_clingo_parses_what_a_model_samples_with_the_grammar(generator: Generator, solver: Solver) -> None:
    conversations = [[{"role": "user", "content": f"Write a rule, number {number}."}] for number in range(6)]
    answers = [text for texts in generator.sample(conversations, 6) for text in texts]
    free = Generator(generator.model, generator.tokenizer, generator.end_tokens, generator.max_new_tokens)
    whole = [_whole_statements(generator.grammar, text) for text in answers]
    outcomes = solver.run(Request(text) for text in whole if text)
    verdicts = [outcome.verdict for outcome in outcomes]
    without_grammar = [text for texts in free.sample(conversations, 6) for text in texts]
    unguided = [outcome.verdict for outcome in solver.run(Request(text) for text in without_grammar)]
    assert len(verdicts) > 3 and Verdict.SYNTAX not in verdicts
    assert unguided.count(Verdict.SYNTAX) > len(unguided) / 2
    assert all(_is_beginning(generator.grammar, text) for text in answers)


def _whole_statements(grammar: Grammar, text: str) -> str:
    """The statements of `text` without the last one, if the limit on tokens cut it off."""
    ends = [match.end() for match in re.finditer(r"[.\]]", text)]
    return next((text[:end] for end in reversed(ends) if grammar.accepts(text[:end])), "")


def _is_beginning(grammar: Grammar, text: str) -> bool:
    """Whether `text` is a beginning of a statement: the limit on tokens may cut an answer off."""
    tokens = grammar.tokens.tokenize_str(text)
    return grammar.start().try_consume_tokens(tokens) == len(tokens)


def test_masking_after_a_rejected_draw_keeps_the_distribution(grammar: Grammar) -> None:
    """A second draw from masked logits gives the same distribution as one draw from masked logits."""
    rng = random.Random(0)
    logits = torch.full((grammar.tokens.vocab_size,), -torch.inf)
    names = {text: grammar.tokens.tokenize_str(text)[0] for text in ("a", "p", ")", "}")}
    for text, logit in zip(names, (0.0, 1.0, 2.0, 0.5), strict=True):
        logits[names[text]] = logit

    def draw(row: torch.Tensor) -> int:
        return rng.choices(range(len(row)), row.softmax(-1).tolist())[0]

    drawn = [grammar.choose(grammar.start(), logits, draw) for _ in range(3000)]
    share = drawn.count(names["p"]) / len(drawn)
    assert set(drawn) == {names["a"], names["p"]} and abs(share - 0.731) < 0.03
