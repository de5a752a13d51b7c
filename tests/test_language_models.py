"""Which language model a config.json is of: the original's, those that only look like them, and those that surely are others."""

from pathlib import Path

import pytest

from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.language_models import belongs_to, identify_by_config, read_language_model_config
from tests import llm_configurations as configurations
from tests.tiny_official import LLAMA


@pytest.mark.parametrize(
    ("config", "name", "is_sure"),
    [
        ("VICUNA_V0_7B", "Vicuna v0 7B", False),
        ("VICUNA_V0_13B", "Vicuna v0 13B", False),
        ("VICUNA_V0_OLD", "Vicuna v0 7B", False),
        ("VICUNA_V1_1_7B", "LLaMA 7B, or Vicuna v1.1 or v1.3 7B", True),
        ("VICUNA_V1_5_7B", "Vicuna v1.5 7B (vicuna-7b-v1.5)", True),
        ("LLAMA_2_CHAT", "Llama-2-chat 7B", False),
        ("LLAMA_2_CHAT_PADDED", "Llama-2-chat 7B with a padding token added", False),
        ("LLAMA_2_UNSAID", "Llama 2 7B or a model made of it", False),
        ("LLAMA_2_OTHER_CHAT", "Llama 2 7B or a model made of it (it calls itself my-chat-model)", False),
    ],
)
def test_what_a_configuration_tells(config, name, is_sure):
    identity = identify_by_config(getattr(configurations, config), Path("models/llm"))
    assert identity.name == name and (identity.doubt is None) == is_sure


@pytest.mark.parametrize(
    "config", ["LLAMA_3_8B", "CODE_LLAMA_7B", "CODE_LLAMA_PYTHON_7B", "SOLAR", "MISTRAL_7B", "QWEN_8B", "LLAMA_2_GROUPED"]
)
def test_others_of_the_same_width_belong_to_no_projection(config):
    config = getattr(configurations, config)
    identity = identify_by_config(config, Path("models/llm"))
    assert not belongs_to("vicuna", identity) and not belongs_to("llama2", identity)
    assert identity.name.startswith(f"the {config['model_type']} model llm ({config['vocab_size']} words")


def test_of_an_unknown_width_nothing_is_known():
    identity = identify_by_config({"model_type": "llama", "hidden_size": 2048, "vocab_size": 32_000}, Path("models/llm"))
    assert identity.name == "the llama model llm" and "only its sizes" in identity.doubt
    assert belongs_to("vicuna", identity) and belongs_to("llama2", identity)


def test_each_variant_takes_its_own():
    chat, v0 = (identify_by_config(config, Path("x")) for config in (configurations.LLAMA_2_CHAT, configurations.VICUNA_V0_7B))
    assert belongs_to("llama2", chat) and belongs_to("vicuna", v0)
    assert not belongs_to("vicuna", chat) and not belongs_to("llama2", v0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[1, 2]", "is damaged: it is not a model's description in JSON"),
        ('"llama"', "is damaged: it is not"),
        ('{"model_type": "clip"}', "describes a 'clip' model, not a language model"),
        ('{"model_type": "llama", "hidden_size": "wide", "vocab_size": 1}', "describes a 'llama' model, not a language model"),
        (None, "has no config.json"),
    ],
)
def test_a_folder_that_is_no_language_model(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        read_language_model_config(tmp_path)


def test_a_configuration_is_read_as_it_is():
    assert read_language_model_config(LLAMA)["hidden_size"] == 40
