"""Real photographs: what they show. Their colours are not known to training, so nobody asks for them."""

import random

from ..speech import a, is_, simply
from ..wording import usual
from .looking import ask_description, ask_name
from .stock import Stock
from .talk import Album, Seen, Talk, Turn
from .yes_no import ask_exists, ask_if_medium, ask_if_named

_QUESTIONS = (
    "What is this?",
    "What is in this picture?",
    "What does this photo show?",
    "What do you see?",
    "What is the main object in this photo?",
    "What does the picture show?",
    "What is on this photo?",
    "Can you tell me what this is?",
    "What was photographed here?",
    "Name the main object.",
)
_ANSWERS = (
    "It {is_} {a}.",
    "This {is_} {a}.",
    "This is a photo of {a}.",
    "The photo shows {a}.",
    "I can see {a}.",
    "The picture shows {a}.",
    "I see {a}.",
)
_SURE = ("Are you sure?", "Really?", "Are you certain?", "Is that right?")
_YES_SURE = ("I am quite sure that it is {a}.", "Yes, it is {a}.", "Yes, the photo clearly shows {a}.", "Yes, I am sure: it is {a}.")


def name_photograph(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """What is this?, at times described, at times asked again."""
    seen = album.draw_photograph(chance)
    talk = Talk().add(photograph_turn(seen, chance, stock), seen)
    if chance.random() < 0.15:
        talk.add((chance.choice(_SURE), usual(chance, _YES_SURE).format(a=a(seen.scene.main))))
    return talk


def photograph_turn(seen: Seen, chance: random.Random, stock: Stock) -> Turn:
    """One question about what a photograph shows, and its answer."""
    way = chance.random()
    if way < 0.25:
        return ask_description(seen.scene, chance, stock)
    if way < 0.4 and (turn := ask_name(seen.scene, chance, stock)):
        return turn
    thing = seen.scene.main
    answer = usual(chance, _ANSWERS).format(a=a(thing), is_="is" if thing.sprite.kind != "plural" else is_(thing))
    return chance.choice(_QUESTIONS), answer


def photograph_yes_no(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """Is there a dog? Is it a drawing? One question, or one with yes and one with no."""
    seen, talk = album.draw_photograph(chance), Talk()
    answers = [bool(chance.getrandbits(1))]
    if chance.random() < 0.4:
        answers.append(not answers[0])
    for place, yes in enumerate(answers):
        ask = chance.choices((ask_exists, ask_if_named, ask_if_medium), (6, 3, 1))[0]
        turn = ask(seen.scene, chance, stock, yes) or ask_if_medium(seen.scene, chance, stock, yes)
        talk.add(turn, *([seen] if place == 0 else []))
    return talk


def photograph_among_two(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """A photograph and a drawing in one conversation, in either order: what they show, and which is the photo."""
    photograph, drawing = (
        album.draw_photograph(chance),
        album.draw_scene(chance, lambda scene: scene.medium == "drawing" and not scene.other),
    )
    first, second = chance.sample((photograph, drawing), 2)
    one, other = a(photograph.scene.main), drawing.scene
    which = "first" if first is photograph else "second"
    way = chance.choice(("which", "both", "turns"))
    if way == "turns":
        talk = Talk().add(ask_name(first.scene, chance, stock), first)
        return talk.add((chance.choice(("And this?", "What is this?", "And this one?")), ask_name(second.scene, chance, stock)[1]), second)
    if way == "which":
        is_photo = bool(chance.getrandbits(1))
        asked = which if is_photo else {"first": "second", "second": "first"}[which]
        kind, shown = ("photo", one) if is_photo else ("drawing", simply(other))
        return Talk().add((f"Which one is a {kind}?", f"The {asked} picture is a {kind}: it shows {shown}."), first, second)
    shown = {id(photograph): f"a photo of {one}", id(drawing): f"a drawing of {simply(other)}"}
    question = chance.choice(("What do the two pictures show?", "What is in these two pictures?", "Describe both pictures."))
    answer = f"The first is {shown[id(first)]}, and the second is {shown[id(second)]}."
    return Talk().add((question, answer), first, second)
