"""The pocket corpus' held-out pictures as evaluation meets them: which things are common, which are alike, pictures by a seed.

Everything follows from the corpus and a name: the same items on every machine. The words are those of `training.pocket`;
nothing here imports torch. Raises `CorpusError` where the corpus was not built.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
import PIL.Image

from ..training.pocket.collections import HELD_OUT_STYLE, TRAIN
from ..training.pocket.colours import dominant_colours
from ..training.pocket.names import HELD_OUT_FILE
from ..training.pocket.render import Sprite
from ..training.pocket.scenes import Cutout, Scene, SpriteBank, compose_count, compose_pair, compose_single

# Hue (256 steps round the circle), saturation and brightness; 7 steps are ten degrees.
_SHIFTS = ((0, 1, 1), (7, 1, 1), (-7, 1, 1), (0, 0.8, 1), (0, 1.25, 1), (0, 1, 0.87), (0, 1, 1.15))

COMMON = 300  # "the 300 commonest concepts" of issue and report: those with the most training pictures


@cache
def bank(split: str = TRAIN, collections: tuple[str, ...] | None = None) -> SpriteBank:
    return SpriteBank(split, collections)


def held_out() -> SpriteBank:
    """Single drawings of the trained styles that were kept from training."""
    return bank(HELD_OUT_FILE)


def style(collection: str) -> SpriteBank:
    """A drawing style of which nothing was trained on."""
    return bank(HELD_OUT_STYLE, (collection,))


@cache
def ranked_concepts() -> tuple[str, ...]:
    """The concepts of the training corpus, those with the most pictures first; equal counts in alphabetical order."""
    counts = Counter(sprite.concept for sprite in bank().sprites)
    return tuple(sorted(counts, key=lambda concept: (-counts[concept], concept)))


@cache
def common_concepts() -> frozenset[str]:
    return frozenset(ranked_concepts()[:COMMON])


@cache
def trained_things() -> tuple[Sprite, ...]:
    """One sprite for each concept of the training corpus, in alphabetical order: things to ask for that may not be there."""
    return tuple(
        {sprite.concept: sprite for sprite in sorted(bank().sprites, key=lambda sprite: (sprite.concept, sprite.collection))}.values()
    )


@cache
def _sections() -> dict[str, str]:
    """Icon name -> the heading it stands under in `concepts.txt`: animals, food, vehicles."""
    found, heading = {}, ""
    for line in resources.files("minigpt4_model.training.pocket").joinpath("concepts.txt").read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:].strip()
        elif line.strip() and not line.startswith("#"):
            found.update(dict.fromkeys(line.split("|")[0].split(), heading))
    return found


def section(sprite: Sprite) -> str:
    """What sort of thing it is, by the corpus' own headings; "People" for those that follow a pattern and stand in no list."""
    return _sections().get(sprite.icon) or _sections().get(re.sub(r"[^a-z0-9]+", "-", sprite.name.lower())) or "People"


def accepted(sprite: Sprite) -> list[str]:
    """All words that name it."""
    return list(dict.fromkeys([sprite.name.lower(), sprite.head.lower(), *sprite.synonyms]))


def alike(one: Sprite, other: Sprite) -> bool:
    """Whether a judge could take a word for the one as naming the other."""
    return bool(set(accepted(one)) & set(accepted(other)))


def is_person(sprite: Sprite) -> bool:
    return bool({"man", "woman", "person", "people"} & set(sprite.synonyms))


def one_of_each(sprites: Sequence[Sprite], seed: str) -> list[Sprite]:
    """One sprite for each concept, in a random order that `seed` fixes: any first N of them are a fair sample."""
    chance = random.Random(seed)
    by_concept: dict[str, list[Sprite]] = {}
    for sprite in sorted(sprites, key=lambda sprite: (sprite.concept, sprite.collection, sprite.icon)):
        by_concept.setdefault(sprite.concept, []).append(sprite)
    chosen = [chance.choice(some) for some in by_concept.values()]
    chance.shuffle(chosen)
    return chosen


def shuffled(sprites: Sequence[Sprite], seed: str) -> list[Sprite]:
    """All of them in a random order that `seed` fixes."""
    found = sorted(sprites, key=lambda sprite: (sprite.collection, sprite.icon))
    random.Random(seed).shuffle(found)
    return found


def picture_of(source: SpriteBank, sprite: Sprite, seed: str) -> tuple[PIL.Image.Image, Scene]:
    """One thing on a background."""
    pixels, scene = compose_single(source.cutout(sprite), random.Random(seed))
    return PIL.Image.fromarray(pixels), scene


def picture_of_many(source: SpriteBank, sprite: Sprite, count: int, seed: str) -> tuple[PIL.Image.Image, Scene]:
    """The same thing one to four times."""
    pixels, scene = compose_count(source.cutout(sprite), count, random.Random(seed))
    return PIL.Image.fromarray(pixels), scene


def picture_of_two(source: SpriteBank, seed: str, relation: str | None = None, common: bool = False) -> tuple[PIL.Image.Image, Scene]:
    """Two unlike things, neither a person: the first `relation` ("left of", "above") the second. The first found of many seeds."""
    chance = random.Random(seed)
    things = [sprite for sprite in source.sprites if sprite.kind == "count" and not is_person(sprite)]
    things = [sprite for sprite in things if not common or sprite.concept in common_concepts()]
    things.sort(key=lambda sprite: (sprite.collection, sprite.icon))
    while True:
        first, second = chance.choice(things), chance.choice(things)
        if alike(first, second):
            continue
        pixels, scene = compose_pair(source.cutout(first), source.cutout(second), chance)
        if relation is None or scene.relation == relation:
            return PIL.Image.fromarray(pixels), scene


def main_colours(cutout: Cutout) -> list[str]:
    """What people may call a thing's main colour: its own name first, then the names it gets when all its pixels shift a little.

    Near the border between two names, such as orange and brown, eyes and screens disagree; in the middle of a name they do not. So
    hue, saturation and brightness are each moved by what is just noticed side by side, and the names that come out are accepted.
    """
    found = list(cutout.sprite.colours[:1])
    picture = PIL.Image.fromarray(cutout.pixels).resize((64, 64), PIL.Image.Resampling.NEAREST)
    opaque = picture.getchannel("A")
    hue, saturation, value = picture.convert("RGB").convert("HSV").split()
    for turn, richer, brighter in _SHIFTS:
        shifted = PIL.Image.merge(
            "HSV",
            (
                hue.point(lambda level, turn=turn: (level + turn) % 256),
                saturation.point(lambda level, richer=richer: min(255, round(level * richer))),
                value.point(lambda level, brighter=brighter: min(255, round(level * brighter))),
            ),
        ).convert("RGB")
        shifted.putalpha(opaque)
        found += dominant_colours(np.asarray(shifted))[:1]
    return list(dict.fromkeys(found))
