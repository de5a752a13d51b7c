"""Scenes in words: short captions for stage 1, questions about one picture for stage 2, as the project's messages.

Everything that is said follows from the `Scene` and the given `random.Random`. What stands in a caption is on the picture; what
a question denies is not. Whole conversations, with several pictures or none, are made by `abilities`.
"""

import random
from typing import Any

from . import phrases
from .abilities.single import draw_questions
from .abilities.stock import Stock
from .abilities.talk import Seen, Talk, Turn
from .scenes import Scene
from .speech import all_shown, there_is, with_article
from .wording import capitalised, usual


def caption(scene: Scene, chance: random.Random) -> str:
    """One short sentence about the whole picture: "A red apple on a blue background."."""
    what, ground = all_shown(scene, chance), f"{with_article(scene.background)} background"
    medium = with_article(scene.medium)
    return capitalised(usual(chance, phrases.CAPTIONS).format(what=what, ground=ground, medium=medium, is_=there_is(scene)))


def ask_caption(scene: Scene, chance: random.Random) -> Turn:
    """A request for a short caption, and the caption."""
    return chance.choice(phrases.BRIEF_REQUESTS), caption(scene, chance)


def stage1_messages(scene: Scene, image: Any, chance: random.Random) -> list[dict]:
    """The picture with a request for a short caption, and the caption."""
    return Talk().add(ask_caption(scene, chance), Seen(scene)).messages(image)


def stage2_messages(scene: Scene, image: Any, chance: random.Random, stock: Stock, turns: int | None = None) -> list[dict]:
    """A conversation of one to four questions of different kinds. `stock` has the things that are not there."""
    talk = Talk()
    for place, turn in enumerate(draw_questions(scene, chance, stock, turns or chance.choices((1, 2, 3, 4), (4, 3, 2, 1))[0])):
        talk.add(turn, *([] if place else [Seen(scene)]))
    return talk.messages(image)
