"""The grammar of one statement: it accepts all shipped rules, and clingo parses all that it accepts."""

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
]


BROKEN = [  # errors that models make, and other texts that are not one statement
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
    "a ::- b.",
    "not.",
    "p(not).",
    ":~ a.",
    "a. b.",
    "a. % so",
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
    "&diff { x } <= 3.",
    "p :- @f(X) = 1.",
    "X :- p(X).",
    "a :-b:-c.",
    "{a :-b}.",
    "{a:-b}.",
    ":- ~p(X).",
    "P(x).",
    "p(1.5).",
    "a ==> b.",
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
def test_a_statement_is_accepted(grammar: Grammar, code: str) -> None:
    assert parses(code) and grammar.accepts(code)


@pytest.mark.parametrize("code", BROKEN)
def test_text_that_is_not_one_statement_is_rejected(grammar: Grammar, code: str) -> None:
    assert not grammar.accepts(code)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(STATEMENT)
def test_a_generated_statement_is_accepted_only_if_clingo_parses_it(
    grammar: Grammar, tokens: list[str]
) -> None:
    code = "".join(tokens)
    if grammar.accepts(code):
        assert parses(code)


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
            logits[end] = 2.0
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
    verdicts = [outcome.verdict for outcome in solver.run(Request(text) for text in answers)]
    without_grammar = [text for texts in free.sample(conversations, 6) for text in texts]
    unguided = [outcome.verdict for outcome in solver.run(Request(text) for text in without_grammar)]
    complete = [
        verdict for text, verdict in zip(answers, verdicts, strict=True) if generator.grammar.accepts(text)
    ]
    assert len(complete) > 3 and Verdict.SYNTAX not in complete
    assert unguided.count(Verdict.SYNTAX) > len(unguided) / 2
    assert all(_is_beginning(generator.grammar, text) for text in answers)


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
