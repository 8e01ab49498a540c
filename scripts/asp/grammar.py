"""Grammar-constrained decoding: a model that can only write one well-formed statement of clingo's input language.

The grammar leaves out what reaches outside a program (`#include`, `#script`, `@functions`), theory atoms and comments.
It knows nothing of meaning: an unsafe variable or an unsatisfiable program is still the solver's to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

LARK = r"""
%llguidance { "skip_repetition": "once" }
%ignore /[ \t\n]{1,40}/

start: rule "." | weak | optimize "." | show "." | const | external | other "."

rule: head | head ":-" body | ":-" body
head: literal | disjunction | bounded_head
disjunction: choice ((";" | "|") choice)+ | literal (";" literal)* "," literal | literal given
bounded_head: bound_left? "{" [choice (";" choice)*] "}" bound_right?
    | bound_left? function "{" [head_element (";" head_element)*] "}" bound_right?
choice: literal | literal given
head_element: terms (":" plain_literal | COLON_GAP literal) given?

body: body_item | body_part body
body_part: body_literal ("," | ";") | literal given ";"
body_item: body_literal | literal given
body_literal: literal | NOT? NOT? bounded_body
bounded_body: bound_left? "{" [choice (";" choice)*] "}" bound_right?
    | bound_left? function "{" [body_element (";" body_element)*] "}" bound_right?
body_element: terms | terms given | given

given: ":" plain_literal ("," literal)* | COLON_GAP literal ("," literal)*

bound_left: term COMPARE?
bound_right: COMPARE? term
function: "#count" | "#sum" | "#sum+" | "#min" | "#max"

literal: NOT? NOT? positive
positive: atom | comparison | "#true" | "#false"
atom: "-"? NAME arguments?
comparison: term (COMPARE term)+
plain_literal: NOT NOT? positive | NAME arguments? | plain_comparison | "#true" | "#false"
plain_comparison: primary (OPERATOR factor)* (COMPARE term)+
arguments: "(" terms (";" terms)* ")"

terms: term ("," term)*
term: factor (OPERATOR factor)*
factor: ("-" | "~")* primary
primary: NUMBER | STRING | VARIABLE | "_" | "#inf" | "#sup" | NAME arguments? | "(" tuple (";" tuple)* ")"
    | "|" term (";" term)* "|"
tuple: terms ","?

weight: term ["@" term] ("," term)*
weak: ":~" body "." "[" weight "]"
optimize: ("#minimize" | "#minimise" | "#maximize" | "#maximise") "{" [weighted (";" weighted)*] "}"
weighted: weight | weight given

after_colon: COLON_GAP body | ":" plain_literal [("," | ";") body]
signature: "-"? NAME "/" NUMBER
show: "#show" | "#show" signature | "#show" term | "#show" term after_colon
const: /#const[ \t\n]/ NAME "=" constant "." ["[" ("default" | "override") "]"]
constant: const_factor (CONST_OPERATOR const_factor)*
const_factor: ("-" | "~")* const_primary
const_primary: NUMBER | STRING | "#inf" | "#sup" | NAME | NAME "(" constant ("," constant)* ")"
    | "(" constant ("," constant)* ","? ")"
external: /#external[ \t\n]/ atom [after_colon] "." ["[" term "]"]
other: /#defined[ \t\n]/ signature | /#project[ \t\n]/ (signature | atom [after_colon])

COLON_GAP: /:[ \t\n]+/
COMPARE: "<" | "<=" | ">" | ">=" | "=" | "==" | "!="
OPERATOR: CONST_OPERATOR | ".."
CONST_OPERATOR: "+" | "-" | "*" | "/" | "\\" | "**" | "&" | "?" | "^"
NOT: "not"
NAME: /[_']*[a-z][A-Za-z0-9_']*/ & ~/not/
VARIABLE: /[_']*[A-Z][A-Za-z0-9_']*/
NUMBER: /0|[1-9][0-9]{0,8}/
STRING: /"([^"\\\n]|\\["\\n])*"/
"""


class Grammar:
    """The grammar over the tokens of a model; `ends` are the tokens that end its turn."""

    def __init__(self, tokenizer: Any, ends: Iterable[int]):
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        self.tokens = from_tokenizer(tokenizer, eos_token=sorted(ends))
        self._start = LLMatcher(self.tokens, LLMatcher.grammar_from_lark(LARK))
        if self._start.is_error():
            raise ValueError(self._start.get_error())

    def start(self) -> Any:
        """A matcher that stands before the first token of a statement."""
        return self._start.deep_copy()

    def choose(self, matcher: Any, logits: Any, draw: Callable[[Any], int]) -> int:
        """The token that `draw` takes from `logits` (vocabulary,), among those that may come next; the matcher goes on with it.

        What is drawn and allowed is kept, and only else are the others ruled out and a token drawn again: that has the
        same distribution, and most of the time no mask is needed.
        """
        import numpy
        import torch

        token = draw(logits)
        if matcher.try_consume_tokens([token]) == 1:
            return token
        bits = numpy.unpackbits(numpy.frombuffer(matcher.compute_bitmask(), numpy.uint8), bitorder="little")[
            : len(logits)
        ]
        allowed = torch.zeros(len(logits), dtype=torch.bool)
        allowed[: len(bits)] = torch.from_numpy(bits).bool()
        token = draw(logits.masked_fill(~allowed.to(logits.device), -torch.inf))
        if not matcher.consume_token(token):
            raise ValueError(matcher.get_error())
        return token

    def accepts(self, code: str) -> bool:
        """Whether `code` is one statement of the grammar, to its end."""
        matcher = self.start()
        tokens = self.tokens.tokenize_str(code)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
