"""Another vocabulary for a whole problem: its predicates get other names, everywhere at once.

Renaming variables teaches that a capitalised word is a placeholder; renaming predicates teaches where a name comes
from. With `depot/1` called `violin/1` in description, instructions, rules and facts alike, the model cannot remember
the name, it has to copy it from the text. The solver proves that the answer sets are the same up to the names. The prose
is renamed word by word and proved by nobody: where a predicate is named after a verb, a sentence reads oddly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import replace
from itertools import chain, count
from random import Random

from scripts.asp.gate import code_only
from scripts.asp.solver import AnswerSet
from scripts.asp.syntax import predicates
from scripts.data.problems import Problem

WORDS = tuple(
    """badge ballad banner barge barn barrel basin basket bead beam bell bishop blade blanket bolt bonnet bottle boulder
    bracket brick bridge broom bucket buckle bulb cabin cable canal candle canoe caravan cargo carpet cart castle cedar
    cellar chalk chapel chart chest cliff clock cloud clover coat cobble comet copper coral cork cottage cradle crane
    crate creek crown crystal curtain cushion dagger dam desk dial dome door drum dune fable falcon fan feather fence
    fiddle field flag flame flask flint flute forge fork fountain frame garden gate gem glacier glove goblet granite
    grape grove guitar gull hammer hamlet harbour harp hazel hedge helmet herald heron hinge hive hollow hood horn
    jacket jar jewel kettle kite knot ladder lagoon lamp lane lantern lawn lemon lever linen lock loft loom lute magnet
    mallet mantle maple marble market mask mast meadow medal melon mill mirror mitten moat mortar motor mural myrtle
    needle nest nettle nugget paddle palace panel parcel parrot pasture path pearl pebble pedal pencil pepper piano pier
    pigeon pillar pillow pine pipe pistol pitcher plank plaza plough plum pocket pond poplar potter prism pumpkin quill
    quilt raft rail raven reed reef ribbon ridge ring river robin rocket roof rope rudder saddle sail salmon sandal
    satchel saucer scarf sceptre scroll shawl shed shell shield shovel shrine signet silo skate sledge sleeve slipper
    socket sofa spade sparrow spear spindle spire spoon spruce stable staircase statue steeple stool stream sundial
    swallow table tambour tanker tavern teapot temple thimble thistle throne ticket tiger timber tower trail tram
    trumpet trunk tulip tunnel turnip turret vase vault velvet vessel viaduct village vine violin wagon walnut wardrobe
    well whistle willow window windmill wreath yacht""".split()
)

_TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"|(?<![#\w])[A-Za-z_]\w*')  # strings, and words that are no directive
_PARTS = re.compile(r'(?P<string>"(?:\\.|[^"\\\n])*")|(?P<comment>%\*.*?\*%|%[^\n]*)', re.DOTALL)
_ENDINGS = (
    ("", ""),
    ("s", ""),
    ("es", ""),
    ("ies", "y"),
    ("ves", "f"),
    ("ves", "fe"),
)  # of a plural, and what stands for it in the name
_PLAIN = 3  # a shorter name, or one that is a common word of English, stays what it is in prose
_COMMON = frozenset(
    """a about above across after again against all along also although always am among an and any are around as at away
    back be because been before behind being below beneath beside besides between beyond both but by can cannot could did
    do does done down during each either else empty enough equal even ever every exactly except few first five for four
    free from full further get gets give given gives go goes gone had half has have having he hence her here his how if in
    inside instead into is it its just keep kept largest last later latest least left less let like made make makes many
    may me might missing more most much must near neither never new next no none nor not nothing now of off often old on
    once one only onto open or other others otherwise our out outside over own per right same second see seen set sets
    several shall she should since single six smallest so some soon still such take taken takes ten than that the their
    them then there these they third this those though three through till to together too total toward towards twice two
    under unless unlike until up upon us use used uses very via was we well were what when where whether which while who
    whole whose why will with within without would yes yet you""".split()
)


def another(names: set[str], texts: str, rng: Random) -> dict[str, str]:
    """Fresh names for `names`, none of which occurs in `texts` yet; a name of two words gets two. None begins with a vowel."""
    taken = set(re.findall(r"[a-z]+", texts.lower()))
    free = [word for word in WORDS if word not in taken and f"{word}s" not in taken]
    rng.shuffle(free)
    fresh = chain(free, (f"{word}{number}" for number in count(2) for word in free))
    return {name: "_".join(next(fresh) for _ in range(min(2, name.count("_") + 1))) for name in sorted(names)}


def rename_predicates_in_program(code: str, names: dict[str, str]) -> str:
    """Rename every whole word of a program or of facts; strings stay."""
    return _TEXT.sub(lambda match: names.get(match[0], match[0]), code)


def rename_predicates_in_text(text: str, names: dict[str, str], variables: Container[str] = ()) -> str:
    """Rename in a description or an instruction: every name where it stands as code, and the plain noun and its plural.

    Words that hold a sentence together, forms of verbs (`placed`, `holds`), and what is named like one of `variables` stay English.
    """

    def replace(match: re.Match) -> str:
        word = match[0]
        if word in names and (_is_noun(word) or text[match.end() : match.end() + 1] in ("(", "/", "`")):
            return names[word]
        if word in variables:
            return word
        lower = word.lower()
        for ending, own in _ENDINGS:
            stem = lower.removesuffix(ending) + own
            if not lower.endswith(ending) or not _is_noun(stem) or stem not in names:
                continue
            new = names[stem].replace("_", " ") + ("s" if ending else "")
            return new.capitalize() if word[0].isupper() else new
        return word

    told = _TEXT.sub(replace, text)
    fresh = "|".join(re.escape(new.split("_")[0]) for new in names.values())  # none begins with a vowel
    return re.sub(rf"\b([Aa])n (?=`?(?:{fresh}))", r"\1 ", told) if names else told


def _is_noun(name: str) -> bool:
    """Whether a name may be a noun of the text, in the singular; names with an underscore are no English."""
    return (
        "_" in name
        or len(name) >= _PLAIN
        and name not in _COMMON
        and not re.search(r"..[^e]ed$|[^s]s$", name)
    )


def mentions_predicate(name: str, prose: str) -> bool:
    """Whether a text names a predicate: as code, or in plain words where the name may be a noun, in the plural as well."""
    if re.search(rf"(?<![#\w]){re.escape(name)}[(/`]", prose):
        return True
    forms = (
        {name.removesuffix(own) + ending for ending, own in _ENDINGS if name.endswith(own)}
        if _is_noun(name)
        else set()
    )
    return any(re.search(rf"(?<![#\w]){re.escape(form)}(?!\w)", prose, re.IGNORECASE) for form in forms)


def predicate_names(problem: Problem) -> set[str]:
    """The names of all predicates of a problem's encoding."""
    statements = [statement for step in problem.encoding.steps for statement in step.statements]
    return {name.lstrip("-") for statement in statements for name, _ in predicates(statement)} - {""}


def variable_names(problem: Problem) -> set[str]:
    """The names of the variables of a problem's encoding that have more than a letter: those of one are no words."""
    return set(re.findall(r"(?<![\w\"])_*[A-Z]\w+", code_only(problem.source)))


def rename_predicates(problem: Problem, rng: Random) -> tuple[Problem, dict[str, str]]:
    """The problem in another vocabulary, and the names: old to new."""
    texts = "\n".join([problem.source, *problem.descriptions().values(), *problem.instances.values()])
    names = another(predicate_names(problem), texts, rng)
    variables = variable_names(problem)

    def told(text: str) -> str:
        return rename_predicates_in_text(text, names, variables)

    return replace(
        problem,
        source=_by_part(problem.source, told, lambda code: rename_predicates_in_program(code, names)),
        description=told(problem.description),
        instances={
            name: _by_part(facts, told, lambda code: rename_predicates_in_program(code, names))
            for name, facts in problem.instances.items()
        },
        paraphrases={style: told(text) for style, text in problem.paraphrases.items()},
    ), names


def _by_part(source: str, prose: Callable[[str], str], code: Callable[[str], str]) -> str:
    """A program with its comments changed by `prose` and the rest, but for strings, by `code`."""
    pieces, position = [], 0
    for match in _PARTS.finditer(source):
        pieces += [code(source[position : match.start()]), prose(match[0]) if match["comment"] else match[0]]
        position = match.end()
    return "".join([*pieces, code(source[position:])])


def renamed(answer_sets: frozenset[AnswerSet], names: dict[str, str]) -> frozenset[AnswerSet]:
    """Answer sets with the names of their atoms replaced: what those of the retold problem must be."""
    return frozenset(
        (tuple(sorted(rename_predicates_in_program(atom, names) for atom in atoms)), costs)
        for atoms, costs in answer_sets
    )
