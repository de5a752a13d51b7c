"""The pocket corpus as training sees it: numbered pictures, their features, what is on them.

Picture `i` of a split is composed from the seed `(split, i)`, so the set is the same everywhere and needs no list of files.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image

from ...model import MiniGPT4ForConditionalGeneration, MiniGPT4ImageProcessor
from ...weights.cache import home
from ..features import FeatureCache, build_part
from ..representation import SceneWords
from .collections import TRAIN
from .scenes import LEFT_OF, Scene, SpriteBank, compose
from .speech import third_of_picture

RECIPE = 1  # part of the cache's name: raise it when pictures or features change
NUMBERS = ("", "one", "two", "three", "four")
SIDES = (("left", "right"), ("top", "bottom"))


def words_of(scene: Scene) -> SceneWords:
    """What the image tokens are to say of a scene."""
    other = scene.other
    alone = "" if scene.count > 1 else " ".join(third_of_picture(scene.main)) or "middle"
    place, second_place = SIDES[scene.relation != LEFT_OF] if other else (alone, "")
    return SceneWords(
        name=scene.main.name,
        colour=scene.main.colour,
        count=NUMBERS[scene.count],
        second_name=other.name if other else "",
        second_colour=other.colour if other else "",
        place=place,
        second_place=second_place,
        background=scene.background,
        medium=scene.medium,
    )


def encoder_fingerprint(model: MiniGPT4ForConditionalGeneration) -> str:
    """Names the folder of an encoder's features: those of another encoder are others."""
    return model.config.trained_with["vision_encoder"]["fingerprint"][:16]


@dataclass
class PocketPictures:
    """`count` composed pictures of a split, with cached features. `collections` and `kind` limit what is composed."""

    count: int
    split: str = TRAIN
    collections: tuple[str, ...] | None = None
    kind: str | None = None
    part_size: int = 2000

    @cached_property
    def bank(self) -> SpriteBank:
        return SpriteBank(self.split, self.collections)

    def compose(self, index: int) -> tuple[np.ndarray, Scene]:
        return compose(self.bank, random.Random(f"{self.split} {index}"), self.kind)

    @cached_property
    def directory(self) -> Path:
        """Named after what the pictures are made of, so that another corpus gets other features."""
        recipe = f"{RECIPE} {self.bank.fingerprint} {self.split} {self.kind} {self.part_size}"
        return home() / "features" / hashlib.sha256(recipe.encode()).hexdigest()[:16]

    @property
    def parts(self) -> list[range]:
        return [range(start, min(start + self.part_size, self.count)) for start in range(0, self.count, self.part_size)]

    def features(self, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4ImageProcessor) -> FeatureCache:
        """`(count, tokens, Dv)`, read from the cache; parts that are missing are computed, about 15 pictures a second."""

        def picture(index: int) -> PIL.Image.Image:
            return PIL.Image.fromarray(self.compose(index)[0])

        directory = self.directory / encoder_fingerprint(model)
        return FeatureCache(
            [build_part(model, processor, picture, part, directory / f"{part.start}-{part.stop}.npy") for part in self.parts]
        )

    def scene(self, index: int) -> Scene:
        return self.compose(index)[1]


class JoinedPictures:
    """Several sets of composed pictures of one split as one, numbered through: so pairs and counts can be had in plenty.

    Raises `ValueError` when no set has a picture.
    """

    def __init__(self, *sets: PocketPictures):
        self.sets = [some for some in sets if some.count]
        if not self.sets:
            raise ValueError("There are no pictures to compose: --pictures, --pairs and --counts are all zero.")
        self.bank = self.sets[0].bank
        self.count = sum(some.count for some in self.sets)

    @property
    def name(self) -> str:
        """What they are made of."""
        return " ".join(some.directory.name for some in self.sets)

    def features(self, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4ImageProcessor) -> FeatureCache:
        """`(count, tokens, Dv)`, as those of the sets."""
        return FeatureCache([part for some in self.sets for part in some.features(model, processor).parts])

    def scene(self, index: int) -> Scene:
        for some in self.sets:
            if index < some.count:
                return some.scene(index)
            index -= some.count
        raise IndexError(f"There are {self.count} pictures.")


Pictures = PocketPictures | JoinedPictures
