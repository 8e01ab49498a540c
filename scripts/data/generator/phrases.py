"""The phrases of the wordings: several for each construct."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scripts.data.generator.domains import Predicate, is_plural

COMPARISONS = {
    "<": (
        "{0} is less than {1}",
        "{0} is smaller than {1}",
        "{0} is below {1}",
        "{1} is greater than {0}",
        "{0} < {1}",
    ),
    "<=": (
        "{0} is at most {1}",
        "{0} does not exceed {1}",
        "{0} is no greater than {1}",
        "{0} is {1} or less",
    ),
    ">": (
        "{0} is greater than {1}",
        "{0} is more than {1}",
        "{0} exceeds {1}",
        "{0} is above {1}",
        "{0} > {1}",
    ),
    ">=": ("{0} is at least {1}", "{0} is no less than {1}", "{0} is not below {1}", "{0} is {1} or more"),
    "=": ("{0} is {1}", "{0} equals {1}", "{0} is equal to {1}", "{0} is the same as {1}"),
    "!=": ("{0} is not {1}", "{0} differs from {1}", "{0} is different from {1}", "{0} does not equal {1}"),
}
TIMES = {
    "<": ("{0} is before {1}", "{0} is earlier than {1}"),
    "<=": ("{0} is not after {1}", "{0} is no later than {1}"),
    ">": ("{0} is after {1}", "{0} is later than {1}"),
    ">=": ("{0} is not before {1}", "{0} is no earlier than {1}"),
    "=": ("{0} is {1}", "{0} equals {1}"),
    "!=": ("{0} is not {1}", "{0} differs from {1}"),
}
ORDER = {
    "=": ("{0} is {1}", "{0} and {1} are the same", "{0} is the same as {1}"),
    "!=": (
        "{0} and {1} are different",
        "{0} is not {1}",
        "{0} differs from {1}",
        "{0} and {1} are not the same",
    ),
    "<": ("{0} comes before {1} in the order of names", "{0} comes before {1} alphabetically"),
    ">": ("{0} comes after {1} in the order of names", "{0} comes after {1} alphabetically"),
}
TUPLES = {
    "=": ("{0} equals {1}",),
    "!=": ("{0} differs from {1}", "{0} and {1} are different", "{0} is not {1}"),
    "<": ("{0} is smaller than {1}, compared as pairs", "{0} comes before {1} in the order of pairs"),
    ">": ("{0} is greater than {1}, compared as pairs", "{0} comes after {1} in the order of pairs"),
}
NUMBERS = {
    "<": ("fewer than {0}", "less than {0}"),
    "<=": ("at most {0}", "no more than {0}"),
    ">": ("more than {0}", "over {0}"),
    ">=": ("at least {0}", "no fewer than {0}"),
    "=": ("exactly {0}", "precisely {0}"),
}
"""Bounds before a noun: `at most 3 berths`."""
BOUNDS = {
    "<": ("less than {0}", "below {0}", "smaller than {0}"),
    "<=": ("at most {0}", "no more than {0}", "{0} or less"),
    ">": ("more than {0}", "above {0}", "greater than {0}"),
    ">=": ("at least {0}", "no less than {0}", "{0} or more"),
    "=": ("exactly {0}", "precisely {0}", "equal to {0}"),
    "!=": ("different from {0}", "unequal to {0}"),
}
"""Bounds behind `is`: `the depth is at most 3`."""
BETWEEN = (
    "between {0} and {1}",
    "at least {0} and at most {1}",
    "at least {0} but no more than {1}",
    "no fewer than {0} and no more than {1}",
)
QUANTIFIERS = ("for every", "for each", "for every", "for any", "given any")
PREPOSITIONS = (
    "at",
    "in",
    "on",
    "with",
    "from",
    "for",
    "to",
    "until",
    "since",
    "after",
    "before",
    "and",
    "is",
)
PHRASES: dict[str, tuple[str, ...]] = {
    "definition": (
        "{head} if {body}",
        "{head} whenever {body}",
        "if {body}, then {head}",
        "whenever {body}, {head}",
        "{head} provided that {body}",
        "when {body}, {head}",
        "{head} as soon as {body}",
        "{head} when {body}",
        "in every case where {body}, {head}",
        "it follows that {head} if {body}",
        "{head} on condition that {body}",
        "derive that {head} from the fact that {body}",
    ),
    "constraint": (
        "it must not happen that {body}",
        "it is forbidden that {body}",
        "there must be no case where {body}",
        "rule out that {body}",
        "never may it be that {body}",
        "it cannot be that {body}",
        "it is not allowed that {body}",
        "a solution is invalid if {body}",
        "reject every solution in which {body}",
        "no solution may have a case where {body}",
        "do not let it happen that {body}",
        "it is impossible that {body}",
    ),
    "implication": (
        "if {rest}, it is required that {last}",
        "whenever {rest}, it must hold that {last}",
        "if {rest}, make sure that {last}",
        "when {rest}, it is necessary that {last}",
        "if {rest}, insist that {last}",
        "whenever {rest}, see to it that {last}",
        "in every case where {rest}, it must be true that {last}",
        "it is mandatory, if {rest}, that {last}",
        "provided that {rest}, ensure that {last}",
        "as soon as {rest}, it has to hold that {last}",
    ),
    "required": (
        "it is required that {last}",
        "it must hold that {last}",
        "make sure that {last}",
        "it has to be the case that {last}",
        "insist that {last}",
        "ensure that {last}",
        "see to it that {last}",
        "it must be true that {last}",
        "it is mandatory that {last}",
        "it is necessary that {last}",
    ),
    "every": (
        "for every {things}, {literal}",
        "for each {things}, {literal}",
        "for each and every {things}, {literal}",
        "for every {things}, it holds that {literal}",
        "for each {things}, it is true that {literal}",
    ),
    "implied": (
        "{literal}, at least in case {conditions}",
        "{literal}, at least where {conditions}",
    ),
    "such": ("such that", "for which", "such that", "where", "with the property that"),
    "with": ("such that", "for which", "where", "with the property that"),
    "sum": ("sum", "total", "sum", "total amount"),
    "#min": ("smallest", "least", "lowest", "minimum"),
    "#max": ("largest", "greatest", "highest", "maximum"),
    "assigned": ("{value} is {what}", "{value} equals {what}", "{value} is equal to {what}"),
    "disjunction": (
        "at least one of these holds: {heads}",
        "{heads}",
        "one or more of the following hold: {heads}",
        "it is the case that {heads}",
    ),
    "case": (
        "whenever {body}",
        "in each case where {body}",
        "for each case where {body}",
        "if {body}",
        "when {body}",
    ),
    "free": (
        "decide freely whether {atom}",
        "it is open whether {atom}",
        "choose whether or not {atom}",
        "it may or may not be that {atom}",
        "it is up to the solution whether {atom}",
        "any solution may decide whether {atom}",
        "leave it open whether {atom}",
        "it can be decided that {atom}, or not",
        "possibly {atom}",
        "pick whether {atom}",
    ),
    "free if": (
        "if {body}, decide freely whether {atom}",
        "whenever {body}, it is open whether {atom}",
        "when {body}, it may or may not be that {atom}",
        "if {body}, it is up to the solution whether {atom}",
    ),
    "pick": (
        "choose {bound} {things}, so that {atom}",
        "pick {bound} {things}, so that {atom}",
        "select {bound} {things}; then {atom}",
        "let there be {bound} {things}, chosen so that {atom}",
        "decide on {bound} {things}, meaning that {atom}",
        "take {bound} {things} and let it hold that {atom}",
        "choose {bound} {things}; what is chosen means that {atom}",
        "guess {bound} {things}, such that {atom}",
        "settle on {bound} {things}, which means that {atom}",
        "the choice falls on {bound} {things}, in the sense that {atom}",
    ),
    "cases": (
        "choose {bound} of the cases where {conditions}, and in those {atom}",
        "pick {bound} of the cases in which {conditions}; there {atom}",
        "select {bound} of the possibilities where {conditions}, so that {atom}",
        "for {bound} of the cases where {conditions}, let it be that {atom}",
        "out of all cases where {conditions}, choose {bound}, in which {atom}",
        "take {bound} of the combinations for which {conditions}; for them {atom}",
        "decide on {bound} of the cases where {conditions}, meaning that {atom}",
        "among the cases where {conditions}, settle on {bound}; for these {atom}",
        "guess {bound} of the possibilities where {conditions}, with the effect that {atom}",
        "of the cases where {conditions}, choose {bound}, which means that {atom}",
    ),
    "options": (
        "choose {bound} of these: {options}",
        "let {bound} of the following hold: {options}",
        "pick {bound} of the options: {options}",
        "{bound} of these are chosen: {options}",
    ),
    "bounded choice": (
        "choose the cases in which {atom}{conditions}, so that {what} is {bound}",
        "decide freely in which cases {atom}{conditions}, but {what} must be {bound}",
        "pick any cases in which {atom}{conditions}, as long as {what} is {bound}",
        "select the cases in which {atom}{conditions}, and keep to this: {what} is {bound}",
        "it is open in which cases {atom}{conditions}, provided that {what} is {bound}",
    ),
    "define": (
        "by default, the constant {name} is {value}",
        "let the constant {name} be {value} unless the call says otherwise",
        "the default value of the constant {name} is {value}",
        "set the constant {name} to {value} by default",
        "the constant {name} stands for {value} if nothing else is given",
    ),
    "level": ("at level {level}", "with priority {level}", "at priority {level}", "on level {level}"),
    "cost": (
        "each {per} costs {weight}{level} if {body}",
        "pay {weight}{level} for each {per} such that {body}",
        "there is a penalty of {weight}{level} for every {per} where {body}",
        "every {per} has a cost of {weight}{level} if {body}",
        "it costs {weight}{level}, once for each {per}, if {body}",
        "charge {weight}{level} for each {per} if {body}",
        "for each {per}, a cost of {weight}{level} arises if {body}",
        "a price of {weight}{level} is due for any {per} such that {body}",
        "if {body}, this costs {weight}{level}, once for each {per}",
        "a cost of {weight}{level} counts for each {per} such that {body}",
    ),
    "single cost": (
        "it costs {weight}{level}, once for each such amount, if {body}",
        "pay {weight}{level}, once for each different amount, whenever {body}",
        "if {body}, there is a penalty of {weight}{level}; equal amounts count once",
        "a cost of {weight}{level}, counted once for each amount, arises if {body}",
    ),
    "fixed cost": (
        "it costs {weight}{level}, only once, if {body}",
        "pay {weight}{level}, a single time, whenever {body}",
        "if {body}, there is one penalty of {weight}{level}, however often this is so",
        "a single cost of {weight}{level} arises if {body}",
    ),
    "assigned cost": (
        "the cost is {weight}{level}, where {body}",
        "pay {weight}{level}, where {body}",
        "there is a penalty of {weight}{level}, where {body}",
        "it costs {weight}{level} if {body}",
    ),
    "costs": (
        "{verb} the total of the following: {parts}",
        "{verb} what these add up to: {parts}",
        "{verb} the sum of these amounts: {parts}",
        "{verb} the following together: {parts}",
    ),
    "show": (
        "show the atoms of {name}",
        "display {name}",
        "print the predicate {name}",
        "the output has the atoms of {name}",
        "let {name} be shown",
        "of the answer, show {name}",
        "{name} is part of the output",
        "output {name}",
        "make the atoms of {name} visible",
        "report the atoms of {name}",
    ),
    "show term": (
        "show the term {term} whenever {body}",
        "display the term {term} in every case where {body}",
        "print {term} if {body}",
        "output the term {term} when {body}",
        "the output has the term {term} for each case where {body}",
        "let the term {term} be shown if {body}",
        "report {term} whenever {body}",
        "whenever {body}, show the term {term}",
        "if {body}, the term {term} is part of the output",
        "in every case where {body}, print the term {term}",
    ),
}


def listed(words: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}{last}{words[-1]}"


def article(noun: str) -> str:
    """A noun with its article."""
    vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "use", "usa")) or noun.startswith("hour")
    return f"{'an' if vowel else 'a'} {noun}"


def figures(text: str) -> str:
    """`has some marks` for `has the marks some number and some number`."""
    return re.sub(r"\bthe (\w+) (some|any) number and \2 number\b", r"\2 \1", text)


def fitted(before: str, word: str) -> str:
    """`before` and an argument; `with value` and `some number` become `with some value`."""
    quantity, _, rest = word.partition(" ")
    if quantity in ("some", "any", "every", "no") and rest.startswith("number"):
        if before.lower().endswith("the number "):
            return f"{before[:-11]}{word}"
        if before.endswith("value "):
            return f"{before[:-6]}{quantity} value{rest.removeprefix('number')}"
    return before + word


def attribute_clause(predicate: Predicate, clause: str, anonymous: bool) -> str:
    """`{0} has the depth {1}` for `the depth of {0} is {1}`; without a number `{0} has some depth`."""
    places = [piece.split("}")[0] for piece in clause.split("{")[1:]]
    denied = " not " in clause
    rest = clause.partition(f"{{{places[1]}}}")[2]  # a point in time
    if anonymous:
        return f"{{{places[0]}}} has {'no' if denied else 'some'} {predicate.attribute}{rest}"
    verb = "does not have" if denied else "has"
    if is_plural(predicate.attribute):  # `has 3 visitors`
        return f"{{{places[0]}}} {verb} {{{places[1]}}} {predicate.attribute}{rest}"
    return f"{{{places[0]}}} {verb} the {predicate.attribute} {{{places[1]}}}{rest}"
