"""From chance to a picture: a layout, a hand that draws it, a sheet of paper and how it is photographed."""

import random
from collections.abc import Iterator

import numpy as np
import PIL.Image

from .drawing import Habits, Page
from .layout import Sketch, draw_layout
from .paper import SHEET, SIDE, draw_paper, photograph
from .pen import Pen

PENCIL = (75, 75, 80)
_INKS = {
    (25, 25, 28): 6,  # black
    PENCIL: 4,
    (30, 50, 150): 5,  # blue
    (20, 30, 80): 2,
    (190, 40, 40): 2,
    (30, 110, 60): 1,
    (100, 50, 130): 1,
    (110, 70, 40): 1,
}


def compose_sketch(chance: random.Random, held_out: bool = False) -> tuple[np.ndarray, Sketch]:
    """A random sketch, uint8 (260, 260, 3), and what it means; of the layouts that are trained on, or of those that are not."""
    sketch = draw_layout(chance, held_out)
    return draw_sketch(sketch, chance), sketch


def draw_sketch(sketch: Sketch, chance: random.Random) -> np.ndarray:
    """One of the many ways to draw a page by hand, uint8 (260, 260, 3)."""
    width, wobble = chance.choice((1.3, 1.7, 2.2, 2.8, 3.4)), chance.choice((0.2, 0.7, 1.2, 1.8))
    colours = chance.choices(list(_INKS), list(_INKS.values()), k=2)
    pens = [Pen(chance, SHEET, width, wobble, uneven=chance.uniform(0, 0.3))]
    if chance.random() < 0.3:  # a second colour
        pens.append(Pen(chance, SHEET, min(width, 2.4), wobble))
    page, margin = Page(pens[0], pens[-1], Habits.draw(chance), chance), (SHEET - SIDE) / 2
    inset = [margin + chance.uniform(9, 18) for _ in range(4)]
    box = (inset[0], inset[1], SHEET - inset[2], SHEET - inset[3])
    page.draw(sketch, _framed(pens[0], box, chance))
    sheet, grain = draw_paper(chance), np.random.default_rng(chance.getrandbits(64))
    for pen, colour in zip(pens, colours, strict=False):
        ink, covers = np.asarray(pen.ink), round(256 * chance.uniform(0.8, 1.0))
        if colour == PENCIL:  # leaves the paper's grain white
            covers = grain.integers(140, 257, ink.shape, np.uint16)
        sheet.paste(colour, mask=PIL.Image.fromarray((ink.astype(np.uint16) * covers >> 8).astype(np.uint8)))
    return photograph(sheet, chance)


def _framed(pen: Pen, box: tuple[float, float, float, float], chance: random.Random) -> tuple[float, float, float, float]:
    """Draws the page's edge, as about half of all people do, and returns the room inside."""
    if chance.random() < 0.5:
        return box
    left, top, right, bottom = box
    edge = (left - 7, top - 6, right + 7, bottom + 6)
    pen.box(edge) if chance.random() < 0.7 else pen.rounded_box(edge, 14)
    return (left + 2, top + 2, right - 2, bottom - 2)


def held_out_sketches(count: int) -> list[tuple[np.ndarray, Sketch]]:
    """The first `count` of the held-out sketches, always the same; each of another layout."""
    found, pages = [], _held_out_pages()
    while len(found) < count:
        sketch, chance = next(pages)
        found.append((draw_sketch(sketch, chance), sketch))
    return found


def _held_out_pages() -> Iterator[tuple[Sketch, random.Random]]:
    seen: set[str] = set()
    for number in range(1_000_000):
        chance = random.Random(f"held-out sketch {number}")
        sketch = draw_layout(chance, held_out=True)
        if sketch.structure not in seen:
            seen.add(sketch.structure)
            yield sketch, chance
