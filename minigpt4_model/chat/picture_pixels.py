"""From a decoded picture in any of Pillow's modes to upright RGB pixels: transparency over white, deep samples scaled to 8 bits.

Works through bands of rows, so that beside the decoded picture only the result and one band are in memory. Knows nothing
of files and refuses nothing.
"""

import math
from collections.abc import Callable, Iterator

import PIL.Image
from PIL.Image import Transpose

Flatten = Callable[[PIL.Image.Image, int], PIL.Image.Image]  # a band and the factor to shrink it by -> RGB

BAND_PIXELS = 500_000
ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def reduction(size: tuple[int, int], max_side: int) -> int:
    """The smallest whole factor by which a width and height shrink to at most `max_side`."""
    return max(1, -(-max(size) // max_side))


def to_rgb(image: PIL.Image.Image, max_side: int) -> PIL.Image.Image:
    """A new RGB picture whose sides are those of `image` divided by `reduction`, rounded up; it carries no metadata."""
    factor = reduction(image.size, max_side)
    result = PIL.Image.new("RGB", tuple(-(-side // factor) for side in image.size))
    if image.mode.startswith("I;16"):
        flatten = _from_sixteen_bits(image.info.get("transparency"))
    elif image.mode in ("I", "F"):
        flatten = _from_range(*_range(image))
    else:
        flatten = _over_white
    for top, band in _bands(image, factor):
        result.paste(flatten(band, factor), (0, top // factor))
    return result


def upright(picture: PIL.Image.Image, source: PIL.Image.Image) -> PIL.Image.Image:
    """`picture` turned as the EXIF orientation of the file `source` says; a missing or senseless orientation turns nothing."""
    try:
        orientation = source.getexif().get(ORIENTATION_TAG)
    except Exception:  # metadata that cannot be read is no reason to refuse a picture; Pillow raises a dozen types here
        orientation = None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _bands(image: PIL.Image.Image, factor: int) -> Iterator[tuple[int, PIL.Image.Image]]:
    rows = max(1, BAND_PIXELS // (image.width * factor)) * factor
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _shrink(band: PIL.Image.Image, factor: int) -> PIL.Image.Image:
    return band.reduce(factor) if factor > 1 else band


def _over_white(band: PIL.Image.Image, factor: int) -> PIL.Image.Image:
    if not band.has_transparency_data:
        return _shrink(band.convert("RGB"), factor)
    if band.mode in ("La", "RGBa"):  # premultiplied: Pillow converts these only to their plain twins
        band = band.convert(band.mode.upper())
    flat = PIL.Image.new("RGB", band.size, "white")
    flat.paste(rgba := band.convert("RGBA"), mask=rgba)
    return _shrink(flat, factor)


def _from_sixteen_bits(transparent: int | None) -> Flatten:
    """0-65535 to 0-255; samples of the value `transparent` (a PNG's tRNS) become white."""
    import numpy as np

    grey = ((np.arange(65536) + 128) // 257).astype(np.uint8)
    if isinstance(transparent, int):
        grey[transparent] = 255

    def flatten(band: PIL.Image.Image, factor: int) -> PIL.Image.Image:
        return _shrink(PIL.Image.fromarray(grey[np.asarray(band)]), factor).convert("RGB")

    return flatten


def _from_range(low: float, high: float) -> Flatten:
    """`low` to black, `high` to white; what is not a number is black."""
    import numpy as np

    def flatten(band: PIL.Image.Image, factor: int) -> PIL.Image.Image:
        values = np.asarray(_shrink(band, factor), dtype=np.float64)
        grey = np.nan_to_num((values - low) * (255.0 / (high - low)), posinf=255.0, neginf=0.0)
        return PIL.Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")

    return flatten


def _range(image: PIL.Image.Image) -> tuple[float, float]:
    """The samples that become black and white: whole numbers keep the range of 8 or 16 bits they fit in, others are stretched."""
    import numpy as np

    low, high = math.inf, -math.inf
    for _, band in _bands(image, 1):
        values = np.asarray(band)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if image.mode == "I" and 0 <= low <= high <= 65535:
        return 0.0, 255.0 if high <= 255 else 65535.0
    if low < high:
        return low, high
    if not math.isfinite(low):
        return 0.0, 1.0
    return min(low, 0.0), max(high, 1.0)  # one flat tone has no range of its own
