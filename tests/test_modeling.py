"""The whole model on tiny random weights: shapes, splicing, loss, generation, saving, precision and what it refuses."""

import copy
import re

import pytest
import torch
from torch.nn import functional as F

from minigpt4_model.model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor, MiniGPT4VisionConfig
from minigpt4_model.model.configuration import bert_base_qformer
from minigpt4_model.model.qformer import run_qformer
from minigpt4_model.model.vision_encoder import MiniGPT4VisionModel, sincos_positions
from tests.tiny_models import build_tiny_model

KINDS = ("eva", "lite2", "llama2")
PROMPT = "###Human: <Img><ImageHere></Img> What is this? ###Assistant:"


@pytest.fixture(scope="module")
def built():
    models = {kind: build_tiny_model(kind) for kind in KINDS}
    for weight in models["lite2"][0].model.vision_model.trunk.parameters():
        if weight.ndim == 4:  # drawn as narrow as a transformer's, a convolution's signal fades to nothing
            torch.nn.init.kaiming_normal_(weight)
    return models


@pytest.fixture
def eva(built):
    return built["eva"]


@pytest.fixture(params=KINDS)
def each(request, built):
    return built[request.param]


@pytest.fixture
def uninitialised_is_nan():
    """New memory holds NaN, so that whatever a model forgets to initialise shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


def pixels(model, count: int, seed: int = 0) -> torch.Tensor:
    side = model.config.vision_config.image_size
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def image_tokens(model, count: int, seed: int = 0) -> torch.Tensor:
    """Picture features as wide apart as words are."""
    shape = (count, model.config.num_image_tokens, model.config.text_config.hidden_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ids(processor, prompt: str = PROMPT) -> torch.Tensor:
    return torch.tensor([processor.tokenize_prompt(prompt)])


def padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """Rows padded on the left, as the processor pads them."""
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[0] * (width - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),
    }


# --- saving and loading


@torch.no_grad()
def test_saved_and_loaded_is_the_same(each, tmp_path, uninitialised_is_nan):
    # Not at the top: with a torchvision built for CUDA they can be imported only after the model.
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor

    model, processor = each
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(loaded, MiniGPT4ForConditionalGeneration) and not loaded.training
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    picture = pixels(model, 1)
    expected = model(input_ids=ids(processor), pixel_values=picture).logits
    assert torch.equal(loaded(input_ids=ids(processor), pixel_values=picture).logits, expected)

    base = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(base.get_image_features(picture).pooler_output, model.get_image_features(picture).pooler_output)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is MiniGPT4Config and config.num_image_tokens == model.config.num_image_tokens
    reloaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(reloaded) is MiniGPT4Processor and reloaded.tokenize_prompt(PROMPT) == processor.tokenize_prompt(PROMPT)
    assert AutoImageProcessor.from_pretrained(tmp_path).image_size == model.config.vision_config.image_size


def test_a_tied_output_layer_stays_tied(eva, tmp_path):
    sizes = eva[0].config.to_dict()
    config = MiniGPT4Config(**{**sizes, "text_config": {**sizes["text_config"], "tie_word_embeddings": True}})
    assert config.tie_word_embeddings
    model = MiniGPT4ForConditionalGeneration(config)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    loaded, report = MiniGPT4ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


@torch.no_grad()
def test_built_without_memory_and_filled_gives_the_same(each, uninitialised_is_nan):
    """timm's buffers that no file holds (EVA's k bias) must not keep what was in memory."""
    model, processor = each
    built = MiniGPT4ForConditionalGeneration.from_pretrained(None, config=model.config, state_dict=model.state_dict())
    picture = pixels(model, 1)
    expected = model(input_ids=ids(processor), pixel_values=picture).logits
    assert expected.isfinite().all()
    assert torch.equal(built(input_ids=ids(processor), pixel_values=picture).logits, expected)


def test_configuration_comes_back_whole(eva, tmp_path):
    record = {"language_model": {"name": "tiny", "hidden_size": 32}, "vision_encoder": {"name": "eva", "fingerprint": "ab"}}
    given = {"chat_template_name": "chatml", "trained_with": record, "frozen_parts": "pocket", "num_query_tokens": 7}
    config = MiniGPT4Config(**{**eva[0].config.to_dict(), **given})
    config.save_pretrained(tmp_path)
    loaded = MiniGPT4Config.from_pretrained(tmp_path)
    assert (loaded.chat_template_name, loaded.trained_with, loaded.frozen_parts) == ("chatml", record, "pocket")
    assert loaded.num_image_tokens == 7 and loaded.image_token_id == 32000
    assert loaded.vision_config.hidden_size == 48 and loaded.vision_config.num_hidden_layers == 2
    assert loaded.qformer_config.hidden_size == 32 and loaded.qformer_config.use_qformer_text_input is False
    assert loaded.text_config.model_type == "llama" and loaded.text_config.num_key_value_heads == 2
    without = MiniGPT4Config(**{**config.to_dict(), "qformer_config": None})
    without.save_pretrained(tmp_path)
    assert MiniGPT4Config.from_pretrained(tmp_path).qformer_config is None


def test_defaults_are_the_papers_numbers():
    vision, qformer = MiniGPT4VisionConfig(), bert_base_qformer()
    assert (vision.image_size, vision.patch_size, vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads) == (
        224, 14, 1408, 39, 16,
    )  # fmt: skip
    assert (qformer.hidden_size, qformer.num_hidden_layers, qformer.encoder_hidden_size, qformer.layer_norm_eps) == (768, 12, 1408, 1e-12)


# --- pictures


@pytest.mark.parametrize(("kind", "encoded", "tokens"), [("eva", (257, 48), 32), ("lite2", (82, 1280), 32), ("llama2", (257, 48), 64)])
@torch.no_grad()
def test_shapes_of_a_picture(built, kind, encoded, tokens):
    model, _ = built[kind]
    out = model.get_image_features(pixels(model, 2))
    assert out.last_hidden_state.shape == (2, *encoded) and out.last_hidden_state.dtype == torch.float32
    assert out.pooler_output.shape == (2, tokens, 32)
    assert model.config.num_image_tokens == tokens


@torch.no_grad()
def test_without_qformer_four_neighbours_are_joined_in_row_order(built):
    model, _ = built["llama2"]
    features = torch.randn(1, 257, 48)
    expected = model.model.language_projection(torch.cat([features[0, i] for i in range(5, 9)]))
    assert torch.allclose(model.model.project_features(features)[0, 1], expected, atol=1e-5)


def test_positions_of_the_convolutions_patches():
    codes = sincos_positions(side=3, width=8)
    assert codes.shape == (9, 8)
    assert torch.equal(codes[5, :4], codes[3, :4]) and torch.equal(codes[5, 4:], codes[2, 4:])  # row 1, column 2
    assert len({tuple(code.tolist()) for code in codes}) == 9


@torch.no_grad()
def test_the_picture_changes_the_answer(each):
    model, processor = each
    one, other = (model(input_ids=ids(processor), pixel_values=pixels(model, 1, seed)).logits[:, -1] for seed in (1, 2))
    assert (one - other).abs().max() > 1e-3


def test_pictures_of_another_size_are_refused(built):
    with pytest.raises(ValueError, match=r"pixel_values must be \(B, 3, 224, 224\), not \(1, 3, 260, 260\)"):
        built["eva"][0].get_image_features(torch.zeros(1, 3, 260, 260))


def test_unknown_encoder_is_refused():
    with pytest.raises(ValueError, match="architecture is 'resnet'; there are eva_vit, efficientnet_lite2, efficientnet_lite2_tags"):
        MiniGPT4VisionModel(MiniGPT4VisionConfig(architecture="resnet"))


def test_qformer_must_fit_the_encoder():
    with pytest.raises(ValueError, match="encoder_hidden_size is 1408, but the vision encoder's hidden_size is 48"):
        MiniGPT4Config(vision_config={"hidden_size": 48}, qformer_config=bert_base_qformer().to_dict())


# --- splicing


@torch.no_grad()
def test_pictures_take_their_places_in_reading_order(eva):
    model, _ = eva
    place = model.config.image_token_id
    rows = torch.tensor([[1, *[place] * 32, 5, *[place] * 32], [1, 7, 8, *[place] * 32, *range(9, 40)]])
    tokens = image_tokens(model, 3)
    embeds = model.embed_prompt(rows, tokens)
    words = model.get_input_embeddings()
    assert embeds.shape == (2, 66, 32)
    assert torch.equal(embeds[0, 1:33], tokens[0]) and torch.equal(embeds[0, 34:], tokens[1]) and torch.equal(embeds[1, 3:35], tokens[2])
    assert torch.equal(embeds[0, [0, 33]], words(torch.tensor([1, 5])))
    assert torch.equal(embeds[1, 35:], words(torch.arange(9, 40)))


@pytest.mark.parametrize(("given", "made"), [(None, 0), (2, 64)])
def test_pictures_and_places_must_agree(eva, given, made):
    model, processor = eva
    message = rf"32 image placeholders \(<ImageHere>\), but the pictures make {made} tokens; each picture takes 32"
    with pytest.raises(ValueError, match=message):
        model.embed_prompt(ids(processor), None if given is None else image_tokens(model, given))


@torch.no_grad()
def test_pixels_features_and_embeddings_are_three_ways_to_say_the_same(eva):
    model, processor = eva
    picture = pixels(model, 1)
    tokens = model.get_image_features(picture).pooler_output
    expected = model(input_ids=ids(processor), pixel_values=picture).logits
    assert torch.equal(model(input_ids=ids(processor), image_features=tokens).logits, expected)
    assert torch.equal(model(inputs_embeds=model.embed_prompt(ids(processor), tokens)).logits, expected)
    last = model(input_ids=ids(processor), image_features=tokens, logits_to_keep=1).logits
    assert last.shape[1] == 1 and torch.allclose(last[:, 0], expected[:, -1], atol=1e-5)


@pytest.mark.parametrize("call", ["forward", "generate"])
def test_either_ids_or_embeddings(eva, call):
    model, processor = eva
    run = getattr(model, call)
    embeds = torch.zeros(1, 3, 32)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        run(input_ids=ids(processor), inputs_embeds=embeds)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        run()
    with pytest.raises(ValueError, match="either pixel_values or image_features"):
        run(input_ids=ids(processor), pixel_values=pixels(model, 1), image_features=image_tokens(model, 1))


# --- loss


@torch.no_grad()
def test_loss_is_cross_entropy_of_the_next_token(eva):
    model, processor = eva
    rows = ids(processor).expand(2, -1)
    labels = rows.clone()
    labels[:, :45] = -100
    labels[1, -2:] = -100
    inputs = dict(input_ids=rows, image_features=image_tokens(model, 2))
    out = model(**inputs, labels=labels)
    logits = model(**inputs).logits
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    assert out.loss.item() == pytest.approx(expected.item(), rel=1e-6) and out.logits is None


def test_the_loss_of_pieces_adds_up(eva):
    model, processor = eva
    rows = ids(processor).expand(3, -1)
    labels = rows.clone()
    labels[:, :45] = -100
    labels[1, -2:] = -100
    tokens = image_tokens(model, 3)
    whole = model(input_ids=rows, image_features=tokens, labels=labels).loss
    targets = int((labels[:, 1:] != -100).sum())
    pieces = [slice(0, 1), slice(1, 3)]
    parts = [model(input_ids=rows[p], image_features=tokens[p], labels=labels[p], num_items_in_batch=targets).loss for p in pieces]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5)


def test_labels_count_by_their_weights(eva):
    model, processor = eva
    rows = ids(processor).expand(2, -1)
    labels = rows.clone()
    labels[:, :45] = -100
    weights = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)) * (labels != -100)
    inputs = dict(input_ids=rows, image_features=image_tokens(model, 2))
    losses = F.cross_entropy(model(**inputs).logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none")
    total = (losses * weights[:, 1:]).sum()
    mean = model(**inputs, labels=labels, label_weights=weights).loss
    assert mean.item() == pytest.approx((total / weights[:, 1:].sum()).item(), rel=1e-5)
    part = model(**inputs, labels=labels, label_weights=weights, num_items_in_batch=7).loss
    assert part.item() == pytest.approx(total.item() / 7, rel=1e-5)


@torch.no_grad()
def test_features_of_frozen_parts_stand_for_the_picture(eva):
    model, processor = eva
    picture = pixels(model, 1)
    made = model.get_image_features(picture)
    queries = run_qformer(model.model.qformer, model.model.query_tokens, made.last_hidden_state)
    out = model(input_ids=ids(processor), vision_features=made.last_hidden_state)
    assert torch.equal(out.image_features, made.pooler_output)
    assert torch.equal(out.logits, model(input_ids=ids(processor), pixel_values=picture).logits)
    assert torch.equal(model(input_ids=ids(processor), qformer_features=queries).logits, out.logits)
    alone = model(vision_features=made.last_hidden_state)
    assert torch.equal(alone.image_features, made.pooler_output) and alone.logits is None and alone.loss is None


def test_labels_without_a_target_are_refused(eva):
    model, processor = eva
    labels = torch.full_like(ids(processor), -100)
    labels[0, 0] = 5  # nothing comes before the first token, so it can't be learned
    with pytest.raises(ValueError, match="labels hold no target"):
        model(input_ids=ids(processor), image_features=image_tokens(model, 1), labels=labels)


# --- generation

GREEDY = dict(do_sample=False, eos_token_id=None, pad_token_id=0)


@torch.no_grad()
def greedy_by_hand(model, embeds: torch.Tensor, count: int) -> list[int]:
    out = []
    for _ in range(count):
        out.append(int(model(inputs_embeds=embeds).logits[0, -1].argmax()))
        embeds = torch.cat([embeds, model.get_input_embeddings()(torch.tensor([[out[-1]]]))], dim=1)
    return out


def test_generate_is_greedy_decoding_of_new_tokens_only(each):
    model, processor = each
    picture = pixels(model, 1)
    with torch.no_grad():
        embeds = model.embed_prompt(ids(processor), model.get_image_features(picture).pooler_output)
    made = model.generate(input_ids=ids(processor), pixel_values=picture, max_new_tokens=8, **GREEDY)
    assert made.tolist() == [greedy_by_hand(model, embeds, 8)]


def test_a_padded_batch_answers_as_single_prompts_do(eva):
    model, processor = eva
    prompts = [PROMPT, "###Human: <Img><ImageHere></Img> And what, if you please, is that over there? ###Assistant:", "Hello"]
    tokens = image_tokens(model, 2)
    rows = [processor.tokenize_prompt(prompt) for prompt in prompts]
    together = model.generate(**padded(rows), image_features=tokens, max_new_tokens=8, **GREEDY)
    for index, row in enumerate(rows):
        own = tokens[index : index + 1] if index < 2 else None
        alone = model.generate(input_ids=torch.tensor([row]), image_features=own, max_new_tokens=8, **GREEDY)
        assert together[index].tolist() == alone[0].tolist(), prompts[index]


def test_several_pictures_a_row_with_beams(eva):
    model, processor = eva
    prompts = ["<Img><ImageHere></Img> and <Img><ImageHere></Img> differ", "one <Img><ImageHere></Img><Img><ImageHere></Img> and two"]
    rows = [processor.tokenize_prompt(prompt) for prompt in prompts]
    tokens = image_tokens(model, 4)
    options = dict(num_beams=3, max_new_tokens=5, **GREEDY)
    together = model.generate(**padded(rows), image_features=tokens, **options)
    for index, row in enumerate(rows):
        alone = model.generate(input_ids=torch.tensor([row]), image_features=tokens[2 * index : 2 * index + 2], **options)
        assert together[index].tolist() == alone[0].tolist()
    swapped = model.generate(input_ids=torch.tensor([rows[0]]), image_features=tokens[[1, 0]], **options)
    assert swapped[0].tolist() != together[0].tolist()


# --- precision


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_stays_in_fp32_in_a_16_bit_model(built, kind):
    model, processor = built[kind]
    half = MiniGPT4ForConditionalGeneration.from_pretrained(
        None, config=model.config, state_dict=model.state_dict(), dtype=torch.bfloat16
    ).eval()
    kept = ("model.qformer.", "model.query_tokens", "model.language_projection.", "model.vision_model.post_layernorm.")
    kept += ("model.vision_model.trunk.",) if kind == "lite2" else ()
    in_fp32 = re.compile(r"\.trunk\..*(norm[12]\.|pos_embed|cls_token|q_bias|v_bias)")  # of the ViT: upstream `convert_weights_to_fp16`
    for name, parameter in half.named_parameters():
        assert parameter.dtype == (torch.float32 if name.startswith(kept) or in_fp32.search(name) else torch.bfloat16), name
    out = half(input_ids=ids(processor), pixel_values=pixels(model, 1))
    assert out.logits.dtype == torch.bfloat16 and out.logits.isfinite().all()
    assert half.get_image_features(pixels(model, 1)).pooler_output.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_an_encoder_in_16_bits_computes_as_the_original_does(built, dtype):
    """Upstream: linear and convolution layers in fp16 under autocast, everything that adds up and normalises in fp32."""
    model, _ = built["eva"]
    whole, x = model.model.vision_model, pixels(model, 2)
    half = MiniGPT4ForConditionalGeneration.from_pretrained(None, config=model.config, state_dict=model.state_dict(), dtype=dtype)
    ours = half.model.vision_model(x).last_hidden_state
    original = copy.deepcopy(whole)
    for module in original.trunk.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            module.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        features = original.trunk.forward_features(x)
        assert features.dtype == torch.float32
        theirs = torch.nn.functional.layer_norm(features, features.shape[-1:], eps=1e-5)
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert not torch.equal(ours, whole(x).last_hidden_state)


def test_a_projection_checkpoint_is_not_opened_with_random_frozen_parts(tmp_path):
    model, _ = build_tiny_model("eva")
    model.config.frozen_parts = "pocket"
    model.config.save_pretrained(tmp_path / "projection")
    with pytest.raises(ValueError, match="projection checkpoint.*load_model"):
        MiniGPT4ForConditionalGeneration.from_pretrained(tmp_path / "projection")
    model.save_pretrained(tmp_path / "whole")
    assert model.config.frozen_parts == "pocket"
    assert MiniGPT4ForConditionalGeneration.from_pretrained(tmp_path / "whole").config.frozen_parts is None
