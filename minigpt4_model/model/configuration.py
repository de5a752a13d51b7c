"""Sizes and names of the model's parts: everything needed to build it, nothing about weights.

`MiniGPT4Config` composes three configurations: the vision encoder's (ours, since timm has none for EVA as MiniGPT-4
uses it), the Q-Former's (transformers' `Blip2QFormerConfig`, or none for the Llama-2 variant) and the LLM's.
"""

import math
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto import CONFIG_MAPPING, AutoConfig
from transformers.models.blip_2.configuration_blip_2 import Blip2QFormerConfig

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class MiniGPT4VisionConfig(PreTrainedConfig):
    """The frozen vision encoder. `architecture` is "eva_vit" (sizes below; defaults are ViT-g/14), "efficientnet_lite2", or
    "efficientnet_lite2_tags": one branch for drawings, one for photographs, and what each of them recognises (`tags`).

    `num_hidden_layers` is 39, not 40: the original drops the last block (`minigpt4/models/eva_vit.py`, `create_eva_vit_g`).
    `image_size` is the side of the pictures that are read, `trained_image_size` the one whose positions the weights hold, where that
    is another. `image_mean` and `image_std` are those of pixels in 0..1.
    """

    model_type = "minigpt4_vision"
    base_config_key = "vision_config"

    architecture: str = "eva_vit"
    image_size: int = 224
    trained_image_size: int | None = None
    patch_size: int = 14
    hidden_size: int = 1408
    num_hidden_layers: int = 39
    num_attention_heads: int = 16
    mlp_ratio: float = 4.3637
    layer_norm_eps: float = 1e-5
    image_mean: tuple | list = CLIP_MEAN
    image_std: tuple | list = CLIP_STD
    # Of "efficientnet_lite2_tags": the classifiers' sizes, and the width of the LLM's word embeddings that tags are told in.
    drawing_names: int = 0
    photograph_names: int = 0
    piece_width: int = 0

    @property
    def grid_side(self) -> int:
        """Places in a row of the encoder's grid: features 1 to `grid_side` squared are the picture's places, row by row."""
        return math.ceil(self.image_size / self.patch_size)

    def with_image_size(self, image_size: int) -> "MiniGPT4VisionConfig":
        """The same encoder for pictures of another side, a multiple of the patch size; its weights stay as they are.

        Raises `ValueError` for any other number, and for an encoder that knows one size only.
        """
        if image_size == self.image_size:
            return self
        if self.architecture != "eva_vit":
            raise ValueError(
                f"--image-size {image_size}: this model's vision encoder reads pictures of {self.image_size} only. Leave it out."
            )
        if image_size < self.patch_size or image_size % self.patch_size:
            near = max(1, round(image_size / self.patch_size)) * self.patch_size
            raise ValueError(f"--image-size {image_size}: it must be a multiple of the patch size {self.patch_size}, such as {near}.")
        trained = self.trained_image_size or self.image_size
        changed = self.__class__.from_dict(self.to_dict())
        changed.image_size, changed.trained_image_size = image_size, None if trained == image_size else trained
        return changed

    @classmethod
    def efficientnet_lite2(cls, **tags: Any) -> "MiniGPT4VisionConfig":
        """The pocket preset's encoder: 81 patches and their mean, 1280 wide; with the sizes of `tags`, its two branches and theirs."""
        return cls(
            architecture="efficientnet_lite2_tags" if tags else "efficientnet_lite2",
            **tags,
            image_size=260,
            patch_size=32,
            hidden_size=1280,
            num_hidden_layers=0,
            num_attention_heads=0,
            image_mean=(0.5, 0.5, 0.5),
            image_std=(0.5, 0.5, 0.5),
        )


def bert_base_qformer(**sizes: Any) -> Blip2QFormerConfig:
    """The Q-Former's settings that the original uses (`Blip2Base.init_Qformer`), with other `sizes` where given."""
    settings = {
        "encoder_hidden_size": 1408,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "cross_attention_frequency": 2,
        "use_qformer_text_input": False,
    }
    return Blip2QFormerConfig(**{**settings, **sizes})


class MiniGPT4Config(PreTrainedConfig):
    """The whole model.

    `qformer_config` may be None: then `patches_per_token` neighbouring patches are joined into one token, as in the
    Llama-2 variant. `image_token_id` is the LLM's vocabulary size, one past its last id, so that a placeholder can
    never be a word and the frozen embedding table needs no new row. `frozen_parts` names the preset whose frozen weights
    a projection checkpoint leaves out; `trained_with` records what the projection was trained against, for the pairing check.
    `blank_picture` says that the model learned to read a blank picture where a conversation begins without one (`chat.blank`).
    """

    model_type = "minigpt4"
    sub_configs = {"vision_config": MiniGPT4VisionConfig, "qformer_config": Blip2QFormerConfig, "text_config": AutoConfig}

    vision_config: dict | PreTrainedConfig | None = None
    qformer_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    num_query_tokens: int = 32
    patches_per_token: int = 4
    image_token: str = "<ImageHere>"
    image_token_id: int | None = None
    chat_template_name: str = "vicuna-v0"
    frozen_parts: str | None = None
    trained_with: dict | None = None
    blank_picture: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        if self.vision_config is None or isinstance(self.vision_config, dict):
            self.vision_config = MiniGPT4VisionConfig(**(self.vision_config or {}))
        if isinstance(self.qformer_config, dict):
            self.qformer_config = Blip2QFormerConfig(**self.qformer_config)
        if self.text_config is None or isinstance(self.text_config, dict):
            text = dict(self.text_config or {})
            self.text_config = CONFIG_MAPPING[text.get("model_type", "llama")](**text)
        if self.qformer_config is not None and self.qformer_config.encoder_hidden_size != self.vision_config.hidden_size:
            raise ValueError(
                f"qformer_config.encoder_hidden_size is {self.qformer_config.encoder_hidden_size}, but the vision encoder's "
                f"hidden_size is {self.vision_config.hidden_size}: they must be equal."
            )
        if self.image_token_id is None:
            self.image_token_id = self.text_config.vocab_size
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        super().__post_init__(**kwargs)

    @property
    def num_image_tokens(self) -> int:
        """How many tokens of the prompt one picture takes."""
        if self.qformer_config is not None:
            return self.num_query_tokens
        return (self.vision_config.image_size // self.vision_config.patch_size) ** 2 // self.patches_per_token
