"""Training pictures, composed from sprites: one object, two in a relation, or one to four of the same, on many backgrounds.

`compose` gives RGB pixels, 260 x 260, and a `Scene` that says exactly what is on them; `captions` puts a scene into words.
Everything follows from the given `random.Random`: the same seed gives the same picture on every machine.
"""

import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import PIL.Image
import PIL.ImageEnhance

from .collections import COLLECTIONS, TRAIN, CorpusError, fingerprint
from .colours import COLOURS, colour_names
from .render import Sprite, load_index, load_pixels, sprites_home

SIDE = 260
LEFT_OF, ABOVE = "left of", "above"
KINDS = ("single", "pair", "count")

_SWATCHES = {
    "red": ((220, 40, 40), (190, 25, 35), (235, 70, 65)),
    "orange": ((245, 145, 40), (250, 160, 70), (235, 125, 30)),
    "yellow": ((250, 220, 60), (255, 235, 120), (240, 205, 30)),
    "green": ((70, 170, 80), (140, 205, 120), (30, 120, 60)),
    "blue": ((60, 120, 220), (140, 190, 245), (30, 60, 150)),
    "purple": ((130, 70, 190), (170, 125, 215), (95, 40, 140)),
    "pink": ((250, 170, 200), (240, 110, 170), (255, 195, 215)),
    "brown": ((130, 85, 45), (105, 65, 35), (150, 105, 65)),
    "black": ((20, 20, 22), (5, 5, 5), (35, 33, 36)),
    "white": ((255, 255, 255), (250, 250, 248), (244, 246, 248)),
    "grey": ((150, 150, 152), (120, 122, 125), (185, 186, 188)),
}
_BACKGROUND_WEIGHTS = {colour: {"white": 6.0, "blue": 2.0, "green": 1.5, "grey": 1.5}.get(colour, 1.0) for colour in COLOURS}
# Mirrored, these would show something else than their name says, or read backwards.
_ONE_WAY = "clock watch calendar keyboard note music newspaper book sign card mark chart computer"
_NEVER_FLIPPED = frozenset(_ONE_WAY.split())


@dataclass(frozen=True)
class SceneObject:
    """A thing on the picture. `box` is (left, top, right, bottom) in pixels, around its visible part, right and bottom exclusive."""

    sprite: Sprite
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        return self.sprite.name

    @property
    def colour(self) -> str:
        """The colour that covers most of it."""
        return self.sprite.colours[0] if self.sprite.colours else ""


@dataclass(frozen=True)
class Scene:
    """What is on a picture. `relation` says where the first object is, seen from the second; if `count` > 1 all objects are the same."""

    objects: tuple[SceneObject, ...]
    background: str
    count: int = 1
    relation: str = ""

    @property
    def main(self) -> SceneObject:
        return self.objects[0]

    @property
    def other(self) -> SceneObject | None:
        """The second thing of a pair."""
        return self.objects[1] if self.relation else None

    @property
    def medium(self) -> str:
        return "photo" if all(thing.sprite.photograph for thing in self.objects) else "drawing"


@dataclass(frozen=True)
class Cutout:
    """A sprite with its pixels, (192, 192, 4) uint8."""

    sprite: Sprite
    pixels: np.ndarray


class SpriteBank:
    """All sprites of a split, drawn so that common things come as often as their concepts, not as often as their pictures.

    `split` is one of `names.SPLITS`, `collections` limits it to some sets. Raises `CorpusError` when nothing is there.
    """

    def __init__(self, split: str = TRAIN, collections: tuple[str, ...] | None = None, root=None):
        target = root or sprites_home()
        wanted = [row.name for row in COLLECTIONS if not collections or row.name in collections]
        names = [name for name in wanted if (target / f"{name}.jsonl").is_file()]
        self._pixels = {name: load_pixels(name, target) for name in names}
        self.sprites = [sprite for name in names for sprite in load_index(name, target) if sprite.split == split]
        if not self.sprites:
            raise CorpusError(f"No pictures of the split {split!r} in {target}: run `python -m minigpt4_model.training.pocket.build`.")
        by_concept: dict[str, list[Sprite]] = {}
        for sprite in self.sprites:
            by_concept.setdefault(sprite.concept, []).append(sprite)
        self._by_concept = [by_concept[concept] for concept in sorted(by_concept)]
        # Square root: a concept with many pictures is commoner than a rare one, but does not drown it.
        self._weights = [len(sprites) ** 0.5 for sprites in self._by_concept]

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a picture of the same seed could show or say something else: for the names of caches."""
        return fingerprint(*(repr(sprite) for sprite in self.sprites))[:16]

    def cutout(self, sprite: Sprite) -> Cutout:
        return Cutout(sprite, np.asarray(self._pixels[sprite.collection][sprite.row]))

    def draw(self, chance: random.Random, countable: bool = False) -> Cutout:
        """A random sprite; `countable` asks for one of which there can be two."""
        while True:
            sprite = chance.choice(chance.choices(self._by_concept, self._weights)[0])
            if not countable or sprite.kind == "count":
                return self.cutout(sprite)

    def draw_other(self, chance: random.Random, first: Sprite) -> Cutout:
        """A random sprite of another thing, one that no judge would take for the first."""
        for _ in range(1000):
            cutout = self.draw(chance)
            if not set(cutout.sprite.synonyms) & set(first.synonyms):
                return cutout
        raise CorpusError(f"No other thing than {first.name!r} was found: the corpus is too small for pairs.")


def compose(bank: SpriteBank, chance: random.Random, kind: str | None = None) -> tuple[np.ndarray, Scene]:
    """A random picture, uint8 (260, 260, 3), and what is on it. `kind` is one of `KINDS`; by default 60 % show a single object."""
    kind = kind or chance.choices(KINDS, (6, 2, 2))[0]
    if kind == "single":
        return compose_single(bank.draw(chance), chance)
    if kind == "pair":
        first = bank.draw(chance)
        return compose_pair(first, bank.draw_other(chance, first.sprite), chance)
    if kind == "count":
        return compose_count(bank.draw(chance, countable=True), chance.randint(1, 4), chance)
    raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")


def compose_single(cutout: Cutout, chance: random.Random) -> tuple[np.ndarray, Scene]:
    """One object anywhere, its longer side 45 to 95 % of the picture."""
    canvas, background = make_background(chance, avoid=cutout.sprite.colours[:1])
    box = _place(canvas, _varied(cutout, chance, chance.uniform(0.45, 0.95) * SIDE), (0, 0, SIDE, SIDE), chance)
    return np.asarray(canvas), Scene((SceneObject(cutout.sprite, box),), background)


def compose_pair(first: Cutout, second: Cutout, chance: random.Random) -> tuple[np.ndarray, Scene]:
    """Two things that do not overlap: the first left of the second, or above it."""
    canvas, background = make_background(chance, avoid=(*first.sprite.colours[:1], *second.sprite.colours[:1]))
    relation = chance.choices((LEFT_OF, ABOVE), (3, 1))[0]
    half = SIDE // 2
    rooms = ((0, 0, half, SIDE), (half, 0, SIDE, SIDE)) if relation == LEFT_OF else ((0, 0, SIDE, half), (0, half, SIDE, SIDE))
    placed = []
    for cutout, room in zip((first, second), rooms, strict=True):
        thing = _varied(cutout, chance, chance.uniform(0.32, 0.48) * SIDE, limit=half - 2)
        placed.append(SceneObject(cutout.sprite, _place(canvas, thing, room, chance)))
    return np.asarray(canvas), Scene(tuple(placed), background, relation=relation)


def compose_count(cutout: Cutout, count: int, chance: random.Random) -> tuple[np.ndarray, Scene]:
    """`count` (1 to 4) of the same thing, apart from each other."""
    canvas, background = make_background(chance, avoid=cutout.sprite.colours[:1])
    cells = _cells(count, chance)
    room_side = min(min(right - left, bottom - top) for left, top, right, bottom in cells)
    side = chance.uniform(0.62, 0.92) * room_side
    placed = []
    for cell in cells:
        thing = _varied(cutout, chance, side * chance.uniform(0.9, 1.05), limit=room_side - 2)
        placed.append(SceneObject(cutout.sprite, _place(canvas, thing, cell, chance)))
    return np.asarray(canvas), Scene(tuple(placed), background, count=count)


def _cells(count: int, chance: random.Random) -> list[tuple[int, int, int, int]]:
    """Rooms for `count` things: a row, a column, or places of a two-by-two grid."""
    if not 1 <= count <= 4:
        raise ValueError(f"A scene counts one to four things, not {count}.")
    if count == 1:
        return [(0, 0, SIDE, SIDE)]
    layout = chance.choice(("row", "column", "grid") if count < 4 else ("grid", "grid", "row"))
    if layout == "grid":
        half = SIDE // 2
        return chance.sample([(x, y, x + half, y + half) for y in (0, half) for x in (0, half)], count)
    step = SIDE // count
    off = (SIDE - step) // 2
    if layout == "row":
        return [(index * step, off // 2, (index + 1) * step, SIDE - off // 2) for index in range(count)]
    return [(off // 2, index * step, SIDE - off // 2, (index + 1) * step) for index in range(count)]


def make_background(chance: random.Random, avoid: tuple[str, ...] = ()) -> tuple[PIL.Image.Image, str]:
    """A plain, shaded or textured ground and the name of its colour, which is none of `avoid`."""
    choices = [colour for colour in COLOURS if colour not in avoid]
    name = chance.choices(choices, [_BACKGROUND_WEIGHTS[colour] for colour in choices])[0]
    base = np.array(chance.choice(_SWATCHES[name]), np.float32)
    numbers = np.random.default_rng(chance.getrandbits(64))
    shifted = np.clip(base + numbers.uniform(-10, 10, 3), 0, 255)
    base = shifted if COLOURS[int(colour_names(shifted.astype(np.uint8)[None])[0])] == name else base
    style = chance.choices(("plain", "shaded", "noise", "stripes", "dots"), (5, 2, 1.5, 0.75, 0.75))[0]
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    if style == "shaded":
        angle = chance.uniform(0, 2 * np.pi)
        change = (rows * np.sin(angle) + columns * np.cos(angle)) * chance.uniform(10, 35)
    elif style == "noise":
        change = numbers.normal(0, chance.uniform(2, 9), (SIDE, SIDE))
    elif style == "stripes":
        angle, width = chance.uniform(0, np.pi), chance.uniform(6, 20)
        change = np.where(np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi * width) > 0, 9.0, -9.0)
    elif style == "dots":
        width = chance.uniform(5, 14)
        change = np.where(np.sin(rows * 2 * np.pi * width) * np.sin(columns * 2 * np.pi * width) > 0.5, 14.0, 0.0)
    else:
        change = np.zeros((SIDE, SIDE))
    # White and black stay so: what is added to them goes the other way.
    change = -abs(change) / 2 if name == "white" else abs(change) / 2 if name == "black" else change
    pixels = np.clip(base + change[..., None], 0, 255).astype(np.uint8)
    return PIL.Image.fromarray(pixels), name


def _varied(cutout: Cutout, chance: random.Random, side: float, limit: int = SIDE) -> PIL.Image.Image:
    """The sprite as a person might draw it again: another size, a little turned, mirrored, lighter or duller. Cut to its visible part."""
    picture = _visible(PIL.Image.fromarray(cutout.pixels))
    if chance.random() < 0.5 and not reads_one_way(cutout.sprite):
        picture = picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    scale = side / max(picture.size)
    picture = picture.resize([max(1, round(length * scale)) for length in picture.size], PIL.Image.Resampling.BILINEAR)
    if chance.random() < 0.5:
        picture = _visible(picture.rotate(chance.uniform(-12, 12), PIL.Image.Resampling.BILINEAR, expand=True))
    for enhance in (PIL.ImageEnhance.Brightness, PIL.ImageEnhance.Color, PIL.ImageEnhance.Contrast):
        if chance.random() < 0.4:
            alpha = picture.getchannel("A")
            picture = enhance(picture).enhance(chance.uniform(0.88, 1.12))
            picture.putalpha(alpha)
    if max(picture.size) > limit:
        picture = picture.resize([max(1, length * limit // max(picture.size)) for length in picture.size], PIL.Image.Resampling.BILINEAR)
    return _visible(picture)


def reads_one_way(sprite: Sprite) -> bool:
    return sprite.head in _NEVER_FLIPPED or "left" in sprite.name or "right" in sprite.name


def _visible(picture: PIL.Image.Image) -> PIL.Image.Image:
    box = picture.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
    return picture.crop(box) if box else picture


def _place(
    canvas: PIL.Image.Image, thing: PIL.Image.Image, room: tuple[int, int, int, int], chance: random.Random
) -> tuple[int, int, int, int]:
    """Pastes the thing at a random place inside the room; returns its box."""
    left, top, right, bottom = room
    x = chance.randint(left, max(left, right - thing.width))
    y = chance.randint(top, max(top, bottom - thing.height))
    canvas.paste(thing, (x, y), thing)
    return (x, y, x + thing.width, y + thing.height)
