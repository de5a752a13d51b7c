"""What is put beside the pictures of a conversation before it is rendered: parts of them, and the text in them.

A function of turns, so every backend that renders or sends turns can use it. The result is the same each time, so what was computed for one
turn is found again at the next; and as pictures outlive the texts of an overlong conversation, what is beside them does too.
"""

from collections.abc import Iterator, Sequence

from .crops import CORNERS, four_crops
from .messages import Picture, Turn
from .ocr import quote, read_lines
from .settings import GenerationSettings

CROPS_HINT = f"The four pictures after it are its parts: {', '.join(CORNERS)}."


def look_closer(turns: Sequence[Turn], settings: GenerationSettings) -> list[Turn]:
    """`turns` with what `settings.image_crops` and `settings.read_text` add behind each picture.

    Raises `BackendError` when text is to be read and the extra for it is missing.
    """
    if not (settings.image_crops or settings.read_text):
        return list(turns)
    return [Turn(turn.role, tuple(_with_details(turn, settings))) if turn.pictures else turn for turn in turns]


def _with_details(turn: Turn, settings: GenerationSettings) -> Iterator[str | Picture]:
    for part in turn.parts:
        yield part
        if isinstance(part, Picture):
            if settings.image_crops:
                yield from four_crops(part)
            if settings.read_text and (said := quote(read_lines(part))):
                yield said
