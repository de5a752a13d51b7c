"""Cached features: computed once, written whole or not at all, found again by number."""

import numpy as np
import PIL.Image
import pytest
import torch

from minigpt4_model.training.features import FeatureCache, build_part
from tests.tiny_chat import build_chatml_model


@pytest.fixture(scope="module")
def tiny():
    return build_chatml_model()


class Pictures:
    """Numbered pictures, each of one colour; counts how often it is asked, and is interrupted at one."""

    def __init__(self, interrupted_at: int | None = None):
        self.asked, self.interrupted_at = 0, interrupted_at

    def __call__(self, index: int) -> PIL.Image.Image:
        if index == self.interrupted_at:
            raise KeyboardInterrupt
        self.asked += 1
        return PIL.Image.new("RGB", (8, 8), (index * 20 % 256, 255 - index * 10, index))


def build(tiny, pictures, indices, path, **options):
    model, processor = tiny
    return build_part(model, processor.image_processor, pictures, indices, path, batch_size=3, **options)


@torch.no_grad()
def features_of(tiny, index: int) -> torch.Tensor:
    model, processor = tiny
    return model.get_image_features(processor(images=Pictures()(index))["pixel_values"]).last_hidden_state[0]


def test_a_part_is_computed_once_and_then_read(tiny, tmp_path):
    pictures = Pictures()
    part = build(tiny, pictures, range(5, 12), tmp_path / "deep" / "5-12.npy")
    assert pictures.asked == 7 and part.shape == (7, 5, 32) and part.dtype == np.float16
    for place, index in enumerate(range(5, 12)):
        assert torch.allclose(torch.from_numpy(part[place].astype(np.float32)), features_of(tiny, index), atol=5e-3)
    again = build(tiny, pictures, range(5, 12), tmp_path / "deep" / "5-12.npy")
    assert pictures.asked == 7 and np.array_equal(again, part)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["5-12.npy"]


def test_an_interrupted_build_leaves_nothing_and_starts_again(tiny, tmp_path):
    path = tmp_path / "part.npy"
    with pytest.raises(KeyboardInterrupt):
        build(tiny, Pictures(interrupted_at=4), range(7), path)
    assert list(tmp_path.iterdir()) == []
    assert len(build(tiny, Pictures(), range(7), path)) == 7


@torch.no_grad()
def test_numbers_run_over_all_parts():
    parts = [np.arange(start, stop, dtype=np.float16).reshape(-1, 1, 1).repeat(2, axis=2) for start, stop in ((0, 4), (4, 5), (5, 10))]
    cache = FeatureCache(parts)
    assert len(cache) == 10
    rows = cache[[9, 0, 4, 3, 8]]
    assert rows.shape == (5, 1, 2) and rows.dtype == torch.float32
    assert rows[:, 0, 0].tolist() == [9, 0, 4, 3, 8]
    assert cache[range(10)[2:4]][:, 0, 1].tolist() == [2, 3]
