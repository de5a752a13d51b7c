"""Reading the text in a picture, and quoting it so that it stays a quotation: the optional extra `ocr`.

RapidOCR 3.10 with PP-OCRv6 small (Chinese, Latin and more) on onnxruntime; the three networks come inside its wheel, so nothing is fetched.
What a picture says is written by strangers: `quote` takes from it everything by which a text could end the quotation or pass for a part of
the template. A model may still be talked into something by plain words, which no escaping prevents; it has no tools to do harm with.
"""

import re
import threading
import unicodedata
from collections import OrderedDict
from functools import cache

import numpy as np
import PIL.Image

from ..weights.advice import python_command
from ..weights.pocket import REPOSITORY
from .backends.base import BackendError
from .pictures import LoadedPicture
from .templates import TEMPLATES

LONGEST_QUOTE = 1000  # characters, of which a picture's quotation has at most as many
REMEMBERED = 256  # pictures whose text is kept

# Sides in pixels at which lines are looked for. RapidOCR's own way scales the shorter side to 736 whatever the longer one becomes: a strip
# of 40 by 2048 pixels took 43 seconds and 4.8 GB.
LONGEST_SIDE = 1536
SMALLEST_SIDE = 640  # smaller pictures are enlarged to it, at most by two

_ROLE = re.compile(r"\b(human|user|assistant|system)\s*:", re.IGNORECASE)
_MARKERS = {mark.strip() for template in TEMPLATES.values() for mark in (*template.markers, "<s>", "</s>")}
_MARKER = re.compile("|".join(map(re.escape, sorted(_MARKERS, key=len, reverse=True))), re.IGNORECASE)
_QUOTES = str.maketrans(dict.fromkeys('"“”„‟«»＂〝〞', "'"))

_read: OrderedDict[str, tuple[str, ...]] = OrderedDict()
_lock = threading.Lock()


def read_lines(picture: LoadedPicture) -> tuple[str, ...]:
    """The lines of text in a picture, from top to bottom; none without text. Remembered by the picture's content.

    One at a time takes the processor. Raises `BackendError` that says how to install the extra where it is missing.
    """
    with _lock:
        if picture.digest not in _read:
            found = _reader()(_pixels(picture.image))
            _read[picture.digest] = tuple(found.txts or ())
            while len(_read) > REMEMBERED:
                _read.popitem(last=False)
        _read.move_to_end(picture.digest)
        return _read[picture.digest]


def quote(lines: tuple[str, ...]) -> str:
    """What the LLM is told of a picture's text: one line that names it a quotation; "" without text.

    The lines are joined by " / ". No quotation mark, line break, control or invisible character, marker of any template, or label of a role
    is left in them, however it was spelled; what is longer than `LONGEST_QUOTE` is cut.
    """
    said = " / ".join(filter(None, map(_harmless, lines)))
    said = _broken(said)  # joined lines could make a marker that neither held
    if len(said) > LONGEST_QUOTE:
        said = said[:LONGEST_QUOTE].rstrip() + " …"
    return f'The text in the picture says (quoted): "{said}"' if said else ""


def _harmless(line: str) -> str:
    line = unicodedata.normalize("NFKC", line).translate(_QUOTES)
    return " ".join("".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in line).split())


def _broken(text: str) -> str:
    """`text` with a space behind the first character of each marker, and before the colon of each role's label."""
    while _MARKER.search(text):
        text = _MARKER.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    return _ROLE.sub(r"\1 :", text)


def _pixels(image: PIL.Image.Image) -> np.ndarray:
    """`(H, W, 3)` in the order blue, green, red, at a size that takes neither too long nor loses small letters."""
    longest = max(image.size)
    scale = min(2.0, SMALLEST_SIDE / longest) if longest < SMALLEST_SIDE else min(1.0, LONGEST_SIDE / longest)
    if scale != 1.0:
        image = image.resize(tuple(max(1, round(side * scale)) for side in image.size), PIL.Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


@cache
def _reader():
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        fix = python_command("-m", "pip", "install", "-e", f"{REPOSITORY}[ocr]")
        raise BackendError(f"Reading text in pictures (--read-text) needs the extra ocr ({error}). Leave it off, or: {fix}") from error
    return RapidOCR(
        params={
            "Global.log_level": "critical",  # it warns about every picture without text
            "Global.max_side_len": LONGEST_SIDE,
            "Det.limit_type": "max",
            "Det.limit_side_len": LONGEST_SIDE,
        }
    )
