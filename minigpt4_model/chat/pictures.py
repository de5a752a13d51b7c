"""Opening a picture: one function for every entrance (page, API, verbs, training)."""

from dataclasses import dataclass
from pathlib import Path

import PIL.Image


class PictureError(ValueError):
    """A picture that is not taken; the text is a sentence that says why and what to do."""


@dataclass(frozen=True, eq=False)
class LoadedPicture:
    """An upright RGB picture, transparency over white. `digest` names its pixels; `notice` tells what a person should know."""

    image: PIL.Image.Image
    digest: str
    notice: str = ""


def load_picture(source: str | Path | bytes | PIL.Image.Image) -> LoadedPicture:
    raise NotImplementedError
