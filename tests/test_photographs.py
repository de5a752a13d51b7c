"""Imagined photographs on a small random classifier, the names of ImageNet's classes, and the judge of names."""

import pytest
import torch

from minigpt4_model.training.pocket.judge import names_it
from minigpt4_model.training.pocket.photographs import PhotographFeatures, class_names
from minigpt4_model.training.pocket.render import Sprite


@pytest.fixture(scope="module")
def photographs():
    generator = torch.Generator().manual_seed(0)
    backgrounds = torch.rand(6, 81, 256, generator=generator) * (torch.rand(6, 81, 256, generator=generator) < 0.2)
    return PhotographFeatures(backgrounds, torch.randn(1000, 256, generator=generator) * 0.5, torch.zeros(1000))


def draw(photographs, count: int, seed: int = 1):
    return photographs.draw(count, torch.Generator().manual_seed(seed))


def test_the_classifier_takes_them_for_their_class(photographs):
    features, classes = draw(photographs, 60)
    assert features.shape == (60, 81, 256) and classes.shape == (60,)
    probabilities = (features.mean(1) @ photographs.weight.T + photographs.bias).softmax(-1)
    sure = probabilities.gather(1, classes[:, None])[:, 0]
    assert (probabilities.argmax(-1) == classes).float().mean() > 0.95
    assert (sure > 0.39).float().mean() > 0.95
    # Not all equally sure: a photograph of a cat is sometimes clearly one and sometimes hardly.
    assert sure.min() < 0.6 and sure.max() > 0.8
    before = (photographs.backgrounds.mean(1) @ photographs.weight.T).softmax(-1)
    assert before[:, classes].mean() < 0.01


def test_features_stay_what_the_network_can_make(photographs):
    features, _ = draw(photographs, 20)
    assert features.min() >= 0 and features.max() <= 6


def test_a_photograph_is_about_one_region_near_the_middle(photographs):
    empty = PhotographFeatures(torch.zeros(1, 81, 256), photographs.weight, photographs.bias)
    energy = draw(empty, 100)[0].mean(-1).reshape(100, 9, 9)
    corners = energy[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert energy[:, 3:6, 3:6].mean() > 3 * corners.mean()
    assert (energy.flatten(1).amax(dim=1) > 3 * corners.amin(dim=1)).all()


def test_equal_seeds_draw_equal_photographs(photographs):
    one, same, other = draw(photographs, 5, 7), draw(photographs, 5, 7), draw(photographs, 5, 8)
    assert torch.equal(one[0], same[0]) and torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])


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
