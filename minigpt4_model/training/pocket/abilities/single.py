"""Conversations of questions that stand each for itself: what is there, yes or no, where. One to three turns about one drawing."""

import random

from ..scenes import Scene
from . import looking, places
from .stock import Stock
from .talk import Album, Seen, Talk, Turn
from .yes_no import ask_yes_no

LOOKING = (
    looking.ask_name,
    looking.ask_description,
    looking.ask_detail,
    looking.ask_colour,
    looking.ask_count,
    looking.ask_background,
    looking.ask_medium,
)
_WEIGHTS = (5, 4, 3, 4, 4, 1, 1)
_TURNS = (1, 1, 1, 2, 2, 3)


def draw_questions(scene: Scene, chance: random.Random, stock: Stock, turns: int) -> list[Turn]:
    """Up to `turns` of different kinds, at least one: looking, yes or no, places."""
    possible = dict.fromkeys((*LOOKING, ask_yes_no, *places.QUESTIONS), 1.0)
    return _different(possible, scene, chance, stock, turns)


def alone(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """What is there?"""
    seen = album.draw_scene(chance)
    turns = _different(dict(zip(LOOKING, _WEIGHTS, strict=True)), seen.scene, chance, stock, chance.choice(_TURNS))
    return _talk(turns, seen)


def whole(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """What is in the picture? All of it: both things of a pair, and no second one where there is none."""
    pair = chance.random() < 0.6
    seen = album.draw_scene(chance, lambda scene: bool(scene.other) == pair)
    asked = {looking.ask_description: 8.0, looking.ask_detail: 1.0} | ({places.ask_layout: 2.0} if pair else {looking.ask_name: 2.0})
    return _talk(_different(asked, seen.scene, chance, stock, 1), seen)


def places_alone(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """Where is it? Mostly of pairs, for which the sides matter."""
    pair = chance.random() < 0.85
    seen = album.draw_scene(chance, lambda scene: bool(scene.other) == pair and scene.count == 1)
    asked = {ask: float(places.QUESTIONS.count(ask)) for ask in places.QUESTIONS}
    return _talk(_different(asked, seen.scene, chance, stock, chance.choice(_TURNS)), seen)


def yes_no_alone(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """One yes or no, or several; each is either, whatever the others are."""
    seen = album.draw_scene(chance)
    count = chance.choice(_TURNS)
    wanted = [bool(chance.getrandbits(1)) for _ in range(count)]
    turns = [ask_yes_no(seen.scene, chance, stock, yes) for yes in wanted]
    found = list({turn[0]: turn for turn in turns if turn}.values())
    return _talk(found or [looking.ask_description(seen.scene, chance, stock)], seen)


def _different(possible: dict, scene: Scene, chance: random.Random, stock: Stock, turns: int) -> list[Turn]:
    """Questions drawn by weight, each kind once."""
    left, said = dict(possible), []
    while left and len(said) < turns:
        ask = chance.choices(list(left), list(left.values()))[0]
        del left[ask]
        if turn := ask(scene, chance, stock):
            said.append(turn)
    return said


def _talk(turns: list[Turn], seen: Seen) -> Talk:
    talk = Talk().add(turns[0], seen)
    for turn in turns[1:]:
        talk.add(turn)
    return talk
