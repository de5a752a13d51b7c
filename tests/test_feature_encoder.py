"""Features through the store: the same as the model's own, computed once, stale for nobody."""

import io
import pickle

import numpy as np
import PIL.Image
import pytest
import torch

from minigpt4_model.chat.pictures import PictureError, load_picture
from minigpt4_model.chat.render import render
from minigpt4_model.chat.templates import get_template
from minigpt4_model.training import feature_encoder
from minigpt4_model.training.feature_encoder import CachedEncoder, FeatureOpener, describe_features
from minigpt4_model.training.feature_store import FeatureStore, FeatureStoreError
from tests.tiny_chat import build_chatml_model
from tests.tiny_models import build_tiny_model


@pytest.fixture
def tiny():
    model, processor = build_chatml_model()
    return model.requires_grad_(False), processor


def png(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make(tiny, root, kind="vision", **options):
    model, processor = tiny
    store = FeatureStore(root, describe_features(model, processor.image_processor, kind), flush_s=0, refresh_s=0)
    return FeatureOpener(store, processor.image_processor), CachedEncoder(model, store, **options)


@pytest.fixture
def encoder_runs(monkeypatch):
    """How many pictures went through the encoder in each run."""
    runs, compute = [], feature_encoder.compute_features

    def counted(model, pixel_values, kind):
        runs.append(len(pixel_values))
        return compute(model, pixel_values, kind)

    monkeypatch.setattr(feature_encoder, "compute_features", counted)
    return runs


@torch.no_grad()
def own(tiny, number: int, kind: str) -> torch.Tensor:
    """What the model itself makes of the picture, in the order of the paper's figure."""
    model, processor = tiny
    features = model.model.vision_model(processor(images=load_picture(png(number)).image)["pixel_values"]).last_hidden_state
    if kind == "qformer":
        features = model.model.qformer(query_embeds=model.model.query_tokens, encoder_hidden_states=features).last_hidden_state
    return features[0]


@pytest.mark.parametrize("kind", ["vision", "qformer"])
def test_kept_features_are_the_models_own_and_are_computed_once(tiny, tmp_path, kind, encoder_runs):
    opener, encoder = make(tiny, tmp_path, kind, batch_size=2)
    encoder_runs.clear()
    first = encoder([opener(png(number)) for number in (1, 2, 3)])
    assert encoder_runs == [2, 2]  # the third with a blank one
    for number, features in zip((1, 2, 3), first, strict=True):
        assert torch.allclose(features, own(tiny, number, kind), atol=4e-3, rtol=2e-3)
    opener, encoder = make(tiny, tmp_path, kind, batch_size=2)
    encoder_runs.clear()
    again = encoder([opener(png(number)) for number in (3, 1, 2)])
    assert encoder_runs == [] and (encoder.hits, encoder.misses) == (3, 0)
    assert torch.equal(again, first[[2, 0, 1]])


def test_a_kept_picture_is_not_even_decoded(tiny, tmp_path):
    opener, encoder = make(tiny, tmp_path)
    path = tmp_path / "picture.png"
    path.write_bytes(png(1))
    features = encoder([opener(path)])

    def refuse(picture):
        raise AssertionError("opened")

    opener.open_picture = refuse
    assert torch.equal(encoder([opener(path)]), features)
    assert torch.equal(encoder([opener(png(1))]), features)
    path.write_bytes(png(2))
    with pytest.raises(AssertionError, match="opened"):
        opener(path)


def test_a_row_does_not_depend_on_its_neighbours(tiny, tmp_path):
    opener, encoder = make(tiny, tmp_path / "a", batch_size=4)
    together = encoder([opener(png(number)) for number in range(6)])
    opener, encoder = make(tiny, tmp_path / "b", batch_size=4)
    alone = torch.cat([encoder([opener(png(number))]) for number in (5, 4, 3, 2, 1, 0)]).flip(0)
    assert torch.equal(together, alone)


def test_a_picture_twice_in_a_batch_is_encoded_once(tiny, tmp_path):
    opener, encoder = make(tiny, tmp_path)
    features = encoder([opener(png(1)), opener(png(2)), opener(png(1))])
    assert encoder.misses == 2 and torch.equal(features[0], features[2]) and not torch.equal(features[0], features[1])


def test_what_was_kept_after_the_worker_looked_is_used(tiny, tmp_path, encoder_runs):
    opener, encoder = make(tiny, tmp_path)
    late = pickle.loads(pickle.dumps(opener(png(1))))
    assert late.pixel_values is not None
    encoder([opener(png(1))])
    encoder_runs.clear()
    encoder([late])
    assert encoder_runs == []


def changed_encoder(model, processor):
    model.model.vision_model.trunk.blocks[0].mlp.fc1.weight.data[0, 0] += 1


def changed_norm(model, processor):
    model.model.vision_model.post_layernorm.bias.data[0] += 1


def changed_qformer(model, processor):
    model.model.qformer.layernorm.bias.data[0] += 1


def changed_queries(model, processor):
    model.model.query_tokens.data[0, 0, 0] += 1


def changed_preparation(model, processor):
    processor.image_processor.image_mean[0] += 0.1


def changed_precision(model, processor):
    model.model.vision_model.trunk.bfloat16()


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (changed_encoder, ("vision", "qformer")),
        (changed_norm, ("vision", "qformer")),
        (changed_preparation, ("vision", "qformer")),
        (changed_precision, ("vision", "qformer")),
        (changed_qformer, ("qformer",)),
        (changed_queries, ("qformer",)),
    ],
)
def test_whatever_features_depend_on_makes_other_features(tiny, change, kinds):
    model, processor = tiny
    before = {kind: describe_features(model, processor.image_processor, kind).fingerprint for kind in ("vision", "qformer")}
    assert before == {kind: describe_features(model, processor.image_processor, kind).fingerprint for kind in ("vision", "qformer")}
    change(model, processor)
    after = {kind: describe_features(model, processor.image_processor, kind).fingerprint for kind in ("vision", "qformer")}
    assert tuple(kind for kind in before if before[kind] != after[kind]) == kinds


def test_a_learning_qformer_is_not_cached(tiny):
    model, processor = tiny
    model.model.language_projection.requires_grad_(True)
    assert describe_features(model, processor.image_processor, "qformer").shape == (32, 32)
    model.model.query_tokens.requires_grad_(True)
    with pytest.raises(FeatureStoreError, match="--no-train-qformer"):
        describe_features(model, processor.image_processor, "qformer")
    assert describe_features(model, processor.image_processor, "vision").shape == (5, 32)


def test_a_model_without_a_qformer_caches_the_encoder():
    model, processor = build_tiny_model("llama2")
    assert describe_features(model, processor.image_processor, "vision").shape == (257, 48)
    with pytest.raises(FeatureStoreError, match="--cache-features vision"):
        describe_features(model, processor.image_processor, "qformer")


def test_convolutions_run_in_the_quick_layout_with_the_same_outcome(tmp_path):
    model, processor = build_tiny_model("lite2")
    pixels = torch.randn(2, 3, 260, 260)
    with torch.no_grad():
        plain = model.model.vision_model(pixels).last_hidden_state
    before = describe_features(model, processor.image_processor, "vision")
    assert torch.allclose(feature_encoder.compute_features(model, pixels, "vision"), plain, atol=1e-4)
    assert describe_features(model, processor.image_processor, "vision") == before
    assert before.shape == (82, 1280)


@torch.no_grad()
def test_what_training_computes_is_what_is_kept():
    model, _ = build_tiny_model("lite2")
    pixels = torch.randn(2, 3, 260, 260)
    with torch.autocast("cpu", torch.bfloat16):
        in_training = model.model.vision_model(pixels).last_hidden_state
    assert torch.allclose(in_training, feature_encoder.compute_features(model, pixels, "vision"), atol=1e-4)


def test_filling_goes_on_where_it_stopped_and_counts_what_cannot_be_opened(tiny, tmp_path):
    opener, encoder = make(tiny, tmp_path, batch_size=2)
    assert encoder.fill([png(1), png(2), b"no picture", png(3)], opener) == (3, 1)
    opener, encoder = make(tiny, tmp_path, batch_size=2)
    assert encoder.fill([png(number) for number in range(1, 6)], opener) == (5, 0)
    assert encoder.misses == 2 and len(encoder.store) == 5


def test_a_picture_that_cannot_be_opened_says_so(tiny, tmp_path):
    opener, _ = make(tiny, tmp_path)
    with pytest.raises(PictureError):
        opener(b"no picture")
    with pytest.raises(OSError):
        opener(tmp_path / "nowhere.png")


def test_the_renderer_takes_such_a_picture(tiny, tmp_path):
    from minigpt4_model.chat.messages import load_turns

    opener, _ = make(tiny, tmp_path)
    model, processor = tiny
    messages = [{"role": "user", "content": [{"type": "image", "image": opener(png(1))}]}, {"role": "assistant", "content": "dots"}]
    rendered = render(
        load_turns(messages),
        get_template("chatml"),
        processor.tokenizer,
        image_token_id=processor.image_token_id,
        num_image_tokens=32,
        add_generation_prompt=False,
    )
    assert rendered.input_ids.count(processor.image_token_id) == 32 and len(rendered.pictures) == 1


@pytest.mark.gpu
def test_features_on_a_gpu_are_those_of_the_cpu(tiny, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    opener, encoder = make(tiny, tmp_path / "cpu")
    expected = encoder([opener(png(1)), opener(png(2))])
    tiny[0].cuda()
    try:
        opener, encoder = make(tiny, tmp_path / "gpu")
        found = encoder([opener(png(1)), opener(png(2))])
    finally:
        tiny[0].cpu()
    assert found.device.type == "cuda" and torch.allclose(found.cpu(), expected, atol=5e-3)
