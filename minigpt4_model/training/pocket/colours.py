"""The colours of a picture by name, computed from its pixels.

Eleven names, as people use them. Knows nothing about what the picture shows.
"""

import numpy as np

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")

_LEAST_SHARE = 0.15  # a colour that covers less is not worth naming
_MOST_NAMES = 3


def colour_names(rgb: np.ndarray) -> np.ndarray:
    """Index into `COLOURS` of each pixel: (..., 3) uint8 -> (...,) int8."""
    values = rgb.astype(np.float32) / 255
    high, low = values.max(-1), values.min(-1)
    spread = high - low
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    safe = np.where(spread == 0, 1, spread)
    hue = np.where(
        high == red, ((green - blue) / safe) % 6, np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    ) * 60  # fmt: skip
    saturation = spread / np.where(high == 0, 1, high)
    lightness = (high + low) / 2

    names = np.full(high.shape, COLOURS.index("red"), np.int8)

    def paint(where: np.ndarray, name: str) -> None:
        names[where] = COLOURS.index(name)

    paint((hue >= 14) & (hue < 36), "orange")
    paint((hue >= 36) & (hue < 68), "yellow")
    paint((hue >= 68) & (hue < 174), "green")
    paint((hue >= 174) & (hue < 256), "blue")
    paint((hue >= 256) & (hue < 305), "purple")
    paint((hue >= 305) & (hue < 338), "pink")
    redish = (hue >= 338) | (hue < 14)
    paint(redish & (lightness > 0.7), "pink")
    paint((hue >= 305) & (hue < 330) & (lightness < 0.4), "purple")
    # Dark or dull orange is what people call brown.
    paint((hue >= 14) & (hue < 45) & ((high < 0.72) | ((saturation < 0.5) & (high < 0.85))), "brown")
    paint((hue >= 8) & (hue < 18) & (high < 0.78) & (saturation < 0.72), "brown")
    paint(redish & (high < 0.5) & (high > 0.2) & (saturation < 0.75), "brown")
    paint((hue >= 45) & (hue < 68) & (high < 0.45), "brown")
    dull = (saturation < 0.16) | ((saturation < 0.32) & (high < 0.45)) | (spread < 0.1)
    paint(dull, "grey")
    paint(dull & (high > 0.84), "white")
    paint((spread < 0.13) & (low > 0.84), "white")
    paint((high < 0.22) | (dull & (high < 0.3)), "black")
    return names


def dominant_colours(rgba: np.ndarray) -> list[str]:
    """Names of the colours that cover at least 15 % of what is not transparent, the largest first, three at most.

    (H, W, 4) uint8. Empty for an empty picture. A picture of many small patches gets its one largest colour.
    """
    opaque = rgba[..., 3] > 127
    total = int(opaque.sum())
    if not total:
        return []
    counts = np.bincount(colour_names(rgba[..., :3][opaque]), minlength=len(COLOURS))
    order = np.argsort(-counts, kind="stable")[:_MOST_NAMES]
    return [COLOURS[index] for place, index in enumerate(order) if place == 0 or counts[index] >= _LEAST_SHARE * total]
