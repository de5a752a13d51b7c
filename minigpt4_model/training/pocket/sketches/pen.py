"""A hand with a pen: lines that wobble, boxes that do not quite close, scribbles for words and letters for short ones."""

import math
import random
from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw

from .alphabet import ADVANCE, HEIGHT, NARROW, letter_strokes

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in the sheet's pixels

FINE = 2  # ink is drawn at twice the picture's pixels


class Pen:
    """Draws ink on a sheet of `side` pixels; `ink` is an L image of `FINE * side`, 255 where the ink covers.

    A steady hand has a `wobble` near 0, a nervous one of 2 pixels; `width` is the line's, in pixels.
    """

    def __init__(self, chance: random.Random, side: int, width: float, wobble: float, uneven: float = 0.2):
        self.chance, self.width, self.wobble, self.uneven = chance, width, wobble, uneven
        self.slant = chance.uniform(-0.1, 0.25)
        self.ink = PIL.Image.new("L", (FINE * side, FINE * side))
        self._draw = PIL.ImageDraw.Draw(self.ink)

    def stroke(self, points: Sequence[Point], wobble: float = 1.0, width: float = 1.0) -> None:
        """One line through `points`, without lifting the pen. `wobble` and `width` are shares of the pen's own."""
        lengths = [math.dist(start, end) for start, end in zip(points, points[1:], strict=False)]
        phases = [self.chance.uniform(0, 2 * math.pi) for _ in range(5)]
        waves = (self.chance.uniform(14, 30), self.chance.uniform(35, 90))
        amplitude = self.wobble * wobble * min(1.0, sum(lengths) / 40)
        path, gone = [], 0.0
        for (start, end), length in zip(zip(points, points[1:], strict=False), lengths, strict=True):
            steps = max(1, round(length / 4))
            for step in range(steps + 1):
                at, share = gone + length * step / steps, step / steps
                shift = [
                    amplitude * (0.4 * math.sin(at / waves[0] * 2 + phase) + 0.6 * math.sin(at / waves[1] * 2 + other))
                    for phase, other in (phases[:2], phases[2:4])
                ]
                x, y = (start[axis] + (end[axis] - start[axis]) * share + shift[axis] for axis in (0, 1))
                thick = self.width * width * (1 + self.uneven * math.sin(at / 25 + phases[4]))
                path.append((FINE * x, FINE * y, FINE * thick))
            gone += length
        for (x, y, _), (to_x, to_y, thick) in zip(path, path[1:], strict=False):
            self._draw.line((x, y, to_x, to_y), 255, max(1, round(thick)))
        for x, y, thick in path:
            if thick > 2.5:  # rounds the joints
                radius = (thick - 1) / 2
                self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)

    def line(self, start: Point, end: Point, **share: float) -> None:
        self.stroke([start, end], **share)

    def box(self, box: Box, **share: float) -> None:
        """A rectangle: in one go, or side by side with corners that cross or stay open."""
        left, top, right, bottom = box
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        if self.chance.random() < 0.5:
            end = self._near(corners[0], 1.5)
            self.stroke([*corners[:4], end], **share)
            return
        for start, end in zip(corners, corners[1:], strict=False):
            length = math.dist(start, end) or 1.0
            over = min(self.chance.uniform(-1.0, 3.5), length / 8)
            beyond = tuple(end[axis] + (end[axis] - start[axis]) / length * over for axis in (0, 1))
            self.line(self._near(start, 0.8), beyond, **share)

    def rounded_box(self, box: Box, radius: float) -> None:
        left, top, right, bottom = box
        radius = min(radius, (right - left) / 2, (bottom - top) / 2)
        points = []
        for x, y, first in ((right - radius, top + radius, -90), (right - radius, bottom - radius, 0), (left + radius, bottom - radius, 90),
                            (left + radius, top + radius, 180)):  # fmt: skip
            for angle in range(first, first + 91, 30):
                points.append((x + radius * math.cos(math.radians(angle)), y + radius * math.sin(math.radians(angle))))
        self.stroke([*points, self._near(points[0], 1.0)], wobble=0.7)

    def oval(self, box: Box, filled: bool = False) -> None:
        left, top, right, bottom = box
        if filled:
            self._draw.ellipse([FINE * side for side in box], 255)
            return
        turns = [math.radians(angle) for angle in range(-90, 285, 20)]
        middle, radii = ((left + right) / 2, (top + bottom) / 2), ((right - left) / 2, (bottom - top) / 2)
        self.stroke([(middle[0] + radii[0] * math.cos(turn), middle[1] + radii[1] * math.sin(turn)) for turn in turns], wobble=0.4)

    def hatch(self, box: Box, gap: float) -> None:
        """Slanting lines that fill a box."""
        left, top, right, bottom = box
        height, at = bottom - top, left - (bottom - top)
        while at < right:
            start, end = max(at, left), min(at + height, right)
            if end - start > 2:
                self.line((start, bottom - (start - at)), (end, bottom - (end - at)), wobble=0.4, width=0.6)
            at += gap

    def scribble(self, left: float, right: float, middle: float, height: float) -> None:
        """A word nobody can read: loops between two heights."""
        loops, points = max(2, round((right - left) / max(3.5, 0.55 * height))), []
        step, loopy = (right - left) / loops, self.chance.uniform(-0.1, 0.45)
        for loop in range(loops):
            reach = height * self.chance.choice((0.3, 0.35, 0.5))
            for part in range(6):
                turn = part * math.pi / 3
                x = left + step * (loop + part / 6 + loopy * math.sin(turn))
                points.append((x, middle + (0.3 * height if math.cos(turn) < 0 else reach) * -math.cos(turn)))
        self.stroke(points, wobble=0.2, width=0.85)

    def words(self, left: float, right: float, middle: float, height: float) -> None:
        """A line of scribbled words."""
        x = left
        while right - x > height:
            end = min(right, x + height * self.chance.uniform(1.8, 4.5))
            self.scribble(x, end, middle + self.chance.uniform(-0.5, 0.5), height)
            x = end + height * self.chance.uniform(0.5, 0.8)

    def wave(self, left: float, right: float, middle: float, height: float) -> None:
        """A wavy line, as one stands for text."""
        step = max(3.0, height * self.chance.uniform(0.6, 0.9))
        count = max(2, int((right - left) / step))
        points = [(left + step * index / 2, middle + height * 0.35 * math.sin(index * math.pi / 2)) for index in range(2 * count + 1)]
        self.stroke(points, wobble=0.3, width=0.9)

    def word(self, text: str, left: float, top: float, height: float) -> None:
        """`text` in printed capitals, its first letter a little larger."""
        size, x = height / HEIGHT, left
        for place, letter in enumerate(text.upper()):
            scale = size * (1.0 if place == 0 else 0.82) * self.chance.uniform(0.94, 1.06)
            base = top + height + self.chance.uniform(-0.05, 0.05) * height
            for stroke in letter_strokes(letter):
                self.stroke(
                    [(x + scale * (column + self.slant * (HEIGHT - row)), base - scale * (HEIGHT - row)) for column, row in stroke],
                    wobble=0.25,
                )
            x += scale * NARROW.get(letter, ADVANCE)

    def _near(self, point: Point, reach: float) -> Point:
        return (point[0] + self.chance.uniform(-reach, reach), point[1] + self.chance.uniform(-reach, reach))


def word_width(text: str, height: float) -> float:
    """Pixels that `Pen.word` needs at most."""
    return height / HEIGHT * ADVANCE * len(text)
