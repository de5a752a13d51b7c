"""Sketches as training sees them: numbered pictures, their features, and conversations about them."""

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from ....model import MiniGPT4ForConditionalGeneration, MiniGPT4ImageProcessor
from ....weights.cache import home
from ...conversations import PLACEHOLDER, ConversationSource, Example
from ...features import FeatureCache, build_part
from ...representation import SceneWords, Source
from ..dataset import encoder_fingerprint
from ..stages import jitter
from .compose import compose_sketch
from .layout import Sketch, draw_layout
from .markup import fenced
from .phrases import FOLLOW_UP_REQUESTS, OPENINGS, SKETCH_QUESTIONS, SKETCH_REQUESTS, describe
from .words import layout_words

SAMPLE = 32  # pictures that name the cache's folder: enough to show every habit of drawing


def sketch_scene_words(sketch: Sketch) -> SceneWords:
    """What the image tokens are to say of a sketch."""
    return SceneWords(name="web page", layout=layout_words(sketch))


@dataclass
class PocketSketches:
    """`count` sketches of the layouts that are trained on, or of the held-out ones, with cached features.

    Sketch `i` is composed from the seed `i`, so the set is the same everywhere and needs no list of files.
    """

    count: int
    held_out: bool = False
    part_size: int = 2000

    def compose(self, index: int) -> tuple[np.ndarray, Sketch]:
        return compose_sketch(random.Random(f"sketch {index}"), self.held_out)

    def sketch(self, index: int) -> Sketch:
        """What picture `index` means, which is drawn by chance before its lines are."""
        return draw_layout(random.Random(f"sketch {index}"), self.held_out)

    @cached_property
    def directory(self) -> Path:
        """Named after some of the pictures, so that sketches drawn otherwise get other features."""
        digest = hashlib.sha256(f"sketches {self.held_out} {self.part_size}".encode())
        for index in range(SAMPLE):
            pixels, sketch = self.compose(index)
            digest.update(pixels.tobytes() + sketch.html.encode())
        return home() / "features" / digest.hexdigest()[:16]

    @property
    def parts(self) -> list[range]:
        return [range(start, min(start + self.part_size, self.count)) for start in range(0, self.count, self.part_size)]

    def features(self, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4ImageProcessor) -> FeatureCache:
        """`(count, tokens, Dv)`, read from the cache; parts that are missing are computed."""

        def picture(index: int) -> PIL.Image.Image:
            return PIL.Image.fromarray(self.compose(index)[0])

        directory = self.directory / encoder_fingerprint(model)
        return FeatureCache(
            [build_part(model, processor, picture, part, directory / f"{part.start}-{part.stop}.npy") for part in self.parts]
        )


def sketch_messages(sketch: Sketch, image, chance: random.Random, turns: int = 1) -> list[dict]:
    """A conversation about a sketch: its HTML, now and then what it is; with two turns, first what it is and then its HTML.

    HTML comes as a code block and nothing else.
    """
    described = (chance.choice(SKETCH_QUESTIONS), describe(sketch, chance.choice(OPENINGS)))
    if turns == 2:
        said = [described, (chance.choice(FOLLOW_UP_REQUESTS), fenced(sketch.html))]
    elif chance.random() < 0.2:
        said = [described]
    else:
        said = [(chance.choice(SKETCH_REQUESTS), fenced(sketch.html))]
    messages = []
    for place, (question, answer) in enumerate(said):
        picture = [{"type": "image", "image": image}] if place == 0 else []
        messages.append({"role": "user", "content": [*picture, {"type": "text", "text": question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


def sketch_conversations(cache: FeatureCache, sketches: PocketSketches) -> ConversationSource:
    """Sketches with a request for their HTML, some with a question before it or instead."""
    layouts = [sketches.sketch(index) for index in range(len(cache))]
    words = [sketch_scene_words(layout) for layout in layouts]

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[Example]]:
        chosen, turns = chance.integers(len(cache), size=count).tolist(), 2 if chance.random() < 0.1 else 1
        examples = [
            Example(sketch_messages(layouts[index], PLACEHOLDER, random.Random(int(chance.integers(2**63))), turns), words[index])
            for index in chosen
        ]
        return _jittered(cache[chosen], chance), examples

    return draw


def sketch_words(cache: FeatureCache, sketches: PocketSketches) -> Source:
    """Sketches for the representation stage."""
    words = [sketch_scene_words(sketches.sketch(index)) for index in range(len(cache))]

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[SceneWords]]:
        chosen = chance.integers(len(cache), size=count).tolist()
        return _jittered(cache[chosen], chance), [words[index] for index in chosen]

    return draw


def _jittered(features: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
    """Another page that shines through, or a covered patch, would change what the sketch means: noise does not."""
    return jitter(features, chance, hidden=0.0, mixed=0.0)
