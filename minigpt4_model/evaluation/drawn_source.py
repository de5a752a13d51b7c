"""Pictures and captions made for measuring: real JPEG files to decode and texts of lifelike length that mean nothing."""

import hashlib
import io
import random

import numpy as np
import PIL.Image
import PIL.ImageDraw

from ..training.sources import Sample, Source, caption_messages

_WORDS = (
    *("a", "the", "red", "blue", "green", "small", "large", "old", "wooden", "dark", "bright", "dog", "cat", "house", "tree", "river"),
    *("boat", "street", "table", "chair", "cup", "plate", "apple", "bird", "child", "man", "woman", "morning", "light", "standing"),
    *("sitting", "holding", "wearing", "beside", "under", "above", "near", "with"),
)
# Words of a caption: stage 1 as in image-text pairs from the web, stage 2 as in the paper's descriptions.
LENGTHS = {1: (4, 18), 2: (50, 110)}


class DrawnSource(Source):
    """`count` pictures of 640 x 480 with texts for `stage`; the same for the same numbers, always."""

    def __init__(self, count: int, stage: int, size: tuple[int, int] = (640, 480)):
        super().__init__("drawn")
        self.stage, self.size = stage, size
        self.pictures = [self._draw(random.Random(index)) for index in range(count)]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        chance = random.Random(f"words {index}")
        words = chance.choices(_WORDS, k=chance.randint(*LENGTHS[self.stage]))
        return Sample(self.key(index), caption_messages(self.pictures[index], " ".join(words)), self.name, index)

    def key(self, index: int) -> str:
        return f"drawn picture {index}"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"".join(self.pictures)).hexdigest()[:16]

    def _draw(self, chance: random.Random) -> bytes:
        width, height = self.size
        texture = np.random.default_rng(chance.getrandbits(32)).integers(90, 166, (height, width, 3), dtype=np.uint8)
        picture = PIL.Image.fromarray(texture)  # a photograph's file is not small either
        draw = PIL.ImageDraw.Draw(picture)
        for _ in range(12):
            x, y, side = chance.randrange(width), chance.randrange(height), chance.randrange(width // 30, width // 3)
            colour = tuple(chance.randrange(256) for _ in range(3))
            (draw.ellipse if chance.random() < 0.5 else draw.rectangle)((x, y, x + side, y + side), fill=colour)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=88)
        return file.getvalue()
