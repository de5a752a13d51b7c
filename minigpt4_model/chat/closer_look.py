"""What is put beside the pictures of a conversation before it is rendered: parts of them, and the text in them.

A function of turns, so every backend that renders or sends turns can use it. The result is the same each time, so what was computed for one
turn is found again at the next; and as pictures outlive the texts of an overlong conversation, what is beside them does too.
"""

from collections.abc import Iterator, Sequence

from .crops import four_crops
from .messages import Picture, Turn
from .ocr import quote, read_lines
from .settings import GenerationSettings


def look_closer(turns: Sequence[Turn], settings: GenerationSettings) -> list[Turn]:
    """`turns` with what `settings.image_crops` and `settings.read_text` add behind each picture.

    Raises `BackendError` when text is to be read and the extra for it is missing.
    """
    if not (settings.image_crops or settings.read_text):
        return list(turns)
    return [Turn(turn.role, tuple(_with_details(turn, settings))) if turn.pictures else turn for turn in turns]


def what_was_read(pictures: Sequence[Picture]) -> str:
    """A sentence for the person about the text that `read_lines` found in their pictures."""
    lines = sum(len(read_lines(picture)) for picture in pictures)
    where = "picture" if len(pictures) == 1 else "pictures"
    return f"Text was read in the {where}: {lines} line{'s' if lines != 1 else ''}." if lines else f"No text was found in the {where}."


def _with_details(turn: Turn, settings: GenerationSettings) -> Iterator[str | Picture]:
    for part in turn.parts:
        yield part
        if isinstance(part, Picture):
            if settings.image_crops:
                yield from four_crops(part)
            if settings.read_text and (said := quote(read_lines(part))):
                yield said
