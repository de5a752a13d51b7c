"""A random part of every picture that is trained on, which is the original's only augmentation.

Source: upstream's `blip2_image_train` (`Blip2ImageTrainProcessor`), which is torchvision's `RandomResizedCrop(scale=(0.5, 1.0))`; the
part is then prepared as every picture is. Which part is a function of the sample's number, so a resumed run sees the same.
"""

import math
import random
from dataclasses import dataclass, replace

from .sources import Sample

RATIO = (3 / 4, 4 / 3)  # RandomResizedCrop's shapes: width by height
_ATTEMPTS = 10

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class RandomCrop:
    """`crop(sample)` is the sample with its opened pictures cut; `scale` is the least and the greatest part of their area."""

    seed: int
    scale: tuple[float, float] = (0.5, 1.0)

    def __call__(self, sample: Sample) -> Sample:
        draw = random.Random(f"crop {self.seed} {sample.number}")
        messages = [{**message, "content": [self._cut(part, draw) for part in message["content"]]} for message in sample.messages]
        return replace(sample, messages=messages)

    def _cut(self, part: dict, draw: random.Random) -> dict:
        if part["type"] != "image":
            return part
        picture = part["image"]
        return {**part, "image": replace(picture, image=picture.image.crop(self.box(*picture.image.size, draw)))}

    def box(self, width: int, height: int, draw: random.Random) -> Box:
        """`(left, upper, right, lower)` in pixels, as `RandomResizedCrop.get_params` draws it.

        After ten boxes that do not fit, which happens to long strips only, it is the middle, at the nearest shape allowed.
        """
        for _ in range(_ATTEMPTS):
            area = width * height * draw.uniform(*self.scale)
            ratio = math.exp(draw.uniform(*map(math.log, RATIO)))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                left, upper = draw.randint(0, width - wide), draw.randint(0, height - high)
                return left, upper, left + wide, upper + high
        ratio = min(max(width / height, RATIO[0]), RATIO[1])
        wide, high = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
        left, upper = (width - wide) // 2, (height - high) // 2
        return left, upper, left + wide, upper + high
