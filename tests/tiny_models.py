"""Small models for tests: random ones with a real tokenizer, and the one of the parity fixtures in official file layouts."""

from functools import lru_cache
from pathlib import Path

import torch

import minigpt4_model.model  # noqa: F401  registers the Auto classes before transformers' models are imported
from minigpt4_model.model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from minigpt4_model.model.configuration import bert_base_qformer
from minigpt4_model.weights import official

PARITY = Path(__file__).parent / "parity_fixtures"


def llama_tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(PARITY / "llama_tiny", legacy=True)


@lru_cache
def build_parity_model() -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """The fixtures' model, converted from the three official files and the Llama folder, in fp32."""
    from safetensors.torch import load_file
    from transformers import AutoConfig

    vision = official.read_official(PARITY / "eva_vit_tiny.pth")
    qformer = official.read_official(PARITY / "blip2_qformer_tiny.pth")
    projection = official.read_official(PARITY / "minigpt4_tiny.pth")
    config = MiniGPT4Config(
        vision_config=official.vision_config_from(vision),
        qformer_config=official.qformer_config_from(qformer),
        text_config=AutoConfig.from_pretrained(PARITY / "llama_tiny"),
        chat_template_name="vicuna-v0",
    )
    state = {
        **official.convert_vision(vision),
        **official.convert_qformer(qformer),
        **official.convert_projection(projection),
        **official.convert_language_model(load_file(PARITY / "llama_tiny" / "model.safetensors")),
    }
    model = MiniGPT4ForConditionalGeneration(config)
    model.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=True)
    return model.eval().float(), MiniGPT4Processor.from_config(config, llama_tokenizer())


def build_tiny_model(kind: str = "eva", seed: int = 0) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """A random two-layer model over the Llama tokenizer. `kind`: "eva", "lite2" (the pocket encoder) or "llama2" (no Q-Former).

    Weights are drawn wide enough that a picture changes what is said.
    """
    vision = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4)
    if kind == "lite2":
        from minigpt4_model.model import MiniGPT4VisionConfig

        vision = MiniGPT4VisionConfig.efficientnet_lite2().to_dict()
    width = vision["hidden_size"]
    qformer = bert_base_qformer(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, encoder_hidden_size=width
    ).to_dict()
    text = dict(
        model_type="llama",
        vocab_size=32000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = MiniGPT4Config(
        vision_config=vision,
        qformer_config=None if kind == "llama2" else qformer,
        text_config=text,
        chat_template_name="llama2" if kind == "llama2" else "vicuna-v0",
    )
    torch.manual_seed(seed)
    model = MiniGPT4ForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.model.language_projection.weight.normal_(std=0.5)
    return model, MiniGPT4Processor.from_config(config, llama_tokenizer())
