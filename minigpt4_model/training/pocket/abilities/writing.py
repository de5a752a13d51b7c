"""Short texts about what a picture shows: a story, a poem, an advertisement, a title, a post, what it could be used for.

Built from the patterns of `writing.txt` that fit the sort of thing. Everything is about the thing on the picture, and
short: the LLM is frozen, its own fluency is to stay.
"""

import random
import re
from functools import cache
from importlib import resources

from ..scenes import Scene
from ..sorts import sort_of
from ..speech import a, colour_fits, is_plural, pronoun, simply, the, the_shown
from ..wording import capitalised, plural, usual
from .stock import Stock
from .talk import Album, Seen, Talk, Turn, any_scene

_THEM = {"it": "it", "they": "them", "he": "him", "she": "her"}
_SMALL = frozenset(["a", "an", "and", "the", "of", "in", "on", "with", "at", "to", "for", "its", "his", "her", "their"])
# Sorts that share a group of patterns; what is not named has those for anything only.
_GROUPS = {"animal": "animal", "person": "person", "food": "food", "vehicle": "vehicle", "thing": "thing", "plant": "plant"}
USE_QUESTIONS = (
    "What could I use it for?",
    "What can I do with it?",
    "What is it good for?",
    "What would you use this for?",
    "What can it be used for?",
    "How could this be useful?",
    "What do people use it for?",
    "Give me an idea what to do with this.",
)
_USE_ANSWERS = (
    "You could use {them} to {use}.",
    "{A} can help you to {use}.",
    "With {a} you can {use}.",
    "People use {many} to {use}.",
    "You can use {the} to {use}.",
    "One idea: use {them} to {use}.",
    "It is {a}, so you could {use}.",
    "You could {use}.",
)


def fields_of(scene: Scene) -> dict[str, str]:
    """What the patterns are filled with; with a capital also as the beginning of a sentence."""
    thing = scene.main
    several = scene.count > 1 or bool(scene.other)
    many = several or is_plural(thing)
    it = "they" if several else pronoun(thing)
    known = the_shown(scene) if several else the(thing)
    fields = {
        "a": simply(scene),
        "the": known,
        "it": it,
        "them": _THEM[it],
        "is_": "are" if many else "is",
        "has": "have" if many else "has",
    }
    fields |= {name[:1].upper() + name[1:]: capitalised(text) for name, text in fields.items() if name != "is_"}
    there_are = scene.count > 1 or thing.sprite.kind == "plural"
    fields |= {"was": "were" if many else "was", "there_was": "were" if there_are else "was", "s": "" if many else "s"}
    fields["name"] = re.sub(r"\bthe ", "", fields["the"])
    fields["tag"] = " ".join(_hashtag(thing.name, thing.sprite.head) for thing in dict.fromkeys(scene.objects[: 2 if scene.other else 1]))
    if scene.background:
        fields["ground"] = scene.background
    if colour_fits(thing) and not scene.other:
        fields |= {"colour": thing.colour, "Colour": capitalised(thing.colour)}
    return fields


def title_case(words: str) -> str:
    first, *rest = words.split()
    return " ".join([capitalised(first), *(word if word in _SMALL else capitalised(word) for word in rest)])


def _hashtag(name: str, head: str) -> str:
    """ "#redapple"; of long names the noun alone."""
    words = name if len(name.split()) < 3 else head
    return "#" + re.sub(r"[^a-z0-9]", "", words.lower())


def group_of(scene: Scene) -> str:
    """The group of patterns that fits what is shown; "" where only those fit that are for anything."""
    return "" if scene.other or scene.count > 1 else _GROUPS.get(sort_of(scene.main.sprite), "")


@cache
def patterns() -> dict[tuple[str, str], tuple[str, ...]]:
    """(kind of text, what it is for) -> its patterns, from `writing.txt`."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    section = ("", "")
    for line in _lines("writing.txt"):
        if line.startswith("["):
            kind, _, use = line.strip("[]").partition(", ")
            section = (kind, use)
        else:
            found[section] = (*found.get(section, ()), line.replace(" / ", "\n"))
    return found


def _lines(file: str) -> list[str]:
    """The lines of a table of the corpus, without comments."""
    lines = resources.files("minigpt4_model.training.pocket").joinpath(file).read_text("utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def patterns_for(kind: str, scene: Scene, fields: dict[str, str]) -> list[str]:
    """Those of the scene's own sort, twice as likely as those for anything, and those whose fields are known."""
    found = [*patterns()[kind, "any"], *(2 * patterns().get((kind, group_of(scene)), ()))]
    if "ground" in fields:
        found += patterns().get((kind, "ground"), ())
    if "colour" in fields:
        found += patterns().get((kind, "colour"), ())
        found += 4 * patterns().get((kind, fields["colour"]), ())
    return found


def _text(kind: str, scene: Scene, chance: random.Random) -> Turn:
    fields = fields_of(scene)
    return chance.choice(patterns()[kind, "asked"]), chance.choice(patterns_for(kind, scene, fields)).format(**fields)


def tell_story(scene: Scene, chance: random.Random) -> Turn:
    """Two or three sentences."""
    return _text("story", scene, chance)


def write_poem(scene: Scene, chance: random.Random) -> Turn:
    """Two to four rhymed lines."""
    return _text("poem", scene, chance)


def write_advertisement(scene: Scene, chance: random.Random) -> Turn:
    """Two sentences."""
    return _text("advertisement", scene, chance)


def give_title(scene: Scene, chance: random.Random) -> Turn:
    asked, title = _text("title", scene, chance)
    return asked, usual(chance, ("{}", '"{}"', 'How about "{}"?', 'I would call it "{}".')).format(title_case(title))


def write_post(scene: Scene, chance: random.Random) -> Turn:
    """A caption for social media, with a hashtag."""
    return _text("post", scene, chance)


@cache
def uses() -> dict[str, str]:
    """Head noun -> what one could do with the thing."""
    rows = (line.split(" | ") for line in _lines("uses.txt"))
    return {head: use for heads, use in rows for head in heads.split()}


def tell_use(scene: Scene, chance: random.Random) -> Turn | None:
    """What could I use it for? Of single things of which everybody knows."""
    thing = scene.main
    if scene.other or scene.count > 1 or thing.sprite.head not in uses() or sort_of(thing.sprite) in ("symbol", "person", "face"):
        return None
    answers = [text for text in _USE_ANSWERS if thing.sprite.kind == "count" or "{many}" not in text and "It is" not in text]
    fields = {"many": plural(thing.name), "use": uses()[thing.sprite.head], "A": capitalised(a(thing)), **fields_of(scene)}
    return chance.choice(USE_QUESTIONS), usual(chance, answers).format(**fields)


TEXTS = (tell_story, write_poem, write_advertisement, give_title, write_post, tell_use)


def write(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """One text about a drawing, at times after it was looked at."""
    ask = chance.choice(TEXTS)
    return _write_about(
        album.draw_scene(chance, (lambda scene: bool(tell_use(scene, random.Random(0)))) if ask is tell_use else any_scene), ask, chance
    )


def write_about_photograph(chance: random.Random, album: Album, stock: Stock) -> Talk:
    return _write_about(album.draw_photograph(chance), usual(chance, TEXTS), chance)


def _write_about(seen: Seen, ask, chance: random.Random) -> Talk:
    scene, talk = seen.scene, Talk()
    turn = ask(scene, chance) or tell_story(scene, chance)
    if chance.random() < 0.6:
        return talk.add(turn, seen)
    shown = simply(scene)
    talk.add(
        (
            chance.choice(("What do you see?", "What is in this picture?")),
            usual(chance, (f"I see {shown}.", f"The picture shows {shown}.")),
        ),
        seen,
    )
    return talk.add(turn)
