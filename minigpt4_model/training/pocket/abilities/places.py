"""Where things are: left, right, above, below, next to. Of the two things of a pair each is asked about equally often."""

import random

from .. import phrases
from ..scenes import LEFT_OF, Scene
from ..speech import LEFT, RIGHT, a, again, is_, place_in_picture, the
from ..wording import capitalised, is_or_are, usual
from .stock import Stock
from .talk import Turn, is_photograph
from .yes_no import relatives_of, sides_of


def ask_side(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """What is on the left?"""
    if not scene.other:
        return None
    index = chance.randrange(2)
    thing, side = scene.objects[index], sides_of(scene)[index]
    are, it = is_or_are(thing.sprite.kind), a(thing)
    answers = (f"{capitalised(side)} {are} {it}.", f"{capitalised(it)} {are} {side}.", f"It is {it}.", f"{capitalised(side)} I see {it}.")
    if thing.sprite.kind == "plural":
        answers = answers[:2] + answers[3:]
    return chance.choice(phrases.LEFT_RIGHT_QUESTIONS).format(side=side), usual(chance, answers)


def ask_where(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Where is the dog?"""
    if is_photograph(scene) or scene.count > 1:
        return None
    index = chance.randrange(len(scene.objects))
    thing = scene.objects[index]
    known, are = the(thing), is_(thing)
    question = chance.choice(phrases.WHERE_QUESTIONS).format(the=known, is_=are)
    if not scene.other:
        return question, usual(chance, (f"{capitalised(known)} {are} {{}}.", f"{again(thing)} {are} {{}}.")).format(place_in_picture(thing))
    neighbour, side, relative = scene.objects[1 - index], sides_of(scene)[index], relatives_of(scene)[index]
    answers = (
        f"{capitalised(known)} {are} {side}.",
        f"{capitalised(known)} {are} {relative} {the(neighbour)}.",
        f"{again(thing)} {are} {side}, {relative} {the(neighbour)}.",
    )
    return question, usual(chance, answers)


def ask_which_side(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Is the dog on the left or on the right? The sides named in either order."""
    if not scene.other:
        return None
    index = chance.randrange(2)
    thing, side = scene.objects[index], sides_of(scene)[index]
    known, are = the(thing), is_(thing)
    first, second = chance.sample(sides_of(scene), 2)
    asked = chance.choice(
        (
            f"{capitalised(are)} {known} {first} or {second}?",
            f"Where {are} {known}: {first} or {second}?",
            f"Where {are} {known}, {first} or {second}?",
            f"Would you say that {known} {are} {first} or {second}?",
        )
    )
    return asked, usual(chance, (f"{capitalised(known)} {are} {side}.", f"{again(thing)} {are} {side}."))


def ask_relation(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Is the dog to the left or to the right of the cat?"""
    if not scene.other:
        return None
    index = chance.randrange(2)
    thing, neighbour = scene.objects[index], scene.objects[1 - index]
    first, second = chance.sample(("to the left", "to the right") if scene.relation == LEFT_OF else ("above", "below"), 2)
    tail = f"{first} or {second} of" if scene.relation == LEFT_OF else f"{first} or {second}"
    questions = (
        f"{capitalised(is_(thing))} {the(thing)} {tail} {the(neighbour)}?",
        f"Where {is_(thing)} {the(thing)} in relation to {the(neighbour)}?",
        f"Where {is_(thing)} {the(thing)}, seen from {the(neighbour)}?",
    )
    relative = relatives_of(scene)[index]
    answers = (
        f"{capitalised(the(thing))} {is_(thing)} {relative} {the(neighbour)}.",
        f"{again(thing)} {is_(thing)} {relative} {the(neighbour)}.",
    )
    return chance.choice(questions), usual(chance, answers)


def ask_neighbour(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """What is next to the dog? What is to the left of it?: now and then nothing."""
    if is_photograph(scene) or scene.count > 1:
        return None
    index = chance.randrange(len(scene.objects))
    thing = scene.objects[index]
    if not scene.other:
        asked = chance.choice(
            (f"What is next to {the(thing)}?", f"What else is there besides {the(thing)}?", f"What is beside {the(thing)}?")
        )
        return asked, usual(chance, (f"Nothing: there is only {a(thing)} in the picture.", f"There is nothing next to {the(thing)}."))
    neighbour, its_place, here = scene.objects[1 - index], relatives_of(scene)[1 - index], relatives_of(scene)[index]
    are, it = is_or_are(neighbour.sprite.kind), a(neighbour)
    if chance.random() < 0.15:
        return f"What is {here} {the(thing)}?", f"There is nothing {here} {the(thing)}, but {its_place} {the(thing)} {are} {it}."
    if scene.relation == LEFT_OF and chance.random() < 0.4:
        asked = chance.choice((f"What is next to {the(thing)}?", f"What is beside {the(thing)}?", f"What do you see next to {the(thing)}?"))
        return asked, usual(chance, (f"Next to {the(thing)} {are} {it}.", f"There {are} {it} {its_place} {the(thing)}."))
    asked = chance.choice((f"What is {its_place} {the(thing)}?", f"What do you see {its_place} {the(thing)}?"))
    return asked, usual(
        chance, (f"{capitalised(its_place)} {the(thing)} {are} {it}.", f"{capitalised(it)} {are} {its_place} {the(thing)}.")
    )


def ask_further(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """Which one is further left, the dog or the cat?"""
    if not scene.other:
        return None
    index = chance.randrange(2)
    side = sides_of(scene)[index]
    further = {LEFT: "further left", RIGHT: "further right"}.get(side, "higher up" if index == 0 else "lower")
    first, second = (the(thing) for thing in chance.sample(scene.objects[:2], 2))
    asked = chance.choice((f"Which is {further}, {first} or {second}?", f"Which one is {further}: {first} or {second}?"))
    thing = scene.objects[index]
    return asked, usual(chance, (f"{capitalised(the(thing))} {is_(thing)} {further}.", f"{capitalised(the(thing))} {is_(thing)} {side}."))


def ask_layout(scene: Scene, chance: random.Random, stock: Stock) -> Turn | None:
    """How are the two arranged?"""
    if not scene.other:
        return None
    asked = chance.choice(
        ("Which two things do you see, and where?", "What is where in this picture?", "What do you see, and where is it?")
    )
    shown = f"{a(scene.objects[0])} {sides_of(scene)[0]} and {a(scene.objects[1])} {sides_of(scene)[1]}"
    if chance.random() < 0.5:
        shown = f"{a(scene.objects[1])} {sides_of(scene)[1]} and {a(scene.objects[0])} {sides_of(scene)[0]}"
    return asked, usual(chance, (f"I see {shown}.", f"The picture shows {shown}."))


QUESTIONS = (ask_side, ask_side, ask_where, ask_which_side, ask_which_side, ask_relation, ask_neighbour, ask_further, ask_layout)
