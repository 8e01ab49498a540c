"""Another vocabulary for a whole problem: its predicates get other names, everywhere at once.

Renaming variables teaches that a capitalised word is a placeholder; renaming predicates teaches where a name comes
from. With `depot/1` called `violin/1` in description, instructions, rules and facts alike, the model cannot remember
the name, it has to copy it from the text. The solver proves that the answer sets are the same up to the names.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

from scripts.asp_solver import AnswerSet
from scripts.benchmarks import Problem
from scripts.encoding import predicates

WORDS = tuple(
    """acorn amber anchor anvil apron arrow attic badge ballad banner barge barn barrel basin basket bead beam bell bishop
    blade blanket bolt bonnet bottle boulder bracket brick bridge broom bucket buckle bulb cabin cable canal candle
    canoe caravan cargo carpet cart castle cedar cellar chalk chapel chart chest cliff clock cloud clover coat cobble
    comet copper coral cork cottage cradle crane crate creek crown crystal curtain cushion dagger dam desk dial dome
    door drum dune easel ember engine fable falcon fan feather fence fiddle field flag flame flask flint flute forge
    fork fountain frame garden gate gem glacier glove goblet granite grape grove guitar gull hammer hamlet harbour harp
    hazel hedge helmet herald heron hinge hive hollow hood horn island jacket jar jewel kettle kite knot ladder lagoon
    lamp lane lantern lawn lemon lever linen lock loft loom lute magnet mallet mantle maple marble market mask mast
    meadow medal melon mill mirror mitten moat mortar motor mural myrtle needle nest nettle nugget oak oar olive onion
    opal orchard organ otter oven paddle palace panel parcel parrot pasture path pearl pebble pedal pencil pepper piano
    pier pigeon pillar pillow pine pipe pistol pitcher plank plaza plough plum pocket pond poplar potter prism pumpkin
    quill quilt raft rail raven reed reef ribbon ridge ring river robin rocket roof rope rudder saddle sail salmon
    sandal satchel saucer scarf sceptre scroll shawl shed shell shield shovel shrine signet silo skate sledge sleeve
    slipper socket sofa spade sparrow spear spindle spire spoon spruce stable staircase statue steeple stool stream
    sundial swallow table tambour tanker tavern teapot temple thimble thistle throne ticket tiger timber tower trail
    tram trumpet trunk tulip tunnel turnip turret umbrella urn vase vault velvet vessel viaduct village vine violin
    wagon walnut wardrobe well whistle willow window windmill wreath yacht""".split()
)

_TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"|[A-Za-z_]\w*')
_PLAIN = 3  # a shorter name, or one that is a common word of English, stays what it is in prose
_COMMON = frozenset(
    "all and any are can each for has have may must not one the use used uses was with into from over than then this".split()
)


def another(names: set[str], texts: str, rng: Random) -> dict[str, str]:
    """Fresh names for `names`, none of which occurs in `texts` yet; a name of two words gets two."""
    taken = set(re.findall(r"[a-z]+", texts.lower()))
    free = [word for word in WORDS if word not in taken and f"{word}s" not in taken]
    rng.shuffle(free)
    fresh = iter(free)
    return {name: "_".join(next(fresh) for _ in range(min(2, name.count("_") + 1))) for name in sorted(names)}


def in_code(code: str, names: dict[str, str]) -> str:
    """Rename every whole word of a program or of facts; strings stay."""
    return _TEXT.sub(lambda match: names.get(match[0], match[0]), code)


def in_prose(text: str, names: dict[str, str]) -> str:
    """Rename in a description or an instruction: every name where it stands as code, and the plain word and its plural."""

    def replace(match: re.Match) -> str:
        word = match[0]
        if word in names and (word not in _COMMON and len(word) >= _PLAIN or text[match.end() : match.end() + 1] in ("(", "/", "`")):
            return names[word]
        lower = word.lower()
        for ending in ("", "s", "es"):
            stem = lower.removesuffix(ending)
            if ending and not lower.endswith(ending) or stem in _COMMON or len(stem) < _PLAIN or stem not in names:
                continue
            new = names[stem].replace("_", " ") + ("s" if ending else "")
            return new.capitalize() if word[0].isupper() else new
        return word

    return _TEXT.sub(replace, text)


def predicate_names(problem: Problem) -> set[str]:
    """The names of all predicates of a problem's encoding."""
    statements = [statement for step in problem.encoding.steps for statement in step.statements]
    return {name.lstrip("-") for statement in statements for name, _ in predicates(statement)} - {""}


def retell(problem: Problem, rng: Random) -> tuple[Problem, dict[str, str]]:
    """The problem in another vocabulary, and the names: old to new."""
    texts = "\n".join([problem.source, *problem.descriptions().values(), *problem.instances.values()])
    names = another(predicate_names(problem), texts, rng)
    lines = []  # instructions are prose, the rest of the encoding is code
    for line in problem.source.split("\n"):
        lines.append(in_prose(line, names) if line.lstrip().startswith("%") else in_code(line, names))
    return replace(
        problem, source="\n".join(lines), description=in_prose(problem.description, names),
        instances={name: in_code(facts, names) for name, facts in problem.instances.items()},
        paraphrases={style: in_prose(text, names) for style, text in problem.paraphrases.items()},
    ), names


def renamed(answer_sets: frozenset[AnswerSet], names: dict[str, str]) -> frozenset[AnswerSet]:
    """Answer sets with the names of their atoms replaced: what those of the retold problem must be."""
    return frozenset((tuple(sorted(in_code(atom, names) for atom in atoms)), costs) for atoms, costs in answer_sets)
