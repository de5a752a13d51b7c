"""What is there: its name, colour, number, ground, and the whole described. Questions about one picture, each by itself.

Each function gives a question and its answer, or None when the scene does not lend itself to it; real photographs, of which
only the name is known, are asked for their name and a description.
"""

import random
import re

from .. import phrases
from ..scenes import Scene
from ..speech import (
    a,
    again,
    all_shown,
    colour_sentence,
    colours,
    has_colour,
    is_,
    is_plural,
    lower_first,
    pair_colours,
    place_in_picture,
    pronoun,
    shows_many,
    the,
    the_shown,
    there_is,
    with_article,
)
from ..wording import capitalised, number_word, plural, usual
from .stock import Stock
from .talk import Turn, is_photograph


def ask_name(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """What is this?"""
    if scene.other:
        return None
    return chance.choice(phrases.NAME_QUESTIONS), name_sentence(scene, chance)


def name_sentence(scene: Scene, chance: random.Random) -> str:
    """ "It is an apple."; several are "These are three apples."."""
    it = a(scene.main) if scene.count == 1 else all_shown(scene, chance, coloured=False)
    answer = usual(chance, phrases.NAME_ANSWERS).format(it=it, medium=scene.medium)
    if shows_many(scene):
        answer = re.sub(r"^(It is|This is(?! a (drawing|photo))|That is)\b", "These are", answer).replace("It looks", "They look")
    return answer


def ask_description(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Describe the picture: one or two sentences."""
    return chance.choice(phrases.DESCRIPTION_REQUESTS), description(scene, chance)


def description(scene: Scene, chance: random.Random) -> str:
    opening = usual(chance, ("The picture shows", "This is a picture of", "I can see", f"There {there_is(scene)}"))
    if is_photograph(scene):
        opening = usual(chance, (opening, f"This is a {scene.medium} of", f"The {scene.medium} shows"))
        return f"{opening} {all_shown(scene, chance, coloured=False)}."
    if chance.random() < 0.5:
        second = pair_colours(scene, chance) if scene.other else colour_sentence(scene.main, chance, shows_many(scene))
        return f"{opening} {all_shown(scene, chance, coloured=False)}. {second}".strip()
    return f"{opening} {all_shown(scene, chance)}." + chance.choice(("", f" The background is {scene.background}."))


def ask_detail(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Describe in detail: what, how it is coloured, where it is and on what ground, in three sentences."""
    if is_photograph(scene):
        return None
    first = f"This is a {scene.medium} of {all_shown(scene, chance, coloured=False)}."
    ground = usual(chance, ("The background is {bg}.", "Behind {it} is a simple {bg} background.", "The background is plain and {bg}."))
    third = ground.format(bg=scene.background, it="them" if shows_many(scene) or scene.other or is_plural(scene.main) else "it")
    if scene.other:
        second = pair_colours(scene, chance)
    else:
        second = colour_sentence(scene.main, chance, shows_many(scene))
        if scene.count == 1:
            third = f"{again(scene.main)} {is_(scene.main)} {place_in_picture(scene.main)}, and {lower_first(third)}"
    return chance.choice(phrases.DETAIL_REQUESTS), " ".join(part for part in (first, second, third) if part)


def ask_colour(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """What colour is it? Also asked of either thing of a pair."""
    thing = chance.choice(scene.objects[:2]) if scene.other else scene.main
    if not has_colour(thing):
        return None
    if scene.count > 1:
        them = f"the {plural(thing.name)}"
        question = chance.choice(phrases.COLOUR_QUESTIONS).format(the=them, The=capitalised(them), it="they", is_="are", does="do")
        return question, f"{chance.choice((capitalised(them), 'They', 'All of them'))} are {colours(thing)}."
    known = the(thing)
    does = "do" if is_plural(thing) else "does"
    question = chance.choice(phrases.COLOUR_QUESTIONS).format(
        the=known, The=capitalised(known), it=pronoun(thing), is_=is_(thing), does=does
    )
    return question, f"{chance.choice((capitalised(known), capitalised(pronoun(thing))))} {is_(thing)} {colours(thing)}."


def ask_count(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """How many are there?"""
    if scene.main.sprite.kind != "count" or is_photograph(scene):
        return None
    thing = chance.choice(scene.objects) if scene.other else scene.main
    if thing.sprite.kind != "count":
        return None
    many, number = plural(thing.name), number_word(scene.count)
    noun, are = (thing.name, "is") if scene.count == 1 else (many, "are")
    answer = usual(chance, phrases.COUNT_ANSWERS).format(number=number, Number=capitalised(number), noun=noun, are=are)
    return chance.choice(phrases.COUNT_QUESTIONS).format(many=many), answer


def ask_background(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """What colour is the background?"""
    if is_photograph(scene):
        return None
    known = the_shown(scene) if scene.count == 1 else f"the {plural(scene.main.name)}"
    are = "are" if shows_many(scene) or scene.other else is_(scene.main)
    fields = {"the": known, "The": capitalised(known), "is_": are, "bg": scene.background, "a_bg": with_article(scene.background)}
    return chance.choice(phrases.BACKGROUND_QUESTIONS).format(**fields), usual(chance, phrases.BACKGROUND_ANSWERS).format(**fields)


def ask_medium(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Is it a photo or a drawing?"""
    if any(thing.sprite.photograph for thing in scene.objects) and scene.medium != "photo":
        return None  # a photographed thing beside a drawn one is neither
    asked = chance.choice(
        (
            "Is this a photo or a drawing?",
            "Is it a drawing or a photo?",
            "Is this a drawing or a photograph?",
            "Was this drawn or photographed?",
            "What kind of picture is this, a photo or a drawing?",
            "What kind of picture is this?",
        )
    )
    known = all_shown(scene, chance, coloured=False)
    return asked, usual(
        chance, (f"It is a {scene.medium}.", f"This is a {scene.medium} of {known}.", f"It is a {scene.medium} of {known}.")
    )
