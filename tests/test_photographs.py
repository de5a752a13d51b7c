"""Crops of photographs and what the ImageNet branch says of them, the names of ImageNet's classes, and the judge of names."""

import numpy as np
import PIL.Image
import pytest
import torch

from minigpt4_model.model.tag_tokens import WHOLE, TagTokens
from minigpt4_model.training.pocket.imagenet_names import class_names
from minigpt4_model.training.pocket.judge import names_it
from minigpt4_model.training.pocket.photographs import PhotographCrops, TaggedPhotographs, photograph_names
from minigpt4_model.training.pocket.render import Sprite
from minigpt4_model.training.pocket.snapshots import Photograph


@pytest.fixture
def photographs(tmp_path):
    rows = []
    for label, synonyms in (("dog", ("puppy",)), ("pliers", ()), ("horse", ())):
        path = tmp_path / f"{label}.webp"
        PIL.Image.effect_noise((90, 60), 40).convert("RGB").save(path)
        rows.append(Photograph(path, label, (label, *synonyms), "count", "CC0-1.0", "nobody", "here"))
    return rows


@pytest.fixture
def tagged(photographs, tmp_path, monkeypatch):
    """Features are zeros and the ImageNet branch's answers are given, so that nothing has to be encoded."""
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path / "home"))
    crops = PhotographCrops(2, photographs)
    made = TaggedPhotographs.__new__(TaggedPhotographs)
    made.crops = crops
    made.tags = TagTokens(1280, 1000, len(photograph_names()), 576, {WHOLE: 3})
    made.tags.pieces.copy_(torch.randn(len(photograph_names()), 4, 576))
    made.features = FeaturesOfZeros()
    return made


class FeaturesOfZeros:
    def __getitem__(self, indices):
        return torch.zeros(len(indices), 103, 1280)


def recognise(tagged, *answers):
    from minigpt4_model.training.pocket.photographs import Recognised

    tagged.recognised = [Recognised(names, (0.5, 0.2, 0.1)) for names in answers]
    tagged.known = [index for index in range(len(tagged.crops)) if tagged.name_of(index)]


ANSWERS = (
    ("puppy", "cat", "cup"),
    ("cat", "dog", "cup"),
    ("hammer", "cup", "cat"),
    ("cup", "cat", "lamp"),
    ("horses", "cat", "cup"),
    ("seahorse", "cat", "cup"),
)


def test_a_crop_counts_where_its_label_is_among_the_best_names(tagged):
    recognise(tagged, *ANSWERS)
    assert [tagged.name_of(index) for index in range(6)] == ["dog", "dog", "", "", "horse", ""]
    assert tagged.known == [0, 1, 4]


def test_exchanged_names_are_what_the_picture_is_then_called(tagged):
    recognise(tagged, *ANSWERS)
    features, called = tagged.draw(np.random.default_rng(0), 40, exchanged=1.0)
    names = photograph_names()
    assert len(set(called)) > 20 and set(called) <= set(names)
    for row, name in zip(features, called, strict=True):
        pieces = tagged.tags.tell(torch.tensor([[names.index(name)]]), torch.tensor([[0.5]]))[0, 0, :1152]
        torch.testing.assert_close(row[97, :1152], pieces)
    kept, called = tagged.draw(np.random.default_rng(0), 40, exchanged=0.0)
    assert set(called) == {"dog", "horse"} and not kept.any()


def test_draws_follow_from_the_random_numbers(tagged):
    recognise(tagged, *ANSWERS)
    one, same = (tagged.draw(np.random.default_rng(3), 10) for _ in range(2))
    assert torch.equal(one[0], same[0]) and one[1] == same[1]


def test_crops_are_parts_and_always_the_same(photographs):
    crops = PhotographCrops(4, photographs)
    assert len(crops) == 12 and crops.photograph(5).label == "pliers"
    assert crops.picture(0).size == (90, 60)
    sizes = {crops.picture(index).size for index in (1, 2, 3)}
    assert all(32 <= width <= 90 and 32 <= height <= 60 for width, height in sizes) and len(sizes) == 3
    assert crops.picture(6).tobytes() == PhotographCrops(4, photographs).picture(6).tobytes()


def test_other_labels_are_other_features(photographs, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path))
    assert PhotographCrops(2, photographs).directory != PhotographCrops(2, photographs[:2]).directory


def test_classes_have_the_names_that_people_use():
    names = class_names()
    assert len(names) == 1000 and len(set(names)) > 600
    assert all(name == name.lower().strip() and name and "," not in name for name in names)
    assert set(names[151:269]) == {"dog"} and set(names[281:286]) == {"cat"}
    assert [names[index] for index in (1, 208, 292, 340, 388, 404, 470, 671, 817, 963)] == [
        "fish", "dog", "tiger", "zebra", "panda", "airplane", "candle", "bicycle", "car", "pizza",
    ]  # fmt: skip


SCARF = Sprite("set", "icon", 0, "scarf", "red scarf", "scarf", "count", ("muffler", "t-shirt"), ("red",), "train")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("It is a red scarf.", True),
        ("A SCARF!", True),
        ("Two scarves on a hook", True),
        ("a muffler, I think", True),
        ("some t-shirts", True),
        ("a scarfed man", False),
        ("mufflerless", False),
        ("red", False),
        ("", False),
    ],
)
def test_a_thing_is_named_by_whole_words(text, named):
    assert names_it(text, SCARF) is named


def test_a_thing_without_a_head_noun_is_not_named_by_nothing():
    bare = Sprite("set", "icon", 0, "x", "zebra", "", "count", (), (), "train")
    assert names_it("the zebra", bare) and not names_it("nothing at all", bare)
