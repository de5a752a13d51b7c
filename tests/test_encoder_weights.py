"""The wheel's EfficientNet-Lite2 under timm's names: it still knows ImageNet on real photographs (those that scikit-image carries)."""

import importlib.util
from pathlib import Path

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.model.torchvision_shim import define_missing_torchvision_ops
from minigpt4_model.weights.encoder import ARCHITECTURE, STAGE_DEPTHS, convert_encoder, rename_encoder, timm_name
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.pocket import ensure_pocket

define_missing_torchvision_ops()
import timm  # noqa: E402


def build(num_classes=1000):
    return timm.create_model(ARCHITECTURE, num_classes=num_classes).eval()


def wheel_names(state):
    """A state dict under the wheel's names, found by trying them all: the inverse of `timm_name`."""
    blocks = sum(STAGE_DEPTHS)
    parts = ["_expand_conv", "_depthwise_conv", "_project_conv", "_bn0", "_bn1", "_bn2"]
    modules = [f"_blocks.{block}.{part}" for block in range(blocks) for part in parts] + ["_conv_stem", "_bn0", "_conv_head", "_bn1", "_fc"]
    fields = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    names = [f"{module}.{field}" for module in modules for field in fields]
    return {name: state[timm_name(name)] for name in names if timm_name(name) in state}


def test_every_name_is_mapped_once():
    state = build().state_dict()
    old = wheel_names(state)
    assert len(old) == len(state) == 386
    assert {timm_name(name) for name in old} == set(state)


@pytest.mark.parametrize(
    "name", ["_blocks.21._bn1.weight", "_blocks.0._expand_conv.weight", "_blocks.x._bn1.weight", "_swish.weight", "module._fc.bias", "_fc"]
)
def test_names_that_a_lite2_does_not_have(name):
    assert timm_name(name) not in build().state_dict()


def test_what_is_unknown_missing_or_misshapen_is_listed():
    state = wheel_names(build().state_dict())
    del state["_conv_head.weight"]
    state["_se_reduce.weight"] = torch.zeros(1)
    state["_fc.bias"] = torch.zeros(10)
    with pytest.raises(WeightsError) as caught:
        rename_encoder(state)
    assert "unknown: _se_reduce.weight" in str(caught.value)
    assert "missing: conv_head.weight" in str(caught.value)
    assert "classifier.bias (10,) instead of (1000,)" in str(caught.value)


def test_conversion_keeps_every_value(tmp_path):
    model = build()
    torch.save(wheel_names(model.state_dict()), tmp_path / "wheel.pth")
    convert_encoder(tmp_path / "wheel.pth", tmp_path / "model.safetensors")
    converted = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(converted[name], tensor) for name, tensor in model.state_dict().items())


def test_a_cut_file_is_named(tmp_path):
    torch.save({"_fc.bias": torch.zeros(1000)}, tmp_path / "wheel.pth")
    (tmp_path / "wheel.pth").write_bytes((tmp_path / "wheel.pth").read_bytes()[:500])
    with pytest.raises(WeightsError, match="wheel.pth is not a whole PyTorch file"):
        convert_encoder(tmp_path / "wheel.pth", tmp_path / "model.safetensors")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"_fc.bias": Path}, tmp_path / "wheel.pth")
    with pytest.raises(WeightsError, match="wheel.pth"):
        convert_encoder(tmp_path / "wheel.pth", tmp_path / "model.safetensors")


@pytest.fixture(scope="module")
def classify():
    """`classify(file)`: the three likeliest ImageNet classes of one of scikit-image's photographs, with their probabilities."""
    from timm.data import ImageNetInfo, create_transform, resolve_data_config

    model = build()
    model.load_state_dict(load_file(ensure_pocket().vision_encoder_file), strict=True)
    settings = resolve_data_config(model=model)
    assert settings["input_size"] == (3, 260, 260) and settings["mean"] == settings["std"] == (0.5, 0.5, 0.5)
    # The whole picture squashed to a square, as this project looks at pictures; timm's own evaluation cuts out the middle.
    transform, names = create_transform(**{**settings, "crop_mode": "squash", "crop_pct": 1.0}), ImageNetInfo()
    folder = Path(importlib.util.find_spec("skimage").origin).parent / "data"

    @torch.inference_mode()
    def run(file):
        pixels = transform(PIL.Image.open(folder / file).convert("RGB"))[None]
        top = model(pixels).softmax(-1)[0].topk(3)
        return {names.index_to_description(int(index)): float(value) for index, value in zip(top.indices, top.values, strict=True)}

    return run


@pytest.mark.network
@pytest.mark.parametrize(
    ("file", "name", "least"),
    [("coffee.png", "espresso", 0.85), ("chelsea.png", "Egyptian cat", 0.7), ("camera.png", "tripod", 0.7)],
)
def test_photographs_are_named(classify, file, name, least):
    likeliest, probability = next(iter(classify(file).items()))
    assert likeliest == name
    assert probability > least


@pytest.mark.network
@pytest.mark.parametrize(("file", "name"), [("rocket.jpg", "missile"), ("motorcycle_left.png", "motor scooter")])
def test_unusual_photographs_are_named_among_three(classify, file, name):
    assert any(found.startswith(name) for found in classify(file))
