"""Pictures and prompts to tensors: the original's pixels and ids, and a processor that comes back from disk as it was."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from minigpt4_model.model import MiniGPT4ImageProcessor, MiniGPT4Processor
from minigpt4_model.model.configuration import CLIP_MEAN, CLIP_STD
from tests.tiny_chat import build_chatml_model
from tests.tiny_models import PARITY, build_tiny_model, llama_tokenizer

BICUBIC = PIL.Image.Resampling.BICUBIC


def noise(width: int, height: int, mode: str = "RGB") -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return PIL.Image.fromarray(pixels, mode)


@pytest.fixture(scope="module")
def processor():
    return build_tiny_model()[1]


@pytest.mark.parametrize(("index", "name"), [(0, "img0_rgb_640x480.png"), (1, "img1_rgba_300x500.png")])
def test_pixels_are_the_originals(index, name):
    pixels = MiniGPT4ImageProcessor()(PIL.Image.open(PARITY / name))["pixel_values"]
    assert torch.equal(pixels[0], load_file(PARITY / "fixtures.safetensors")[f"img{index}.pixels"])


def test_a_tall_picture_is_resized_across_first():
    image = noise(90, 900)
    pixels = MiniGPT4ImageProcessor(image_mean=(0, 0, 0), image_std=(1, 1, 1)).normalize(image).mul(255).round().byte().permute(1, 2, 0)
    across_first = np.array(image.resize((224, 900), BICUBIC).resize((224, 224), BICUBIC))
    down_first = np.array(image.resize((90, 224), BICUBIC).resize((224, 224), BICUBIC))
    assert np.array_equal(pixels.numpy(), across_first)
    assert not np.array_equal(across_first, down_first)


def test_alpha_is_dropped_not_blended():
    image = noise(224, 224, "RGBA")
    processor = MiniGPT4ImageProcessor()
    assert torch.equal(processor.normalize(image), processor.normalize(PIL.Image.fromarray(np.array(image)[..., :3])))


def test_normalisation_values():
    white = PIL.Image.new("RGB", (10, 20), "white")
    clip = MiniGPT4ImageProcessor()(white)["pixel_values"]
    assert clip.shape == (1, 3, 224, 224) and clip.dtype == torch.float32
    for channel in range(3):
        assert clip[0, channel].unique().tolist() == pytest.approx([(1 - CLIP_MEAN[channel]) / CLIP_STD[channel]], abs=1e-6)
    halves = MiniGPT4ImageProcessor(32, (0.5,) * 3, (0.5,) * 3)([white, PIL.Image.new("RGB", (5, 5), "black")])["pixel_values"]
    assert halves.shape == (2, 3, 32, 32)
    assert halves[0].unique().tolist() == [1.0] and halves[1].unique().tolist() == [-1.0]


def test_the_processor_fits_its_configuration():
    _, processor = build_tiny_model("llama2")
    assert (processor.num_image_tokens, processor.image_token_id, processor.add_bos) == (64, 32000, True)
    _, processor = build_tiny_model("lite2")
    assert (processor.num_image_tokens, processor.image_processor.image_size) == (32, 260)
    assert build_chatml_model()[1].add_bos is False


@pytest.mark.parametrize("build", [lambda: build_tiny_model("llama2"), build_chatml_model], ids=["llama2", "chatml"])
def test_saved_and_loaded_is_the_same(build, tmp_path):
    _, processor = build()
    processor.save_pretrained(tmp_path)
    loaded = MiniGPT4Processor.from_pretrained(tmp_path)
    for name in ("image_token", "image_token_id", "num_image_tokens", "add_bos"):
        assert getattr(loaded, name) == getattr(processor, name), name
    assert loaded.image_processor.to_dict() == processor.image_processor.to_dict()
    prompt = "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n <Img><ImageHere></Img> Was ist das? ###Human: hé [/INST] "
    assert loaded.tokenize_prompt(prompt) == processor.tokenize_prompt(prompt)
    image = noise(30, 40)
    assert torch.equal(loaded(images=image)["pixel_values"], processor(images=image)["pixel_values"])


def test_the_saved_files_hold_no_path_of_this_machine(tmp_path):
    build_tiny_model()[1].save_pretrained(tmp_path)
    assert str(PARITY.parent) not in json.dumps([path.read_text() for path in tmp_path.glob("*config.json")])


def test_segments_are_tokenised_on_their_own(processor):
    tokenizer = llama_tokenizer()
    first, second = (tokenizer(text, add_special_tokens=False).input_ids for text in ("###Human: <Img>", "</Img> what ### is it"))
    assert processor.tokenize_prompt("###Human: <Img><ImageHere></Img> what ### is it") == [1, *first, *[32000] * 32, *second]


def test_number_of_pictures_must_fit(processor):
    with pytest.raises(ValueError, match="2 <ImageHere>, but 1 pictures"):
        processor(text=["<ImageHere> a", "<ImageHere> b"], images=noise(4, 4))
    with pytest.raises(ValueError, match="0 <ImageHere>, but 1 pictures"):
        processor(text="a", images=[noise(4, 4)])


def test_rows_are_padded_on_the_left(processor):
    batch = processor(text=["one", "one and quite a few more words"])
    short, long = processor.tokenize_prompt("one"), processor.tokenize_prompt("one and quite a few more words")
    padding = len(long) - len(short)
    assert batch["input_ids"][0, padding:].tolist() == short and batch["input_ids"][1].tolist() == long
    assert batch["attention_mask"].tolist() == [[0] * padding + [1] * len(short), [1] * len(long)]
    assert processor.image_token_id not in batch["input_ids"]


def test_text_only_and_pictures_only(processor):
    assert set(processor(text="hello")) == {"input_ids", "attention_mask"}
    only = processor(images=[noise(4, 4), noise(5, 9)])
    assert set(only) == {"pixel_values"} and only["pixel_values"].shape == (2, 3, 224, 224)


def test_a_serving_engine_learns_the_tokens_per_picture():
    _, processor = build_tiny_model("llama2")
    counts = processor._get_num_multimodal_tokens(image_sizes=[(480, 640), (10, 10)])
    assert counts.num_image_tokens == [64, 64]
    assert processor.replace_image_token() == "<ImageHere>" * 64
