"""The part of a picture that is trained on: the original's proportions, and the same part for the same sample."""

import random

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.chat.messages import question, text_message
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.training.random_crop import RandomCrop
from minigpt4_model.training.sources import Sample

CROP = RandomCrop(seed=42)


def boxes(width: int, height: int, count: int = 500) -> np.ndarray:
    draw = random.Random(0)
    return np.array([CROP.box(width, height, draw) for _ in range(count)])


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 300), (224, 500)])
def test_boxes_are_those_of_random_resized_crop(size):
    left, upper, right, lower = boxes(*size).T
    assert left.min() >= 0 and upper.min() >= 0 and right.max() <= size[0] and lower.max() <= size[1]
    wide, high = right - left, lower - upper
    shares, shapes = wide * high / (size[0] * size[1]), wide / high
    assert 0.49 < shares.min() < 0.56 and shares.max() <= 1.0 and shares.mean() < 0.85
    assert shapes.min() > 0.74 and shapes.max() < 1.35 and shapes.std() > 0.02
    assert len(set(left)) > 10 and len(set(upper)) > 10


@pytest.mark.parametrize(("size", "expected"), [((1000, 10), (493, 0, 506, 10)), ((10, 1000), (0, 493, 10, 506)), ((1, 1), (0, 0, 1, 1))])
def test_a_strip_gives_its_middle(size, expected):
    assert {tuple(box) for box in boxes(*size, count=20).tolist()} == {expected}


def sample(number: int) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture = load_picture(PIL.Image.fromarray(pixels))
    return Sample("0", [question("Which differs?", [picture, picture]), text_message("assistant", "None.")], "data", 0, number)


def test_the_part_is_a_function_of_the_sample_number():
    whole = sample(3)
    first, second = CROP(whole).pictures
    assert [picture.image.tobytes() for picture in CROP(sample(3)).pictures] == [first.image.tobytes(), second.image.tobytes()]
    others = [CROP(sample(4)).pictures[0], RandomCrop(seed=43)(whole).pictures[0], second]
    assert all(first.image.tobytes() != other.image.tobytes() for other in others)
    assert [picture.image.size for picture in whole.pictures] == [(80, 60)] * 2
    assert CROP(whole).messages[0]["content"][2] == {"type": "text", "text": "Which differs?"}
