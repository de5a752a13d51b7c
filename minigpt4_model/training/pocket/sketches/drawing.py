"""How a person draws each element of a page. A hand keeps to its habits: it draws all texts of a sketch alike, and all images."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .layout import GAP, Element, Sketch, least_height
from .markup import BUTTON, ITEM, LABELS, LINKS, SEND, TITLE
from .pen import Box, Pen, word_width


@dataclass(frozen=True)
class Habits:
    """What a person does the same way all over a sketch."""

    legible: bool  # writes short words, instead of scribbling
    text: str  # "lines", "waves" or "words"
    image: str  # "cross", "mountain" or "sun"
    bullet: str  # "dot", "ring", "dash" or "square"
    button: str  # "round", "oval", "box" or "hatched"
    columns: str  # "open", "lines" or "boxes"
    label: str  # "left" or "above" its input
    header: str  # "band", "underlined", "double" or "plain"
    nav: str  # "boxes", "bars", "band" or "underlined"

    @classmethod
    def draw(cls, chance: random.Random) -> "Habits":
        text = chance.choice(("lines", "waves", "words"))
        return cls(
            legible=chance.random() < 0.55,
            text=text,
            image=chance.choices(("cross", "mountain", "sun"), (5, 3, 2))[0],
            # A dash before a line would look like a broken line.
            bullet=chance.choices(("dot", "ring", "square", "dash"), (5, 2, 1, 0 if text == "lines" else 2))[0],
            button=chance.choices(("round", "oval", "box", "hatched"), (5, 2, 2, 2))[0],
            columns=chance.choice(("open", "lines", "boxes")),
            label=chance.choices(("left", "above"), (3, 1))[0],
            header=chance.choices(("band", "underlined", "double", "plain"), (4, 2, 1, 2))[0],
            nav=chance.choice(("boxes", "bars", "band", "underlined")),
        )


class Page:
    """Draws the elements of a page, each into its box, with one pen for frames and another, often the same, for what is written."""

    def __init__(self, frames: Pen, writing: Pen, habits: Habits, chance: random.Random):
        self.frames, self.writing, self.habits, self.chance = frames, writing, habits, chance
        self._drawn: dict[str, Callable[[Element, Box], None]] = {
            "header": self._header, "nav": self._nav, "text": self._text, "button": self._button, "image": self._image,
            "form": self._form, "list": self._list, "columns": self._columns,
        }  # fmt: skip

    def draw(self, sketch: Sketch, box: Box) -> None:
        """The whole page, from the top of `box`; few elements are drawn larger, but do not fill it."""
        self._stack(sketch.elements, box, grow=self.chance.uniform(1.1, 2.2))

    def _stack(self, elements: Sequence[Element], box: Box, grow: float) -> None:
        left, top, right, bottom = box
        least = [least_height(element) * self.chance.uniform(0.95, 1.1) for element in elements]
        room = bottom - top
        gap = min(GAP * self.chance.uniform(0.9, 1.6), 0.25 * room / len(elements))
        scale = min(grow, (room - gap * (len(elements) - 1)) / sum(least))
        for element, height in zip(elements, least, strict=True):
            self._drawn[element.kind](element, (left, top, right, top + scale * height))
            top += scale * height + gap

    def _said(self, word: str, left: float, right: float, middle: float, height: float, centred: bool = False) -> None:
        """A word between `left` and `right`, or a scribble where it does not fit or the person scribbles."""
        if not self.habits.legible:
            width = min(right - left, height * self.chance.uniform(2.5, 4))
            start = (left + right - width) / 2 if centred else left
            self.writing.scribble(start, start + width, middle, height)
            return
        height = min(height, height * (right - left) / word_width(word, height))
        start = (left + right - 0.82 * word_width(word, height)) / 2 if centred else left
        self.writing.word(word, start, middle - height / 2, height)

    def _header(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        height, style = bottom - top, self.habits.header
        if style == "band":
            self.frames.box(box)
        letters = min(26.0, height * (0.55 if style == "band" else 0.7))
        inset = 10 if style == "band" else 2
        centred = self.chance.random() < 0.5
        self._said(TITLE, left + inset, right - inset, (top + bottom) / 2 - (0 if style == "band" else 2), letters, centred)
        for line in range({"underlined": 1, "double": 2}.get(style, 0)):
            self.frames.line((left, bottom - 4 * line), (right, bottom - 4 * line), width=1.2)

    def _nav(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        style, count = self.habits.nav, element.count
        if style == "band":
            self.frames.box(box)
        if style == "underlined":
            self.frames.line((left, bottom), (right, bottom))
        cell = (right - left) / max(count, 3 if self.chance.random() < 0.4 else count)
        letters, gap = min(12.0, (bottom - top) * 0.45), 4
        for place, word in enumerate(LINKS[:count]):
            start, end = left + cell * place, left + cell * (place + 1)
            if style == "boxes":
                self.frames.box((start + (gap if place else 0), top, end, bottom), wobble=0.7)
            elif style == "bars" and place:
                self.frames.line((start, top), (start, bottom), wobble=0.5)
            self._said(word, start + gap + 4, end - 4, (top + bottom) / 2, letters, centred=True)

    def _text(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        lines = max(2, min(5, round((bottom - top) / self.chance.uniform(9, 13))))
        step = (bottom - top) / lines
        for line in range(lines):
            last = line == lines - 1
            end = left + (right - left) * (self.chance.uniform(0.45, 0.8) if last else self.chance.uniform(0.92, 1.0))
            self._text_line(left, end, top + step * (line + 0.5), min(7.0, step * 0.6))

    def _text_line(self, left: float, right: float, middle: float, height: float) -> None:
        if self.habits.text == "lines":
            self.writing.line((left, middle), (right, middle), wobble=0.8)
        elif self.habits.text == "waves":
            self.writing.wave(left, right, middle, height)
        else:
            self.writing.words(left, right, middle, height)

    def _button(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        bottom = min(bottom, top + 38)
        width = min(right - left, max((bottom - top) * self.chance.uniform(2.2, 3.2), 56))
        start = left + (right - left - width) * self.chance.choice((0.0, 0.5))
        self._button_in((start, top, start + width, bottom), BUTTON)

    def _button_in(self, box: Box, word: str) -> None:
        left, top, right, bottom = box
        height = bottom - top
        match self.habits.button:
            case "round":
                self.frames.rounded_box(box, height * 0.4)
            case "oval":
                self.frames.oval(box)
            case "hatched":
                self.frames.rounded_box(box, height * 0.25)
                self.frames.hatch(box, 6)
                return
            case _:
                self.frames.box(box)
        self._said(word, left + height * 0.35, right - height * 0.35, (top + bottom) / 2, min(13.0, height * 0.45), centred=True)

    def _image(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        if right - left > 130:
            width = min(right - left, max((bottom - top) * 1.3, (right - left) * self.chance.choice((0.5, 0.7, 1.0))))
            left += (right - left - width) * self.chance.choice((0.0, 0.5))
            right = left + width
        self.frames.box((left, top, right, bottom))
        width, height = right - left, bottom - top
        if self.habits.image == "cross":
            self.frames.line((left, top), (right, bottom))
            self.frames.line((right, top), (left, bottom))
            return
        ridge = [(0.0, 0.85), (0.3, 0.4), (0.5, 0.7), (0.7, 0.3), (1.0, 0.8)]
        self.writing.stroke([(left + width * x, top + height * y) for x, y in ridge])
        radius = min(width, height) * 0.11
        x, y = left + width * self.chance.choice((0.18, 0.5, 0.86)), top + height * 0.22
        self.writing.oval((x - radius, y - radius, x + radius, y + radius))
        if self.habits.image == "sun":
            for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                self.writing.line((x + across * radius * 1.4, y + down * radius * 1.4), (x + across * radius * 2, y + down * radius * 2))

    def _form(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        if self.chance.random() < 0.3:
            self.frames.box(box, wobble=0.8)
            left, top, right, bottom = left + 7, top + 4, right - 7, bottom - 4
        row = (bottom - top) / (element.count + 1.1)
        for place, word in enumerate(LABELS[: element.count]):
            start = top + row * place
            middle, height = start + row * 0.42, min(row * 0.7, 24.0)
            if self.habits.label == "left" or row < 27:  # no room above
                edge = left + (right - left) * 0.34
                self._said(word, left, edge - 6, middle, min(10.0, height * 0.6))
                self.frames.box((edge, middle - height / 2, right, middle + height / 2), wobble=0.7)
            else:
                self._said(word, left, left + 60, start + row * 0.15, min(9.0, row * 0.28))
                self.frames.box((left, start + row * 0.38, right, start + row * 0.86), wobble=0.7)
        width, start = min(90.0, (right - left) * 0.4), top + row * element.count + row * 0.1
        at = left + (right - left - width) * self.chance.choice((0.0, 0.5, 1.0))
        self._button_in((at, start, at + width, bottom), SEND)

    def _list(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        step = (bottom - top) / element.count
        size, indent = min(3.2, step * 0.2), 6.0
        for place in range(element.count):
            middle, x = top + step * (place + 0.5), left + indent
            dot = (x - size, middle - size, x + size, middle + size)
            match self.habits.bullet:
                case "dot":
                    self.writing.oval(dot, filled=True)
                case "ring":
                    self.writing.oval(dot)
                case "square":
                    self.writing.box(dot, wobble=0.3)
                case _:
                    self.writing.line((x - 4, middle), (x + 4, middle), wobble=0.3)
            end = left + (right - left) * self.chance.uniform(0.5, 0.85)
            if self.habits.legible and self.habits.text != "lines":
                self._said(ITEM, x + 11, right, middle, min(11.0, step * 0.6))
            else:
                self._text_line(x + 11, end, middle, min(8.0, step * 0.6))

    def _columns(self, element: Element, box: Box) -> None:
        left, top, right, bottom = box
        gap, count = 14.0, element.count
        width = (right - left - gap * (count - 1)) / count
        for place, column in enumerate(element.columns):
            start = left + (width + gap) * place
            inner = (start, top, start + width, bottom)
            if self.habits.columns == "boxes":
                self.frames.box((start - 3, top - 2, start + width + 3, bottom + 2), wobble=0.8)
                inner = (start + 3, top + 4, start + width - 3, bottom - 3)
            elif self.habits.columns == "lines" and place:
                self.frames.line((start - gap / 2, top), (start - gap / 2, bottom))
            self._stack(column, inner, grow=1.6)
