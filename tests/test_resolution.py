"""Pictures of other sizes: the original's outputs at 168 and 266 pixels, and everything that has to know the size."""

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.load import load_engine
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from minigpt4_model.model.resolution import change_image_size
from minigpt4_model.model.vision_encoder import interpolate_positions
from tests.tiny_chat import image, user
from tests.tiny_models import PARITY, build_parity_model, build_tiny_model

# Upstream's ViT with `interpolate_pos_embed`, on the tiny weights of the fixtures; at 224 the same code gives the fixtures to the bit.
EXPECTED = load_file(PARITY / "other_sizes.safetensors")
SETTINGS = GenerationSettings(temperature=0, max_new_tokens=4)


@pytest.fixture
def parity():
    model, processor = build_parity_model()
    yield model, processor
    change_image_size(model, processor, 224)


@pytest.mark.parametrize("side", [168, 266])
def test_features_of_other_sizes_are_the_originals(parity, side):
    model, processor = parity
    change_image_size(model, processor, side)
    pixels = processor.image_processor(PIL.Image.open(PARITY / "img0_rgb_640x480.png"))["pixel_values"]
    assert pixels.shape == (1, 3, side, side)
    with torch.no_grad():
        found = model.model.vision_model.trunk.forward_features(pixels)[0]
        assert model.get_image_features(pixels).pooler_output.shape == (1, 32, 40)
    expected = EXPECTED[f"img0.vit_raw.{side}"]
    assert found.shape == expected.shape and float((found - expected).abs().max()) < 3e-5


def test_positions_stay_where_they_were_trained():
    positions = torch.randn(1, 1 + 16 * 16, 8, generator=torch.Generator().manual_seed(0))
    assert interpolate_positions(positions, 16) is positions
    larger = interpolate_positions(positions, 48)
    assert larger.shape == (1, 1 + 48 * 48, 8) and torch.equal(larger[:, 0], positions[:, 0])
    # Three times the grid without aligned corners: the middle of each three is the old position.
    middle = larger[0, 1:].reshape(48, 48, 8)[1::3, 1::3]
    assert torch.allclose(middle, positions[0, 1:].reshape(16, 16, 8), atol=1e-5)
    # No antialias: a third of the grid takes each third position and no mean of them.
    smaller = interpolate_positions(larger, 16)
    assert torch.allclose(smaller, positions, atol=1e-5)
    half = interpolate_positions(positions.bfloat16(), 20)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, interpolate_positions(positions.bfloat16().float(), 20).bfloat16())


def test_without_a_q_former_there_are_more_tokens():
    model, processor = build_tiny_model("llama2")
    assert Engine(model, processor).answer([user(image(1), "What?")], SETTINGS).usage.image_tokens == 64
    change_image_size(model, processor, 448)
    assert model.get_image_features(torch.zeros(1, 3, 448, 448)).pooler_output.shape == (1, 256, 32)
    assert Engine(model, processor).answer([user(image(1), "What?")], SETTINGS).usage.image_tokens == 256


def test_a_model_of_another_size_can_be_saved_and_put_back(tmp_path):
    model, processor = build_tiny_model("eva")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    change_image_size(model, processor, 280)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = MiniGPT4ForConditionalGeneration.from_pretrained(tmp_path)
    reopened = MiniGPT4Processor.from_pretrained(tmp_path)
    vision = loaded.config.vision_config
    assert (vision.image_size, vision.trained_image_size, reopened.image_processor.image_size) == (280, 224, 280)
    pixels = reopened.image_processor(PIL.Image.new("RGB", (50, 40), "green"))["pixel_values"]
    assert torch.equal(loaded.get_image_features(pixels).pooler_output, model.get_image_features(pixels).pooler_output)
    change_image_size(loaded, reopened, 224)
    assert vision is not loaded.config.vision_config and loaded.config.vision_config.trained_image_size is None
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.state_dict().items())


def test_an_engine_is_opened_at_a_size(tmp_path):
    model, processor = build_tiny_model("eva")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    engine = load_engine(tmp_path, device="cpu", dtype="float32", image_size=308)
    change_image_size(model, processor, 308)
    messages = [user(image(1), "What?")]
    assert engine.answer(messages, SETTINGS).token_ids == Engine(model, processor).answer(messages, SETTINGS).token_ids


def test_sizes_that_cannot_be_had_change_nothing():
    model, processor = build_tiny_model("eva")
    for size, hint in ((300, "such as 294"), (0, "such as 14"), (-14, "such as 14"), (7, "such as 14")):
        with pytest.raises(ValueError, match=f"--image-size {size}.*multiple of the patch size 14, {hint}"):
            change_image_size(model, processor, size)
    lite, lite_processor = build_tiny_model("lite2")
    with pytest.raises(ValueError, match="reads pictures of 260 only"):
        change_image_size(lite, lite_processor, 320)
    change_image_size(lite, lite_processor, 260)
    assert processor.image_processor.image_size == model.config.vision_config.image_size == 224
    for shape in ((1, 3, 224, 238), (1, 3, 225, 225), (3, 224, 224), (1, 1, 224, 224), (1, 3, 0, 0)):
        with pytest.raises(ValueError, match="multiple of 14"):
            model.get_image_features(torch.zeros(shape))
