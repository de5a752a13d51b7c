"""Follow-ups that mean nothing by themselves: "What colour is it?", "And the other one?", "Are you sure?".

A conversation starts with a question that brings a thing up; what follows refers back to it with pronouns. What "it" is then is the
thing that the last answer was about.
"""

import random

from ..scenes import LEFT_OF, Scene, SceneObject
from ..sorts import is_person
from ..speech import (
    a,
    again,
    colours,
    has_colour,
    is_,
    is_plural,
    place_in_picture,
    pronoun,
    pronoun_is,
    shows_many,
    the,
    with_article,
)
from ..wording import capitalised, is_or_are, mention, number_word, plural, usual
from .looking import ask_name
from .stock import Stock
from .talk import Album, Talk, Turn, is_photograph
from .yes_no import relatives_of, sides_of


def follow_up(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """Two to four turns about one picture."""
    seen = album.draw_scene(chance, lambda scene: not (scene.count == 1 and not scene.other and is_photograph(scene)))
    scene, turns = seen.scene, chance.choice((2, 2, 3, 3, 4))
    starts = _about_pair if scene.other else _about_several if scene.count > 1 else _about_one
    said = starts(scene, chance, stock, turns)
    talk = Talk().add(said[0], seen)
    for turn in said[1:]:
        talk.add(turn)
    return talk


def _about_one(scene: Scene, chance: random.Random, stock: Stock, turns: int) -> list[Turn]:
    """The name, then what else there is to know of it, in any order."""
    thing = scene.main
    it_is, it = pronoun_is(thing), pronoun(thing)
    are_it = f"{it_is.split()[1]} {it}"
    answers = [ask_name(scene, chance, stock)]
    possible: list[Turn | None] = [
        _colour_of_it(thing, chance),
        (chance.choice((f"Where {are_it}?", f"And where {are_it}?")), f"{capitalised(it_is)} {place_in_picture(thing)}."),
        _ground_behind(scene, chance, "them" if it == "they" else {"he": "him", "she": "her"}.get(it, "it")),
        _doubt(scene, chance, stock),
        _sure(f"it is {a(thing)}" if thing.sprite.kind != "plural" else f"they are {a(thing)}", chance),
        _anything_else(scene, chance),
        _how_many_of_them(scene, chance),
    ]
    weights = (4, 2, 2, 3, 2, 2, 1)
    further = _some(possible, weights, turns - 1, chance)
    sure = possible[4]
    return answers + sorted(further, key=lambda turn: turn is not sure)  # only the name, said just before, is what it is sure of


def _about_several(scene: Scene, chance: random.Random, stock: Stock, turns: int) -> list[Turn]:
    """What they are, then how many and of what colour."""
    many, number = plural(scene.main.name), number_word(scene.count)
    if chance.random() < 0.5:
        first = chance.choice(("What are these?", "What things are these?")), usual(chance, (f"These are {many}.", f"They are {many}."))
    else:
        asked = chance.choice(("What do you see?", "What does the picture show?"))
        first = asked, usual(chance, (f"I see {many}.", f"The picture shows {many}."))
    how_many = (
        chance.choice(("How many are there?", "How many of them?", "How many of them do you see?", "And how many are there?", "How many?")),
        chance.choice(
            (f"There are {number} of them.", f"{capitalised(number)}.", f"I count {number} {many}.", f"There are {number} {many}.")
        ),
    )
    rest: list[Turn | None] = [
        _sure(f"there are {number} {many}", chance),
        _ground_behind(scene, chance, "them"),
    ]
    if has_colour(scene.main):
        rest.append(
            (
                chance.choice(("What colour are they?", "What color are they?", "And their colour?", "Which colour do they have?")),
                usual(chance, (f"They are {colours(scene.main)}.", f"All of them are {colours(scene.main)}.")),
            )
        )
    return [first, how_many, *_some(rest, (2, 1, 3)[: len(rest)], turns - 2, chance)]


def _about_pair(scene: Scene, chance: random.Random, stock: Stock, turns: int) -> list[Turn]:
    """One of the two, then the other; their colours, one after the other; where they are."""
    index = chance.randrange(2)
    thing, other = scene.objects[index], scene.objects[1 - index]
    here, there = sides_of(scene)[index], sides_of(scene)[1 - index]
    way = chance.choice(("sides", "sides", "colours", "colours", "where"))
    if way == "colours" and not all(has_colour(one) for one in (thing, other)):
        way = "sides"
    if way == "colours":
        opening = (
            chance.choice(("What do you see?", "What is in this picture?", "What does the picture show?")),
            usual(chance, (f"I see {a(thing)} and {a(other)}.", f"The picture shows {a(thing)} and {a(other)}.")),
        )
        colour = chance.choice((f"What colour {is_(thing)} {the(thing)}?", f"What color {is_(thing)} {the(thing)}?"))
        said = [opening, (colour, f"{capitalised(the(thing))} {is_(thing)} {colours(thing)}.")]
        said.append((_and_the_other(chance), f"{capitalised(the(other))} {is_(other)} {colours(other)}."))
    elif way == "where":
        said = [
            (f"Where {is_(thing)} {the(thing)}?", f"{capitalised(the(thing))} {is_(thing)} {here}."),
            (
                chance.choice((f"And {the(other)}?", f"And where {is_(other)} {the(other)}?", f"What about {the(other)}?")),
                f"{capitalised(the(other))} {is_(other)} {there}.",
            ),
        ]
    else:
        are, its = is_or_are(thing.sprite.kind), _possessive(thing)
        besides = [_and_the_other(chance), f"And {there}?", f"What is {there}?"]
        if scene.relation == LEFT_OF:
            besides += [f"What is on {its} {'right' if index == 0 else 'left'}?", f"And on {its} {'right' if index == 0 else 'left'}?"]
        else:
            besides += (
                [f"What is {relatives_of(scene)[1 - index]} {'them' if its == 'their' else 'it'}?"] if its in ("its", "their") else []
            )
        there_are = is_or_are(other.sprite.kind)
        opening = f"{capitalised(here)} {are} {a(thing)}."
        answer = usual(chance, (f"{capitalised(there)} {there_are} {a(other)}.", f"{capitalised(a(other))} {there_are} {there}."))
        said = [(chance.choice((f"What is {here}?", f"What do you see {here}?")), opening), (chance.choice(besides), answer)]
    last = said[min(turns, len(said)) - 1]
    focus = other if len(said) <= turns else thing
    more = [
        _colour_of_it(focus, chance) if way != "colours" else None,
        _sure(lower_sentence(last[1]), chance) if way != "colours" else None,
        _ground_behind(scene, chance, "them both"),
    ]
    return said[:turns] + _some(more, (3, 2, 1), turns - len(said), chance)


def lower_sentence(sentence: str) -> str:
    """A sentence as a clause: without its full stop; a name at its beginning keeps its capital."""
    first = sentence.split()[0]
    return (sentence if first in ("I", "Santa", "Mrs.", "Mars") else sentence[:1].lower() + sentence[1:]).rstrip(".")


def _some(turns: list[Turn | None], weights: tuple[float, ...], count: int, chance: random.Random) -> list[Turn]:
    """Up to `count` different ones."""
    left = [(turn, weight) for turn, weight in zip(turns, weights, strict=True) if turn]
    chosen: list[Turn] = []
    while left and len(chosen) < count:
        index = chance.choices(range(len(left)), [weight for _, weight in left])[0]
        chosen.append(left.pop(index)[0])
    return chosen


def _possessive(thing: SceneObject) -> str:
    return {"it": "its", "they": "their", "he": "his", "she": "her"}[pronoun(thing)]


def _and_the_other(chance: random.Random) -> str:
    return chance.choice(("And the other one?", "And the other?", "What about the other one?", "What about the other?"))


def _colour_of_it(thing: SceneObject, chance: random.Random) -> Turn | None:
    if not has_colour(thing):
        return None
    it, does = pronoun(thing), "do" if is_plural(thing) else "does"
    asked = chance.choice(
        (
            f"What colour {is_(thing)} {it}?",
            f"What color {is_(thing)} {it}?",
            f"And what colour {is_(thing)} {it}?",
            f"Which colour {does} {it} have?",
            f"And {_possessive(thing)} colour?",
            f"Can you tell me {_possessive(thing)} colour?",
        )
    )
    return asked, usual(
        chance, (f"{again(thing)} {is_(thing)} {colours(thing)}.", f"{capitalised(the(thing))} {is_(thing)} {colours(thing)}.")
    )


def _ground_behind(scene: Scene, chance: random.Random, them: str) -> Turn | None:
    if is_photograph(scene):
        return None
    asked = chance.choice((f"What is behind {them}?", f"And what is behind {them}?", "And the background?", "What about the background?"))
    ground = scene.background
    return asked, usual(
        chance, (f"The background is {ground}.", f"Only a plain {ground} background.", f"There is {with_article(ground)} background.")
    )


def _sure(claim: str, chance: random.Random) -> Turn:
    """Asked again, it stays with what it said."""
    asked = chance.choice(("Are you sure?", "Are you sure about that?", "Really?", "Is that right?", "Sure?", "Are you certain?"))
    return asked, usual(chance, (f"Yes, I am sure: {claim}.", f"Yes, {claim}.", f"I am sure that {claim}.", f"I am quite sure: {claim}."))


def _doubt(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """The person takes it for something else, and is told."""
    thing, absent = scene.main, stock.draw_absent(scene, chance)
    if absent is None or absent.kind != "count" or thing.sprite.kind != "count" or shows_many(scene):
        return None
    other = mention(absent.name)
    asked = chance.choice((f"Isn't it {other}?", f"I think it is {other}.", f"Are you sure it is not {other}?", f"Could it be {other}?"))
    who = "the person" if is_person(thing.sprite) else "it"
    answers = (
        f"No, I am sure it is {a(thing)}.",
        f"No, to me it is clearly {a(thing)}.",
        f"I do not think so: {who} looks like {a(thing)}.",
    )
    if asked.startswith("Are you sure"):
        answers = (f"Yes, I am sure it is {a(thing)}.", f"Yes, it is {a(thing)}, not {other}.")
    return asked, usual(chance, answers)


def _how_many_of_them(scene: Scene, chance: random.Random) -> Turn | None:
    if scene.main.sprite.kind != "count":
        return None
    one = scene.main.name
    if chance.random() < 0.3:
        return "Is it the only one?", usual(chance, (f"Yes, there is only one {one}.", f"Yes, I see only one {one}."))
    asked = chance.choice(("How many are there?", "How many of them do you see?", "And how many are there?"))
    return asked, usual(chance, (f"There is only one {one}.", f"I see one {one}.", f"Just one {one}."))


def _anything_else(scene: Scene, chance: random.Random) -> Turn:
    it = a(scene.main)
    if chance.random() < 0.5:
        return chance.choice(("Is there anything else?", "Anything else?")), usual(
            chance, (f"No, there is only {it}.", f"No, I only see {it}.")
        )
    asked = chance.choice(("What else do you see?", "And what else is there?"))
    ground = scene.background
    return asked, usual(chance, (f"Nothing else, only the {ground} background.", f"There is nothing else, only {it}.", f"I only see {it}."))
