"""What does the text say? Words drawn on plain pictures: what a model reads by itself, and with `read_text` (`chat/ocr.py`).

Not part of the pocket suite: its pictures are no drawings of the corpus. `bench guards` asks it.
"""

import random
from collections.abc import Iterator

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from ...chat.messages import question
from ..items import Item, Judged, Task, Verdict
from ..statistics import share_right
from ..words import words_of

QUESTION = "What does the text in the picture say?"
SIGNS = (
    "STOP", "OPEN DAILY", "Fresh bread", "Platform 9", "NO PARKING", "Sale 50%", "Welcome home", "Exit", "Gate B12", "Wet paint",
    "Hot coffee", "Library", "Push to open", "Lost cat", "Room 204", "Tickets here", "Mind the gap", "Flower market", "Keep left", "Bus 17",
    "Cheese and wine", "Closed on Monday", "Beware of the dog", "Blue harbour hotel",
)  # fmt: skip


def draw_sign(text: str, chance: random.Random) -> PIL.Image.Image:
    """`text` in one line on a plain ground, dark on light or light on dark."""
    light, dark = [tuple(chance.randint(low, low + 60) for _ in range(3)) for low in (195, 0)]
    ground, ink = chance.sample([light, dark], 2)
    image = PIL.Image.new("RGB", (384, 288), ground)
    font = PIL.ImageFont.load_default(chance.randint(24, 40))
    pen = PIL.ImageDraw.Draw(image)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    place = (chance.uniform(8, max(9, 376 - right)), chance.uniform(8, 280 - bottom))
    pen.text(place, text, fill=ink, font=font)
    return image


def judge_reading(item: Item, answer: str) -> Verdict:
    """Right when the words come in their order, whatever else is said."""
    wanted, said = words_of(item.expected["text"]), words_of(answer)
    right = any(said[start : start + len(wanted)] == wanted for start in range(len(said)))
    return Verdict(right)


def printed_text() -> Task:
    task = "printed-text"

    def items() -> Iterator[Item]:
        for index, text in enumerate(SIGNS):
            picture = draw_sign(text, random.Random(f"{task} {index}"))
            yield Item(f"{task}/{index}", task, [question(QUESTION, [picture])], {"text": text}, text, {"max_new_tokens": 48})

    def figures(judged: list[Judged]):
        return share_right("words read")(judged)

    return Task(task, "Printed text", items, judge_reading, figures)
