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
    return tuple(LoadedPicture(crop(picture.image, corner), picture.digest + _suffix(corner)) for corner in CORNERS)


def corner_of(digest: str) -> tuple[str, str]:
    """Of a crop's digest, that of the picture and which corner it is; of any other picture's, the digest itself and ""."""
    for corner in CORNERS:
        if digest.endswith(_suffix(corner)):
            return digest.removesuffix(_suffix(corner)), corner
    return digest, ""


def _suffix(corner: str) -> str:
    return f" {corner} {SHARE}"


def crop(image: PIL.Image.Image, corner: str) -> PIL.Image.Image:
    """That corner of a picture."""
    width, height = (max(1, round(SHARE * side)) for side in image.size)
    left = 0 if "left" in corner else image.width - width
    top = 0 if "top" in corner else image.height - height
    return image.crop((left, top, left + width, top + height))
