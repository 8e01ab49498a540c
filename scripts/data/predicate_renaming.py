"""Predicate renaming: the predicates of a problem get other names, in all its texts.

If `depot/1` becomes `violin/1` in the description, the instructions, the rules and the facts, a model cannot
answer with a name that it remembers: it must copy the name from the text. The solver verifies that the answer
sets are the same up to the names. The prose is renamed word by word and is not verified: a sentence may read
oddly if a predicate is named after a verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import replace
from itertools import chain, count, islice
from random import Random

from scripts.asp.gate import code_only
from scripts.asp.solver import AnswerSet
from scripts.asp.syntax import predicates
from scripts.data.in_view import out_of_view
from scripts.data.problems import Problem

WORDS = tuple(
    """badge ballad banner barge barn barrel basin basket bead beam bell bishop blade blanket bolt bonnet
    bottle boulder bracket brick bridge broom bucket buckle bulb cabin cable canal candle canoe
    caravan cargo carpet cart castle cedar cellar chalk chapel chart chest cliff clock cloud clover
    coat cobble comet copper coral cork cottage cradle crane crate creek crown crystal curtain
    cushion dagger dam desk dial dome door drum dune fable falcon fan feather fence fiddle field
    flag flame flask flint flute forge fork fountain frame garden gate gem glacier glove goblet
    granite grape grove guitar gull hammer hamlet harbour harp hazel hedge helmet herald heron hinge
    hive hollow hood horn jacket jar jewel kettle kite knot ladder lagoon lamp lane lantern lawn
    lemon lever linen lock loft loom lute magnet mallet mantle maple marble market mask mast meadow
    medal melon mill mirror mitten moat mortar motor mural myrtle needle nest nettle nugget paddle
    palace panel parcel parrot pasture path pearl pebble pedal pencil pepper piano pier pigeon
    pillar pillow pine pipe pistol pitcher plank plaza plough plum pocket pond poplar potter prism
    pumpkin quill quilt raft rail raven reed reef ribbon ridge ring river robin rocket roof rope
    rudder saddle sail salmon sandal satchel saucer scarf sceptre scroll shawl shed shell shield
    shovel shrine signet silo skate sledge sleeve slipper socket sofa spade sparrow spear spindle
    spire spoon spruce stable staircase statue steeple stool stream sundial swallow table tambour
    tanker tavern teapot temple thimble thistle throne ticket tiger timber tower trail tram trumpet
    trunk tulip tunnel turnip turret vase vault velvet vessel viaduct village vine violin wagon
    walnut wardrobe well whistle willow window windmill wreath yacht""".split()
)

# A string, or a word that is no directive.
_TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"|(?<![#\w])[A-Za-z_]\w*')
_PARTS = re.compile(r'(?P<string>"(?:\\.|[^"\\\n])*")|(?P<comment>%\*.*?\*%|%[^\n]*)', re.DOTALL)
# The endings of a plural, and what the singular has instead.
_ENDINGS = (("", ""), ("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"))
_SHORTEST_NOUN = 3  # letters; shorter words of a sentence are not renamed
# Common words of English are not renamed in a sentence.
_COMMON = frozenset(
    """a about above across after again against all along also although always am among an and any are
    around as at away back be because been before behind being below beneath beside besides between
    beyond both but by can cannot could did do does done down during each either else empty enough
    equal even ever every exactly except few first five for four free from full further get gets
    give given gives go goes gone had half has have having he hence her here his how if in inside
    instead into is it its just keep kept largest last later latest least left less let like made
    make makes many may me might missing more most much must near neither never new next no none nor
    not nothing now of off often old on once one only onto open or other others otherwise our out
    outside over own per right same second see seen set sets several shall she should since single
    six smallest so some soon still such take taken takes ten than that the their them then there
    these they third this those though three through till to together too total toward towards twice
    two under unless unlike until up upon us use used uses very via was we well were what when where
    whether which while who whole whose why will with within without would yes yet you""".split()
)


def fresh_names(names: set[str], texts: str, rng: Random) -> dict[str, str]:
    """Draw a new name for each of `names`. A name of two words or more (`sleeps_in`) gets two words.

    No new name occurs in `texts`, and none begins with a vowel.
    """
    taken = set(re.findall(r"[a-z]+", texts.lower()))
    free = [word for word in WORDS if word not in taken and f"{word}s" not in taken]
    rng.shuffle(free)
    words = chain(free, (f"{word}{number}" for number in count(2) for word in free))
    return {name: "_".join(islice(words, min(2, name.count("_") + 1))) for name in sorted(names)}


def rename_predicates_in_program(code: str, names: dict[str, str]) -> str:
    """Rename the predicates in a program or in facts: every word that is one of `names`. Strings stay."""
    return _TEXT.sub(lambda match: names.get(match[0], match[0]), code)


def rename_predicates_in_text(text: str, names: dict[str, str], stay: Container[str] = ()) -> str:
    """Rename the predicates in a description or an instruction.

    A predicate is renamed wherever it stands as code. As a word of a sentence it is renamed if it may be a
    noun, in the singular and in the plural. Common words of English and forms of verbs (`placed`, `holds`)
    stay.

    Arguments:
        text: The text.
        names: The old and new names of the predicates.
        stay: Words that are no nouns here: names of variables, and of predicates that keep their names.
    """
    if not names:
        return text

    def rename(match: re.Match) -> str:
        word = match[0]
        is_code = text[match.end() : match.end() + 1] in ("(", "/", "`")
        if word in names and (is_code or _is_noun(word)):
            return names[word]
        return word if word in stay else _rename_noun(word, names)

    renamed = _TEXT.sub(rename, text)
    new_words = "|".join(re.escape(new.split("_")[0]) for new in names.values())
    return re.sub(rf"\b([Aa])n (?=`?(?:{new_words}))", r"\1 ", renamed)  # no new name begins with a vowel


def _rename_noun(word: str, names: dict[str, str]) -> str:
    """Return the new noun for a word of a sentence, in the same number and case, or the word itself."""
    lower = word.lower()
    for ending, singular_ending in _ENDINGS:
        singular = lower.removesuffix(ending) + singular_ending
        if lower.endswith(ending) and _is_noun(singular) and singular in names:
            new = names[singular].replace("_", " ") + ("s" if ending else "")
            return new.capitalize() if word[0].isupper() else new
    return word


def _is_noun(name: str) -> bool:
    """Whether a name may be a noun in the singular.

    A name with an underscore is no English word: it is always renamed.
    """
    if "_" in name:
        return True
    is_verb_or_plural = re.search(r"..[^e]ed$|[^s]s$", name)
    return len(name) >= _SHORTEST_NOUN and name not in _COMMON and not is_verb_or_plural


def mentions_predicate(name: str, prose: str) -> bool:
    """Whether a text names a predicate: as code, or as a noun in the singular or plural."""
    if re.search(rf"(?<![#\w]){re.escape(name)}[(/`]", prose):
        return True
    if not _is_noun(name):
        return False
    forms = {name.removesuffix(own) + ending for ending, own in _ENDINGS if name.endswith(own)}
    return any(re.search(rf"(?<![#\w]){re.escape(form)}(?!\w)", prose, re.IGNORECASE) for form in forms)


def predicate_names(problem: Problem) -> set[str]:
    """Return the names of all predicates of a problem's encoding."""
    statements = [statement for step in problem.encoding.steps for statement in step.statements]
    return {name.lstrip("-") for statement in statements for name, _ in predicates(statement)} - {""}


def variable_names(problem: Problem) -> set[str]:
    """Return the names of variables of a problem's encoding that have more than one letter, so that they may
    be words.
    """
    return set(re.findall(r"(?<![\w\"])_*[A-Z]\w+", code_only(problem.source)))


def rename_predicates(problem: Problem, rng: Random) -> tuple[Problem, dict[str, str]]:
    """Give the predicates of a problem new names that `rng` draws.

    A predicate keeps its own name if the new one would not be in view before its first use, for example
    because the texts have only another form of the word.

    Returns:
        The problem with the new names in all its texts, and the old and new names.
    """
    texts = "\n".join([problem.source, *problem.descriptions().values(), *problem.instances.values()])
    names = fresh_names(predicate_names(problem), texts, rng)
    stay = variable_names(problem)
    while True:
        renamed = _with_names(problem, names, stay)
        missing = out_of_view(renamed, names.values())
        if not missing:
            return renamed, names
        stay |= {old for old, new in names.items() if new in missing}
        names = {old: new for old, new in names.items() if new not in missing}


def _with_names(problem: Problem, names: dict[str, str], stay: set[str]) -> Problem:
    """The problem with new names in all its texts. The words in `stay` are renamed in no sentence."""

    def in_text(text: str) -> str:
        return rename_predicates_in_text(text, names, stay)

    def in_program(source: str) -> str:
        return _map_parts(source, in_text, lambda code: rename_predicates_in_program(code, names))

    return replace(
        problem,
        source=in_program(problem.source),
        description=in_text(problem.description),
        instances={name: in_program(facts) for name, facts in problem.instances.items()},
        paraphrases={style: in_text(text) for style, text in problem.paraphrases.items()},
        wordings={},  # they are renamed where one is drawn
        retellings=(),
    )


def _map_parts(source: str, prose: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Apply `prose` to the comments of a program and `code` to the rest, except strings."""
    pieces, position = [], 0
    for match in _PARTS.finditer(source):
        pieces += [code(source[position : match.start()]), prose(match[0]) if match["comment"] else match[0]]
        position = match.end()
    return "".join([*pieces, code(source[position:])])


def rename_answer_sets(answer_sets: frozenset[AnswerSet], names: dict[str, str]) -> frozenset[AnswerSet]:
    """Rename the predicates of all atoms: the renamed problem must have these answer sets."""
    return frozenset(
        (tuple(sorted(rename_predicates_in_program(atom, names) for atom in atoms)), costs)
        for atoms, costs in answer_sets
    )
