"""The pocket model before any training: its sizes, frozen parts from the cache, fresh Q-Former and projection."""

import torch
from transformers import AutoConfig, AutoModel

from ...model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor, MiniGPT4VisionConfig
from ...model.configuration import bert_base_qformer
from ...weights.load import build_from_state, frozen_state, load_tokenizer, pairing_of
from ...weights.pocket import ensure_pocket


def pocket_config(pairing: dict | None = None) -> MiniGPT4Config:
    """4.9 M parameters to train: 4 layers, 256 wide, so that one CPU core pushes 100 pictures a second through them."""
    vision = MiniGPT4VisionConfig.efficientnet_lite2()
    qformer = bert_base_qformer(
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        encoder_hidden_size=vision.hidden_size,
    )
    return MiniGPT4Config(
        vision_config=vision,
        qformer_config=qformer,
        text_config=AutoConfig.from_pretrained(ensure_pocket().language_model_dir),
        chat_template_name="chatml",
        frozen_parts="pocket",
        trained_with=pairing,
    )


def build_untrained(seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """A pocket model with a random Q-Former and projection, ready for the representation stage."""
    frozen, tokenizer_dir = frozen_state("pocket")
    config = pocket_config(pairing_of(frozen, "pocket"))
    torch.manual_seed(seed)
    qformer = AutoModel.from_config(config.qformer_config)
    width, text_width = config.qformer_config.hidden_size, config.text_config.hidden_size
    trained = {f"model.qformer.{key}": tensor for key, tensor in qformer.state_dict().items()}
    trained["model.query_tokens"] = torch.randn(1, config.num_query_tokens, width) * config.qformer_config.initializer_range
    trained["model.language_projection.weight"] = torch.randn(text_width, width) * width**-0.5 * 0.1
    trained["model.language_projection.bias"] = torch.zeros(text_width)
    model = build_from_state(config, {**frozen, **trained}, dtype=dtype)
    return model.eval(), MiniGPT4Processor.from_config(config, load_tokenizer(tokenizer_dir))
