"""Faults that only the whole set shows: texts that are nearly another's, and pictures that look the same.

Texts are compared by their runs of three words: MinHash (rensa) proposes pairs, the exact share of common runs decides. Of a group
the first stays and the others are found.
"""

from collections.abc import Sequence

import numpy as np

from .errors import import_extra
from .sentences import ngrams, words_of

NEAR_TEXT, SAME_PICTURE = "near-duplicate", "same-picture"
REASONS = {
    NEAR_TEXT: "Nearly the same text belongs to another picture.",
    SAME_PICTURE: "Another picture looks the same.",
}
_RUN = 3
_HASHES = 128
_BANDS = 32  # four hashes a band: pairs of 0.6 and more are proposed nearly always
# Levels of 255 by which thumbnails of the same picture differ, after scaling and compressing it again.
_SAME_WITHIN = 12
_SIDE = 16


def near_duplicates(texts: Sequence[str], similarity: float) -> dict[int, int]:
    """For each text that shares `similarity` (0 to 1) of its runs of words with an earlier one: the first such one, by position."""
    rensa = import_extra("rensa", f"leave the rule out: --skip-rule {NEAR_TEXT}")
    runs = [frozenset(" ".join(run) for run in ngrams(words, _RUN) or [tuple(words)]) for words in map(words_of, texts)]
    index = rensa.RMinHashLSH(threshold=similarity, num_perm=_HASHES, num_bands=_BANDS)
    found: dict[int, int] = {}
    for position, own in enumerate(runs):
        if not any(own):
            continue
        hashed = rensa.RMinHash(num_perm=_HASHES, seed=0)
        hashed.update(sorted(own))
        for other in sorted(index.query(hashed)):
            if len(own & runs[other]) >= similarity * len(own | runs[other]):
                found[position] = other
                break
        else:
            index.insert(position, hashed)  # copies of a copy are found by the first one
    return found


def same_pictures(thumbnails: Sequence[bytes]) -> dict[int, int]:
    """For each picture that looks like an earlier one: the first such one, by position. Thumbnails are those of `pictures.thumbnail`."""
    if not thumbnails:
        return {}
    pixels = np.frombuffer(b"".join(thumbnails), dtype=np.uint8).reshape(len(thumbnails), -1).astype(np.int16)
    # Thumbnails that are nearly the same are so in every quarter and colour, too, which is quicker to see.
    quarters = pixels.reshape(-1, 2, _SIDE // 2, 2, _SIDE // 2, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    brightness = pixels.mean(axis=1)
    order = np.argsort(brightness, kind="stable")
    ranked = brightness[order]
    found: dict[int, int] = {}
    for position in range(len(pixels)):
        # Only pictures that are as bright on the whole can look the same.
        low, high = np.searchsorted(ranked, [brightness[position] - _SAME_WITHIN, brightness[position] + _SAME_WITHIN])
        near = order[low:high]
        near = near[near < position]
        near = near[np.abs(quarters[near] - quarters[position]).max(axis=1, initial=0) <= _SAME_WITHIN]
        if len(near):
            like = near[np.abs(pixels[near] - pixels[position]).max(axis=1) <= _SAME_WITHIN]
            if len(like):
                first = int(like.min())
                found[position] = found.get(first, first)
    return found
