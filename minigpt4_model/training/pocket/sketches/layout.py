"""What can stand on a sketched page: a tree of elements, which pages are drawn at random, and which layouts are held out.

Nothing here knows how an element looks, except how high it must be drawn to be clear to an encoder that sees 9 x 9 patches.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .markup import length_of, render_html

# In pixels of a 260-pixel picture, for one line of an element; `least_height` adds up what has several.
_LEAST_HEIGHTS = {"header": 34, "nav": 24, "text": 26, "button": 24, "image": 48, "form": 26, "list": 4, "columns": 0}
_LEAST_ROWS = {"form": 19, "list": 14}  # added for each of `count`
GAP, PAGE_HEIGHT = 8, 252
LONGEST = 142  # `length_of` a page's HTML
KINDS = tuple(_LEAST_HEIGHTS)
COUNTS = {"nav": (2, 4), "form": (1, 3), "list": (2, 4), "columns": (2, 3)}
_CONTENT_WEIGHTS = {"text": 4, "image": 4, "button": 3, "list": 3, "form": 3, "columns": 3}
_COLUMN_WEIGHTS = {"text": 4, "image": 4, "list": 2, "button": 2}
_LENGTH_WEIGHTS = {1: 1, 2: 2, 3: 4, 4: 4, 5: 3, 6: 2}
HELD_OUT_SHARE = 10  # in a hundred


@dataclass(frozen=True)
class Element:
    """One of `KINDS`. `count` is how many links, inputs, items or columns it has; `columns` what stands in each, from the top."""

    kind: str
    count: int = 1
    columns: tuple[tuple["Element", ...], ...] = ()

    @property
    def structure(self) -> str:
        """Its kind and what stands in it, without counts: "columns(image text|list)"."""
        return f"{self.kind}({'|'.join(map(_structure, self.columns))})" if self.columns else self.kind


@dataclass(frozen=True)
class Sketch:
    """A page: its elements from the top."""

    elements: tuple[Element, ...]

    @cached_property
    def html(self) -> str:
        """The one way in which this page is written; see `markup`."""
        return render_html(self.elements)

    @property
    def structure(self) -> str:
        """The layout: the same for pages that differ only in how many links or items something has."""
        return _structure(self.elements)


def _structure(elements: Sequence[Element]) -> str:
    return " ".join(element.structure for element in elements)


def is_held_out(sketch: Sketch) -> bool:
    """Whether this layout is never trained on: one in ten, by its hash. Pages of a single element are what all others are
    learned from, and are not held out."""
    if len(sketch.elements) == 1:
        return False
    return int.from_bytes(hashlib.sha256(sketch.structure.encode()).digest()[:4]) % 100 < HELD_OUT_SHARE


def draw_layout(chance: random.Random, held_out: bool = False) -> Sketch:
    """A random page that fits, of one to six elements: a header and a navigation bar first, if any. From one split only."""
    while True:
        length = chance.choices(list(_LENGTH_WEIGHTS), list(_LENGTH_WEIGHTS.values()))[0]
        kinds = [kind for kind, share in (("header", 0.65), ("nav", 0.5)) if chance.random() < share]
        if len(kinds) >= length and chance.random() < 0.7:  # a page with nothing else says little
            kinds = []
        kinds = kinds[:length]
        while len(kinds) < length:
            kinds.append(_other(kinds, _CONTENT_WEIGHTS, chance))
        sketch = Sketch(tuple(_element(kind, chance) for kind in kinds))
        if max(kinds.count("columns"), kinds.count("form")) <= 1 and _fits(sketch) and is_held_out(sketch) == held_out:
            return sketch


def _fits(sketch: Sketch) -> bool:
    """Clear when drawn, and no longer than a small LLM should have to write."""
    height = sum(map(least_height, sketch.elements)) + GAP * (len(sketch.elements) - 1)
    return height <= PAGE_HEIGHT and length_of(sketch.html) <= LONGEST


def _other(before: list[str], weights: dict[str, int], chance: random.Random) -> str:
    """A kind other than the last one's: two paragraphs in a row would look like one."""
    return chance.choices(list(weights), [0 if before[-1:] == [kind] else weight for kind, weight in weights.items()])[0]


def _element(kind: str, chance: random.Random) -> Element:
    count = chance.randint(*COUNTS[kind]) if kind in COUNTS else 1
    if kind != "columns":
        return Element(kind, count)
    if chance.random() < 0.5:  # cards: the same in each column
        return Element(kind, count, (_column(chance, count),) * count)
    return Element(kind, count, tuple(_column(chance, count) for _ in range(count)))


def _column(chance: random.Random, columns: int) -> tuple[Element, ...]:
    kinds: list[str] = []
    for _ in range(chance.choice((1, 2))):
        kinds.append(_other(kinds, _COLUMN_WEIGHTS, chance))
    # Three lists of four items are more than a small LLM should have to write.
    return tuple(Element(kind, chance.randint(2, 3) if columns == 2 else 2) if kind == "list" else Element(kind) for kind in kinds)


def least_height(element: Element) -> int:
    """Pixels that it needs to be seen clearly."""
    if element.columns:
        return max(sum(map(least_height, column)) + GAP * (len(column) - 1) for column in element.columns)
    return _LEAST_HEIGHTS[element.kind] + _LEAST_ROWS.get(element.kind, 0) * element.count
