"""Looking closer: the four corners of a picture as further pictures, each with image tokens of its own.

An encoder reads every picture at one small size, so what is small in the whole is four times as large in area in its corner. The crops
overlap, so that what stands in the middle is whole in none too rarely.
"""

import PIL.Image

from .pictures import LoadedPicture

# Of the picture's width and height, that each crop covers.
SHARE = 0.6
CORNERS = ("top left", "top right", "bottom left", "bottom right")


def four_crops(picture: LoadedPicture) -> tuple[LoadedPicture, ...]:
    """The corners in the order of `CORNERS`; equal pictures have crops of equal digest."""
    return tuple(LoadedPicture(_crop(picture.image, corner), f"{picture.digest} {corner} {SHARE}") for corner in CORNERS)


def _crop(image: PIL.Image.Image, corner: str) -> PIL.Image.Image:
    width, height = (max(1, round(SHARE * side)) for side in image.size)
    left = 0 if "left" in corner else image.width - width
    top = 0 if "top" in corner else image.height - height
    return image.crop((left, top, left + width, top + height))
