"""Grammar-constrained decoding: a model that can only write one well-formed statement of clingo's input language.

The grammar leaves out what reaches outside a program (`#include`, `#script`, `@functions`), theory atoms and comments.
It knows nothing of meaning: an unsafe variable or an unsatisfiable program is still the solver's to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

LARK = r"""
%llguidance { "skip_repetition": "once" }
%ignore /[ \t\r\n]{1,40}/

start: rule "." | weak | optimize "." | show "." | const | external | other "."

rule: head | head ":-" body | ":-" body
head: literal | disjunction | bounded_head
disjunction: head_literal ((";" | "|") head_literal)+ | literal (";" literal)* "," literal | literal ":" condition
head_literal: literal | literal ":" condition
bounded_head: bound_left? "{" [choice (";" choice)*] "}" bound_right?
    | bound_left? function "{" [head_element (";" head_element)*] "}" bound_right?
choice: literal | literal ":" condition
head_element: terms ":" literal | terms ":" literal ":" condition

body: body_item | body_part body
body_part: body_literal ("," | ";") | conditional ";"
body_item: body_literal | conditional
body_literal: literal | NOT? NOT? bounded_body
conditional: literal ":" [condition]
bounded_body: bound_left? "{" [choice (";" choice)*] "}" bound_right?
    | bound_left? function "{" [body_element (";" body_element)*] "}" bound_right?
body_element: terms | terms ":" [condition] | ":" condition

bound_left: term COMPARE?
bound_right: COMPARE? term
function: "#count" | "#sum" | "#sum+" | "#min" | "#max"
condition: literal ("," literal)*

literal: NOT? NOT? (atom | comparison | "#true" | "#false")
atom: "-"? NAME arguments?
comparison: term (COMPARE term)+
arguments: "(" terms (";" terms)* ")"

terms: term ("," term)*
term: factor (OPERATOR factor)*
factor: ("-" | "~")* primary
primary: NUMBER | STRING | VARIABLE | "_" | "#inf" | "#sup" | NAME arguments? | "(" tuple (";" tuple)* ")" | "|" term (";" term)* "|"
tuple: terms ","?

weight: term ["@" term] ("," term)*
weak: ":~" body "." "[" weight "]"
optimize: ("#minimize" | "#minimise" | "#maximize" | "#maximise") "{" [weighted (";" weighted)*] "}"
weighted: weight | weight ":" [condition]

signature: "-"? NAME "/" NUMBER
show: "#show" | "#show" signature | "#show" term | "#show" term ":" body
const: /#const[ \t\n]/ NAME "=" constant "." ["[" ("default" | "override") "]"]
constant: const_factor (CONST_OPERATOR const_factor)*
const_factor: ("-" | "~")* const_primary
const_primary: NUMBER | STRING | "#inf" | "#sup" | NAME | NAME "(" constant ("," constant)* ")" | "(" constant ("," constant)* ","? ")"
external: "#external" atom [":" body] "." ["[" term "]"]
other: "#defined" signature | "#project" signature | "#project" atom [":" body]

COMPARE: "<" | "<=" | ">" | ">=" | "=" | "==" | "!="
OPERATOR: CONST_OPERATOR | ".."
CONST_OPERATOR: "+" | "-" | "*" | "/" | "\\" | "**" | "&" | "?" | "^"
NOT: "not"
NAME: /[_']*[a-z][A-Za-z0-9_']*/ & ~/not/
VARIABLE: /[_']*[A-Z][A-Za-z0-9_']*/
NUMBER: /0|[1-9][0-9]{0,8}/
STRING: /"([^"\\\n]|\\["\\n])*"/
"""
