"""Things that are not on a picture, to ask for: any thing, a common one, or one like what is there (POPE's three, Li et al. 2023)."""

import random
from collections.abc import Sequence
from functools import cached_property

from ..render import Sprite
from ..scenes import Scene
from ..sorts import alike, is_person, sort_of

SETTINGS = ("random", "popular", "similar")
POPULAR = 40
_BODIES = frozenset({"animal", "face", "person"})
_ON_BODIES = frozenset({"body", "face", "person"})
_GROUNDS = frozenset({"place", "plant", "nature"})  # a landscape has trees and a sun; they are not asked for


class Stock:
    """The things of a corpus. `sprites` are those that pictures are made of, so that asking for a thing tells nothing about the answer."""

    def __init__(self, sprites: Sequence[Sprite]):
        self.sprites = sprites

    @cached_property
    def _concepts(self) -> list[list[Sprite]]:
        """The pictures of each thing that can be asked for, the commonest things first."""
        found: dict[str, list[Sprite]] = {}
        for sprite in self.sprites:
            if sprite.kind not in ("the", "proper"):
                found.setdefault(sprite.concept, []).append(sprite)
        return sorted(found.values(), key=lambda some: (-len(some), some[0].concept))

    @cached_property
    def _weights(self) -> list[float]:
        return [len(some) ** 0.5 for some in self._concepts]  # as `SpriteBank` draws what is there

    @cached_property
    def _popular(self) -> list[Sprite]:
        things = (some[0] for some in self._concepts if some[0].kind == "count")
        return [thing for thing in things if not is_person(thing) and " " not in thing.name][:POPULAR]

    @cached_property
    def _by_sort(self) -> dict[str, list[Sprite]]:
        found: dict[str, list[Sprite]] = {}
        for some in self._concepts:
            found.setdefault(sort_of(some[0]), []).append(some[0])
        return found

    def draw_absent(self, scene: Scene, chance: random.Random) -> Sprite | None:
        """A thing that is certainly not on the picture; each of the three kinds equally often. None when the corpus has none."""
        setting = chance.choice(SETTINGS)
        for _ in range(60):
            sprite = self._draw(setting, scene, chance)
            if sprite is not None and _is_absent(sprite, scene):
                return sprite
            setting = chance.choice(SETTINGS)
        return None

    def _draw(self, setting: str, scene: Scene, chance: random.Random) -> Sprite | None:
        if setting == "popular":
            return chance.choice(self._popular) if self._popular else None
        if setting == "random":
            return chance.choice(chance.choices(self._concepts, self._weights)[0])
        like = chance.choice(scene.objects).sprite
        neighbours = self._by_sort.get(sort_of(like), [])
        same_colour = [sprite for sprite in neighbours if sprite.colours[:1] == like.colours[:1]]
        some = same_colour if same_colour and chance.random() < 0.5 else neighbours
        return chance.choice(some) if some else None


def _is_absent(sprite: Sprite, scene: Scene) -> bool:
    sort = sort_of(sprite)
    for thing in scene.objects:
        shown = sort_of(thing.sprite)
        part = shown in _BODIES and sort in _ON_BODIES and not shown == sort == "face" and not shown == sort == "person"
        if alike(sprite, thing.sprite) or part or (shown in ("place", "nature") and sort in _GROUNDS) or _related(sprite, thing.sprite):
            return False
    return True


def _related(one: Sprite, other: Sprite) -> bool:
    """Whether a word of the one is inside the other's ("sun" in "sunrise", "ball" in "basketball")."""
    heads = sorted((one.head, other.head), key=len)
    return len(heads[0]) > 2 and heads[0] in heads[1]
