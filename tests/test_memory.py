"""Memory from a configuration: the parameters are those of the modules, and the bytes those of what is loaded."""

import json

import pytest
import torch

from minigpt4_model.model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4VisionConfig
from minigpt4_model.model.configuration import bert_base_qformer
from minigpt4_model.weights.memory import CONFIGS, PRECISIONS, SIZES, needed_bytes, size_of
from minigpt4_model.weights.pocket import POCKET_CHECKPOINT
from tests.tiny_models import build_tiny_model

TEXT = {"vocab_size": 500, "hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 3, "num_attention_heads": 6}
CONFIGURATIONS = {
    "vicuna-7b": MiniGPT4Config(vision_config={}, qformer_config=bert_base_qformer().to_dict(), text_config={}),
    "llama2-7b": MiniGPT4Config(vision_config={}, text_config={}),
    "odd sizes": MiniGPT4Config(
        vision_config={"hidden_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 112},
        qformer_config=bert_base_qformer(
            hidden_size=48,
            num_hidden_layers=5,
            num_attention_heads=4,
            intermediate_size=100,
            encoder_hidden_size=80,
            cross_attention_frequency=3,
        ).to_dict(),
        text_config={**TEXT, "num_key_value_heads": 2, "head_dim": 24},
        num_query_tokens=7,
    ),
    "shared tables": MiniGPT4Config(
        vision_config=MiniGPT4VisionConfig.efficientnet_lite2().to_dict(),
        qformer_config=bert_base_qformer(num_hidden_layers=2, encoder_hidden_size=1280).to_dict(),
        text_config={**TEXT, "tie_word_embeddings": True},
    ),
    "two branches": MiniGPT4Config(
        vision_config=MiniGPT4VisionConfig.efficientnet_lite2(drawing_names=300, photograph_names=900, piece_width=96).to_dict(),
        qformer_config=bert_base_qformer(num_hidden_layers=2, encoder_hidden_size=1280).to_dict(),
        text_config=TEXT,
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_parameters_are_counted_as_the_modules_have_them(name):
    config = CONFIGURATIONS[name]
    with torch.device("meta"):
        model = MiniGPT4ForConditionalGeneration(config)
    size, exact = size_of(config.to_dict()), config.vision_config.architecture == "eva_vit"
    counted = {part: sum(tensor.numel() for tensor in module.state_dict().values()) for part, module in model.model.named_children()}
    if not size.language_model.tied:
        counted["language_model"] += model.lm_head.weight.numel()
    assert size.language_model.linear_parameters + size.language_model.table_parameters == counted["language_model"]
    assert size.vision_encoder_parameters == pytest.approx(counted["vision_model"], rel=0 if exact else 0.002)
    assert size.qformer_parameters == counted.get("qformer", 0)
    queries = 0 if model.model.query_tokens is None else model.model.query_tokens.numel()
    assert size.projection_parameters == counted["language_projection"] + queries


@pytest.mark.parametrize("kind", ["eva", "llama2", "lite2"])
@pytest.mark.parametrize("precision", ["float32", "16 bit"])
def test_bytes_are_those_of_a_loaded_model(kind, precision, tmp_path):
    from minigpt4_model.weights.load import load_model

    model, processor = build_tiny_model(kind)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    size = size_of(json.loads((tmp_path / "config.json").read_text()))
    loaded, _ = load_model(tmp_path, device="cpu", dtype="float32" if precision == "float32" else "bfloat16")
    held = sum(tensor.numel() * tensor.element_size() for tensor in loaded.state_dict().values())
    assert size.weight_bytes(precision) == pytest.approx(held, rel=0.003)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", None])
def test_bytes_beside_an_llm_of_4_bits_are_those_of_a_loaded_model(dtype, tmp_path, monkeypatch):
    """Also on a processor that computes no bfloat16, where all of a model has 32 bits unless fewer are asked for."""
    from minigpt4_model.weights.load import load_model

    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    model, processor = build_tiny_model("eva")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    size = size_of(json.loads((tmp_path / "config.json").read_text()))
    loaded, _ = load_model(tmp_path, device="cpu", dtype=dtype, load_in_4bit=True)
    held = sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in loaded.state_dict().items()
        if ".language_model.layers." not in name or "norm" in name
    )
    assert size.other_bytes("4 bit", "float32" if dtype == "float32" else "16 bit") == pytest.approx(held, rel=0.003)


def test_presets_and_the_shipped_checkpoint():
    for name, billions in {"pocket": 0.1345, "vicuna-7b": 6.738, "vicuna-13b": 13.016}.items():
        size = SIZES[name].language_model
        assert (size.linear_parameters + size.table_parameters) / 1e9 == pytest.approx(billions, rel=0.001)
    shipped = size_of(json.loads((POCKET_CHECKPOINT / "config.json").read_text()))
    assert SIZES["pocket"].weight_bytes("16 bit") == pytest.approx(shipped.weight_bytes("16 bit"), rel=0.15)
    assert set(CONFIGS) == set(SIZES)
    assert SIZES["llama2-7b"].qformer_parameters == 0 and SIZES["llama2-7b"].projection_parameters == 4096 * (4 * 1408 + 1)


def test_fewer_bits_need_less_and_shrink_the_layers_only():
    size = SIZES["vicuna-7b"]
    assert sorted(PRECISIONS, key=lambda precision: -size.weight_bytes(precision)) == list(PRECISIONS)
    linear, tables = size.language_model.linear_parameters, 2 * 32_000 * 4096
    assert size.weight_bytes("4 bit") == pytest.approx(linear * 0.516 + (tables + size.vision_encoder_parameters) * 2, rel=0.05)
    # Beside an LLM of fewer bits the Q-Former has 16, and the projection its 32.
    assert size.other_bytes("16 bit") - size.other_bytes("4 bit") == size.qformer_parameters * 2
    one, three = (needed_bytes(size, "4 bit", 2048, conversations) for conversations in (1, 3))
    assert three - one == 2 * size.language_model.cache_bytes(2048, 2) == 2 * (1 << 30)
