"""Yes or no: whether a thing is there, its colour, the number, where it is, the ground. The one as often as the other.

Each function is told whether the answer is to be yes, so that both can be had equally often; None where a scene does not lend
itself to that. Answers begin with the word and give a reason.
"""

import random
from collections.abc import Callable

from .. import phrases
from ..colours import COLOURS
from ..render import Sprite
from ..scenes import LEFT_OF, Scene
from ..speech import BOTTOM, LEFT, RIGHT, TOP, a, all_shown, colours, has_colour, is_, pronoun_is, simply, the, with_article
from ..wording import capitalised, is_or_are, mention, number_word, plural, usual
from .stock import Stock
from .talk import Turn, is_photograph

Ask = Callable[[Scene, random.Random, Stock, bool], Turn | None]

# Colours that eyes and screens disagree about: nobody is told "no" for the neighbour of what is there.
_NEAR = {
    "red": "orange pink brown purple",
    "orange": "red yellow brown",
    "yellow": "orange green brown",
    "green": "yellow blue",
    "blue": "green purple grey",
    "purple": "blue pink red",
    "pink": "red purple orange",
    "brown": "orange red black yellow grey",
    "black": "grey brown",
    "white": "grey",
    "grey": "white black blue brown",
}


def exists_question(thing: Sprite, chance: random.Random) -> str:
    tail = chance.choice(phrases.EXISTS_TAILS)
    if thing.kind in ("the", "proper"):
        return f"Can you see {mention(thing.name, thing.kind)} {tail if not tail.startswith('to be') else 'here'}?"
    some = (
        f"any {thing.name}" if thing.kind in ("mass", "plural") and not thing.name.startswith("two ") else mention(thing.name, thing.kind)
    )
    if chance.random() < 0.3:
        return f"{chance.choice(('Do you see', 'Can you see', 'Does the picture show'))} {some}?"
    return f"{capitalised(is_or_are(thing.kind))} there {some} {tail}?"


def ask_exists(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is there a dog?"""
    shown = all_shown(scene, chance, coloured=False)
    if yes:
        thing = chance.choice(scene.objects).sprite
        there = mention(thing.name, thing.kind) if scene.count == 1 else f"{number_word(scene.count)} {plural(thing.name)}"
        are = "are" if scene.count > 1 else is_or_are(thing.kind)
        answers = (
            f"Yes, there {are} {there} in the picture.",
            f"Yes, there {are} {there}.",
            f"Yes, I can see {there}.",
            f"Yes, the picture shows {shown}.",
        )
        return exists_question(thing, chance), usual(chance, answers)
    absent = stock.draw_absent(scene, chance)
    if absent is None:
        return None
    are, none = is_or_are(absent.kind), absent.name.removeprefix("two ")
    answers = (
        f"No, there {are} no {none} in the picture.",
        f"No, there {are} no {none}; the picture shows {shown}.",
        f"No, I can only see {shown}.",
        f"No, the picture shows {shown}.",
        f"No, I see {shown}, but no {none}.",
    )
    return exists_question(absent, chance), usual(chance, answers)


def ask_if_named(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is this a dog? Of single things."""
    if scene.other or scene.count > 1 or scene.main.sprite.kind != "count":
        return None
    main = a(scene.main)
    asked = chance.choice(("Is this {}?", "Is it {}?", "Is that {}?", "Does this look like {} to you?", "Am I looking at {}?"))
    if yes:
        answers = (f"Yes, it is {main}.", f"Yes, this is {main}.", f"Yes, the picture shows {main}.", f"Yes, that is {main}.")
        return asked.format(main), usual(chance, answers)
    absent = stock.draw_absent(scene, chance)
    if absent is None or absent.kind != "count":
        return None
    other = mention(absent.name)
    answers = (f"No, it is {main}.", f"No, this is {main}, not {other}.", f"No, it is not {other}. It is {main}.", f"No, that is {main}.")
    return asked.format(other), usual(chance, answers)


def ask_if_coloured(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is the car red?"""
    thing = chance.choice(scene.objects[:2])
    if not has_colour(thing):
        return None
    own = thing.colour
    if not yes:
        possible = [name for name in COLOURS if name not in thing.sprite.colours and name not in _NEAR[own].split()]
        if not possible:
            return None
    colour = own if yes else chance.choice(possible)
    if scene.count > 1:
        known, are, it_is = f"the {plural(thing.name)}", "are", "they are"
    else:
        known, are, it_is = the(thing), is_(thing), pronoun_is(thing)
    it = usual(chance, (it_is, f"{known} {are}"))
    question = chance.choice((f"{capitalised(are)} {known} {colour}?", f"{capitalised(are)} {known} {colour} in this picture?"))
    if not scene.other and chance.random() < 0.4:
        question = f"{capitalised(it_is.split()[1])} {it_is.split()[0]} {colour}?"
    if yes:
        return question, usual(chance, (f"Yes, {it} {colour}.", f"Yes, {it} {colours(thing)}.", f"Yes, {it} mostly {colour}."))
    return question, usual(chance, (f"No, {it} {colours(thing)}.", f"No, {it} not {colour} but {own}.", f"No, {it} {own}, not {colour}."))


def ask_if_count(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Are there two? Also whether there is only one."""
    if scene.other or scene.main.sprite.kind != "count" or is_photograph(scene):
        return None
    asked = scene.count if yes else chance.choice([number for number in (1, 2, 3, 4) if number != scene.count])
    one, many = scene.main.name, plural(scene.main.name)
    if asked == 1:
        question = chance.choice((f"Is there only one {one}?", f"Is there just one {one} in the picture?", f"Do you see only one {one}?"))
    else:
        number = number_word(asked)
        question = chance.choice(
            (f"Are there {number} {many}?", f"Do you see {number} {many}?", f"Are there {number} {many} in the picture?")
        )
    truth = f"one {one}" if scene.count == 1 else f"{number_word(scene.count)} {many}"
    if yes:
        only = "only " if scene.count == 1 else ""
        there = "there is" if scene.count == 1 else "there are"
        return question, usual(chance, (f"Yes, {there} {only}{truth}.", f"Yes, I count {truth}.", f"Yes, I see {only}{truth}."))
    there = "there is only" if scene.count == 1 else "there are"
    return question, usual(chance, (f"No, {there} {truth}.", f"No, I count {truth}.", f"No, I see {truth}."))


def sides_of(scene: Scene) -> tuple[str, str]:
    """Where the first and where the second thing of a pair is."""
    return (LEFT, RIGHT) if scene.relation == LEFT_OF else (TOP, BOTTOM)


def relatives_of(scene: Scene) -> tuple[str, str]:
    """How the first lies from the second, and the second from the first."""
    return ("to the left of", "to the right of") if scene.relation == LEFT_OF else ("above", "below")


def ask_if_placed(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is the cat on the left? Is the cat above the dog?"""
    if not scene.other:
        return None
    index = chance.randrange(2)
    thing, neighbour = scene.objects[index], scene.objects[1 - index]
    asked = index if yes else 1 - index
    word = "Yes" if yes else "No"
    here, relative = sides_of(scene)[index], relatives_of(scene)[index]
    answers = (
        f"{word}, {the(thing)} {is_(thing)} {here}.",
        f"{word}, {the(thing)} {is_(thing)} {relative} {the(neighbour)}.",
        f"{word}, {pronoun_is(thing)} {relative} {the(neighbour)}.",
    )
    if chance.random() < 0.5:
        return f"{capitalised(is_(thing))} {the(thing)} {sides_of(scene)[asked]}?", usual(chance, answers)
    return f"{capitalised(is_(thing))} {the(thing)} {relatives_of(scene)[asked]} {the(neighbour)}?", usual(chance, answers)


def ask_if_background(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is the background blue?"""
    if is_photograph(scene):
        return None
    own = scene.background
    colour = own if yes else chance.choice([name for name in COLOURS if name != own and name not in _NEAR[own].split()])
    question = chance.choice((f"Is the background {colour}?", f"Does the picture have {with_article(colour)} background?"))
    if yes:
        return question, usual(
            chance, (f"Yes, the background is {own}.", f"Yes, it is {own}.", f"Yes, it has {with_article(own)} background.")
        )
    return question, usual(chance, (f"No, the background is {own}.", f"No, it is {own}.", f"No, the background is {own}, not {colour}."))


def ask_if_medium(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is this a photo?"""
    if any(thing.sprite.photograph for thing in scene.objects) and scene.medium != "photo":
        return None
    own = scene.medium
    asked = own if yes else {"photo": "drawing", "drawing": "photo"}[own]
    question = chance.choice((f"Is this a {asked}?", f"Is it a {asked}?", f"Is this picture a {asked}?"))
    known = simply(scene)
    word = "Yes" if yes else "No"
    return question, usual(
        chance, (f"{word}, it is a {own}.", f"{word}, this is a {own} of {known}.", f"{word}, it is a {own} of {known}.")
    )


def ask_if_alone(scene: Scene, chance: random.Random, stock: Stock, yes: bool) -> Turn | None:
    """Is there anything else? Nothing but the one thing, or the other one of a pair."""
    if scene.count > 1 or is_photograph(scene) or yes != bool(scene.other):
        return None
    thing = chance.choice(scene.objects)
    question = chance.choice((f"Is there anything else besides {the(thing)}?", f"Do you see anything other than {the(thing)}?"))
    if not yes:
        return question, usual(chance, (f"No, there is only {a(thing)}.", f"No, {the(thing)} {is_(thing)} alone in the picture."))
    other = scene.objects[1] if thing is scene.objects[0] else scene.objects[0]
    are = is_or_are(other.sprite.kind)
    return question, usual(chance, (f"Yes, there {are} also {a(other)}.", f"Yes, I can see {a(other)} as well."))


QUESTIONS: dict[Ask, float] = {
    ask_exists: 10,
    ask_if_named: 4,
    ask_if_coloured: 4,
    ask_if_count: 3,
    ask_if_placed: 5,
    ask_if_background: 1,
    ask_if_medium: 1,
    ask_if_alone: 1,
}


def ask_yes_no(scene: Scene, chance: random.Random, stock: Stock, yes: bool | None = None) -> Turn | None:
    """Any of them; without `yes` the answer is either, equally often. None only where the corpus has nothing that is not there."""
    wanted = bool(chance.getrandbits(1)) if yes is None else yes
    weights = dict(QUESTIONS)
    while weights:
        ask = chance.choices(list(weights), list(weights.values()))[0]
        if turn := ask(scene, chance, stock, wanted):
            return turn
        del weights[ask]
    return None
