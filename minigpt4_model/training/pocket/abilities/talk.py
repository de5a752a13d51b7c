"""A conversation in the making, the pictures it is about, and where they come from.

An ability draws pictures from an `Album`, says what there is to say with `Talk`, and knows nothing of features or tensors: a
picture's `key` is the album's own.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from ..collections import CorpusError
from ..imagenet_names import class_names
from ..names import Named, named, table
from ..render import Sprite
from ..scenes import SIDE, Scene, SceneObject, SpriteBank, compose
from ..wording import plural

Turn = tuple[str, str]
Suits = Callable[[Scene], bool]
_TRIES = 400

_PAIRS = frozenset({"jeans", "sunglasses", "binoculars", "parallel bars", "swimming trunks"})
_MASSES = frozenset({
    "guacamole", "chocolate sauce", "consomme", "eggnog", "espresso", "red wine", "mashed potato", "hay", "velvet", "wool", "rapeseed",
    "chain mail", "lotion", "sunscreen", "perfume", "face powder", "hair spray", "corn", "dough", "ice cream", "thatch", "broccoli",
    "cauliflower", "toilet paper",
})  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A picture that is talked about. `sure` is False for photographs that the encoder's recogniser is not sure of."""

    scene: Scene
    key: Any = None
    sure: bool = True


class Album(Protocol):
    """Pictures to talk about, by chance: the same numbers give the same picture."""

    def draw_scene(self, chance: random.Random, suits: Suits = ...) -> Seen:
        """A composed picture that `suits`."""

    def draw_photograph(self, chance: random.Random, sure: bool = True) -> Seen:
        """A photograph of one thing, as `photograph_scene` writes it down."""


class Talk:
    """Questions with their answers and the pictures that come with each question."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, str, tuple[Seen, ...]]] = []

    def add(self, turn: Turn, *pictures: Seen) -> "Talk":
        self.turns.append((*turn, pictures))
        return self

    @property
    def pictures(self) -> list[Seen]:
        """In the order they are read."""
        return [seen for _, _, pictures in self.turns for seen in pictures]

    def messages(self, image: Any) -> list[dict]:
        """The project's messages; `image` stands for every picture."""
        messages = []
        for question, answer, pictures in self.turns:
            shown = [{"type": "image", "image": image} for _ in pictures]
            messages.append({"role": "user", "content": [*shown, {"type": "text", "text": question}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        return messages


def photograph_scene(name: str) -> Scene:
    """A real photograph of the thing `name`, in the same form: its colours, size and ground are not known."""
    kind = "pair" if name in _PAIRS else "mass" if name in _MASSES else "count"
    shown = _known_names().get(name) or named(name, kind=kind)
    sprite = Sprite("photographs", name, 0, shown.concept, name, shown.head, kind, (*shown.synonyms, plural(name)), (), "train", True)
    return Scene((SceneObject(sprite, (0, 0, SIDE, SIDE)),), background="")


@cache
def _known_names() -> dict[str, Named]:
    """Things of the drawings by name, for their synonyms."""
    return {shown.name: shown for shown in table().values() if shown.kind == "count"}


def is_photograph(scene: Scene) -> bool:
    """Whether it is a real photograph, of which only the name is known."""
    return not scene.background


def find(draw: Callable[[], Seen], suits: Suits) -> Seen:
    """The first that suits. Raises `CorpusError` when none of many does."""
    for _ in range(_TRIES):
        seen = draw()
        if suits(seen.scene):
            return seen
    raise CorpusError(f"None of {_TRIES} pictures suits what is to be asked: the corpus is too small or of one kind.")


def any_scene(scene: Scene) -> bool:
    return True


class ComposingAlbum:
    """Scenes composed on the spot and imagined photographs: for what needs no features, such as showing or steering."""

    def __init__(self, bank: SpriteBank):
        self.bank = bank

    def draw_scene(self, chance: random.Random, suits: Suits = any_scene) -> Seen:
        return find(lambda: Seen(compose(self.bank, chance)[1]), suits)

    def draw_photograph(self, chance: random.Random, sure: bool = True) -> Seen:
        return Seen(photograph_scene(chance.choice(class_names())), sure=sure)
