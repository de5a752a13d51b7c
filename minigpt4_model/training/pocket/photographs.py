"""Photographs for the pocket model: crops of the few hundred real ones at hand, and what the encoder's ImageNet branch says of them.

Few hundred photographs cannot teach a Q-Former what things look like, and need not: the ImageNet branch knows a thousand things and
tells their names. What is to be learned is to believe it, on photographs. So a crop counts only where the branch's best names
include the photograph's own label, and half the time the names it tells are exchanged for those of another thing, which
then is what the picture is to be called: that way all of ImageNet's names are learned, not only those of the photographs at hand.
"""

import hashlib
import json
import random
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from ...model import MiniGPT4ForConditionalGeneration, MiniGPT4ImageProcessor
from ...model.tag_tokens import REGIONS, WHOLE
from ...model.vision_encoder import PHOTOGRAPH_TAGS
from ...weights.cache import home
from ..features import FeatureCache, build_part
from .dataset import encoder_fingerprint
from .imagenet_names import class_names
from .snapshots import Photograph, load_photographs
from .wording import plural

RECIPE = 1  # part of the cache's name: raise it when crops or features change
BEST = PHOTOGRAPH_TAGS[WHOLE]


@dataclass(frozen=True)
class Recognised:
    """What the ImageNet branch says of a crop: its best names, and how sure it is of each."""

    names: tuple[str, ...]
    sure: tuple[float, ...]


def photograph_names() -> list[str]:
    """The names that the ImageNet branch tells, in the order of `photograph_tags`."""
    return sorted(set(class_names()))


class PhotographCrops:
    """`per_photograph` crops of each photograph: the whole, then parts, half of them mirrored."""

    def __init__(self, per_photograph: int = 8, photographs: list[Photograph] | None = None):
        self.photographs = load_photographs() if photographs is None else photographs
        self.per_photograph = per_photograph

    def __len__(self) -> int:
        return len(self.photographs) * self.per_photograph

    def photograph(self, index: int) -> Photograph:
        return self.photographs[index // self.per_photograph]

    def picture(self, index: int) -> PIL.Image.Image:
        """Crop `index`; the same, always."""
        photograph, turn = self.photograph(index), index % self.per_photograph
        chance = random.Random(f"{photograph.path.name} {turn}")
        with PIL.Image.open(photograph.path) as opened:
            picture = opened.convert("RGB")
        if turn:
            share = chance.uniform(0.35, 1.0) ** 0.5
            width, height = (max(32, round(side * share * chance.uniform(0.9, 1.1))) for side in picture.size)
            width, height = min(width, picture.width), min(height, picture.height)
            left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
            picture = picture.crop((left, top, left + width, top + height))
        return picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) if turn % 2 else picture

    @cached_property
    def directory(self) -> Path:
        about = [f"{photograph.path.name} {photograph.label}" for photograph in self.photographs]
        return home() / "features" / hashlib.sha256(f"{RECIPE} {self.per_photograph} {about}".encode()).hexdigest()[:16]


class TaggedPhotographs:
    """Features `(crops, N, Dv)` of all crops, and which of them the ImageNet branch recognises."""

    def __init__(self, crops: PhotographCrops, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4ImageProcessor):
        self.crops = crops
        directory = crops.directory / encoder_fingerprint(model)
        part = build_part(model, processor, crops.picture, range(len(crops)), directory / "features.npy")
        self.features = FeatureCache([part])
        self.recognised = _recognise(crops, model, processor, directory / "recognised.json")
        self.tags = model.model.vision_model.photograph_tags
        self.known = [index for index in range(len(crops)) if self.name_of(index)]

    def name_of(self, index: int) -> str:
        """The photograph's label, if the ImageNet branch tells it or a synonym among its best names."""
        photograph = self.crops.photograph(index)
        accepted = {words for known in {photograph.label, *photograph.synonyms} for words in (known.lower(), plural(known.lower()))}
        told = self.recognised[index].names
        right = any(re.search(rf"\b{re.escape(words)}\b", name) for name in told for words in accepted)
        return photograph.label if right else ""

    def draw(self, chance: np.random.Generator, count: int, exchanged: float = 0.6) -> tuple[torch.Tensor, list[str]]:
        """Features of `count` recognised crops and what they are to be called; a share has the names of another thing."""
        chosen = [self.known[index] for index in chance.integers(len(self.known), size=count)]
        features, called = self.features[chosen], [self.name_of(index) for index in chosen]
        names, start = photograph_names(), features.shape[1] - self.tags.num_tokens
        for row in np.flatnonzero(chance.random(count) < exchanged):
            other = [int(name) for name in chance.choice(len(names), BEST, replace=False)]
            like = self.recognised[self.known[chance.integers(len(self.known))]]  # as sure as it is of some real photograph
            sure = torch.tensor(like.sure)[None]
            features[row, start:] = self.tags.tell(torch.tensor([other]), sure)[0]
            called[row] = names[other[0]]
        return features, called


@torch.inference_mode()
def _recognise(crops: PhotographCrops, model, processor: MiniGPT4ImageProcessor, path: Path) -> list[Recognised]:
    if not path.exists():
        vision, names, said = model.model.vision_model, photograph_names(), []
        for index in range(len(crops)):
            pixels = processor([crops.picture(index)])["pixel_values"].to(model.device)
            features = vision.photograph_trunk.forward_features(pixels)
            sure, best = vision.photograph_tags.name_probabilities(features)[0, REGIONS.index(WHOLE)].topk(BEST)
            said.append({"names": [names[name] for name in best.tolist()], "sure": [round(value, 4) for value in sure.tolist()]})
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(said), encoding="utf-8")
        temporary.replace(path)
    return [Recognised(tuple(row["names"]), tuple(row["sure"])) for row in json.loads(path.read_text("utf-8"))]
