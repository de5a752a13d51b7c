"""The frozen vision encoder: `(B, 3, S, S)` normalised pixels -> `(B, N, Dv)` features.

Two networks, both timm's: EVA-CLIP ViT-g/14 as the original uses it (N = 257, Dv = 1408: the CLS token first, then the patches
row by row) and EfficientNet-Lite2 for the pocket preset (N = 82, Dv = 1280: the mean first, then 9 x 9 patches). The pocket preset
has two of these, one that has learned drawings and one as ImageNet made it, with tag tokens from both (N = 103).
To add one, add a branch to `build_trunk` and a shape test. The ViT reads pictures of any multiple of its patch size (`EvaTrunk`).
"""

import math
from functools import partial
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration import MiniGPT4VisionConfig
from .tag_tokens import BOTTOM, LEFT, RIGHT, TOP, WHOLE, TagTokens

ARCHITECTURES = ("eva_vit", "efficientnet_lite2", "efficientnet_lite2_tags")
IMAGENET_CLASSES = 1000
# How many best names each branch tells of the picture and of its halves. What ImageNet's photographs show fills them.
DRAWING_TAGS = {WHOLE: 3, LEFT: 1, RIGHT: 1, TOP: 1, BOTTOM: 1}
PHOTOGRAPH_TAGS = {WHOLE: 3}


def interpolate_positions(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Learned positions `(1, 1 + P, D)` of a square grid, CLS first, -> `(1, 1 + side * side, D)`, in their own precision.

    As upstream `interpolate_pos_embed` (`minigpt4/models/eva_vit.py`): bicubic in fp32, the corners not aligned, no antialias
    (timm's default is 0.16 off), and CLS as it is. On its own grid it gives back the very tensor.
    """
    own = math.isqrt(positions.shape[1] - 1)
    if side == own:
        return positions
    grid = positions[:, 1:].float().reshape(1, own, own, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False).permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([positions[:, :1], grid.to(positions.dtype)], dim=1)


class EvaTrunk(timm.models.eva.Eva):
    """timm's ViT, whose learned positions follow the size of the picture: `(B, 3, S, S)`, S a multiple of the patch size."""

    def __init__(self, **sizes: Any):
        super().__init__(**sizes)
        self.patch_embed.strict_img_size = False

    def _pos_embed(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Patches `(B, P, D)` -> CLS and patches with their positions `(B, 1 + P, D)`; there are no rotary ones."""
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.pos_drop(x + interpolate_positions(self.pos_embed, math.isqrt(x.shape[1] - 1))), None


def build_trunk(config: MiniGPT4VisionConfig) -> nn.Module:
    """The timm model whose `forward_features` makes the features. Raises `ValueError` for an unknown architecture."""
    if config.architecture not in ARCHITECTURES:
        raise ValueError(f"vision_config.architecture is {config.architecture!r}; there are {', '.join(ARCHITECTURES)}.")
    if config.architecture == "eva_vit":
        # The original's ViT (minigpt4/models/eva_vit.py): learned absolute positions, q and v biases but no k bias, exact
        # GELU, and neither a final norm nor pooling, because the features come from before them.
        return EvaTrunk(
            img_size=config.trained_image_size or config.image_size,
            patch_size=config.patch_size,
            num_classes=0,
            global_pool="",
            use_post_transformer_norm=False,
            use_fc_norm=False,
            embed_dim=config.hidden_size,
            depth=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            qkv_bias=True,
            qkv_fused=True,
            mlp_ratio=config.mlp_ratio,
            swiglu_mlp=False,
            use_abs_pos_emb=True,
            use_rot_pos_emb=False,
            init_values=None,
            use_post_norm=False,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
    return timm.create_model("tf_efficientnet_lite2", pretrained=False, num_classes=0, global_pool="")


def sincos_positions(side: int, width: int, device=None) -> torch.Tensor:
    """`(side * side, width)` two-dimensional sine and cosine codes (MAE, `util/pos_embed.py`), row by row."""
    frequencies = 1.0 / 10000 ** (torch.arange(width // 4, dtype=torch.float32, device=device) / (width / 4))
    angles = torch.arange(side, dtype=torch.float32, device=device)[:, None] * frequencies
    codes = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows = codes[:, None].expand(side, side, -1)
    columns = codes[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).reshape(side * side, width)


class MiniGPT4VisionModel(PreTrainedModel):
    """`(B, 3, S, S)` -> `(B, N, Dv)`; `post_layernorm` is BLIP-2's `ln_vision`, computed in fp32 as the original does."""

    config: MiniGPT4VisionConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    # Of a ViT in 16 bits the original keeps these in fp32 (`convert_weights_to_fp16` casts linear and convolution layers only).
    _keep_in_fp32_modules_strict = {"post_layernorm", "norm1", "norm2", "cls_token", "pos_embed", "q_bias", "v_bias"}

    def __init__(self, config: MiniGPT4VisionConfig):
        super().__init__(config)
        self.trunk = build_trunk(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        if config.architecture == "efficientnet_lite2_tags":
            self.photograph_trunk = build_trunk(config)
            width, pieces = config.hidden_size, config.piece_width
            self.drawing_tags = TagTokens(width, config.drawing_names, config.drawing_names, pieces, DRAWING_TAGS)
            self.photograph_tags = TagTokens(width, IMAGENET_CLASSES, config.photograph_names, pieces, PHOTOGRAPH_TAGS)
        self.post_init()
        if config.architecture != "eva_vit":
            # Batch normalisation statistics lose too much in 16 bits, and the network is small.
            # Of the tags only the classifiers: class numbers would become floats with the rest.
            small = {"trunk", "photograph_trunk", "drawing_tags.classifier", "photograph_tags.classifier"}
            self._keep_in_fp32_modules_strict = {*self._keep_in_fp32_modules_strict, *small}

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # Not in any file, and left uninitialised when the model was built without memory: the k bias is always zero.
        if isinstance(getattr(module, "k_bias", None), torch.Tensor):
            module.k_bias.zero_()

    def forward(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutput:
        self._check_shape(pixel_values.shape)
        pixel_values = pixel_values.to(next(self.trunk.parameters()).dtype)
        if self.config.architecture != "eva_vit":
            # Depthwise convolutions run half as long again in the other order on a CPU.
            pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        # Its weights say what it computes in: the pocket encoder, fp32, would be 10 % off in a trainer's autocast. A ViT in 16 bits
        # multiplies in them, and adds up and normalises in fp32, as the original in its own autocast.
        precision = self.trunk.patch_embed.proj.weight.dtype if self.config.architecture == "eva_vit" else torch.float32
        with torch.autocast(pixel_values.device.type, dtype=precision, enabled=precision != torch.float32):
            features = self.trunk.forward_features(pixel_values)
            tokens = self.finish_features(features)
            if self.config.architecture == "efficientnet_lite2_tags":
                photographed = self.photograph_trunk.forward_features(pixel_values)
                mean = self.finish_features(photographed)[:, :1]
                tokens = torch.cat([tokens, mean, self.drawing_tags(features), self.photograph_tags(photographed)], dim=1)
        return BaseModelOutput(last_hidden_state=tokens)

    def _check_shape(self, shape: torch.Size) -> None:
        """Raises `ValueError` for pixels that are not `(B, 3, S, S)` with an S that the network reads."""
        side, patch = self.config.image_size, self.config.patch_size
        square = len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] > 0
        any_size = self.config.architecture == "eva_vit"
        if not square or (shape[2] % patch if any_size else shape[2] != side):
            hint = f" Squares of any multiple of {patch} are read." if any_size else ""
            raise ValueError(f"pixel_values must be (B, 3, {side}, {side}), not {tuple(shape)}.{hint}")

    def finish_features(self, features: torch.Tensor) -> torch.Tensor:
        """What the trunk gives, `(B, N, Dv)` or a convolution's `(B, Dv, H, W)`, -> `(B, N, Dv)` in fp32."""
        if features.ndim == 4:
            features = features.flatten(2).transpose(1, 2)  # (B, P, Dv), row by row
            features = torch.cat([features.mean(dim=1, keepdim=True), features], dim=1)  # (B, 1 + P, Dv)
        norm = self.post_layernorm
        features = F.layer_norm(features.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)
        if self.config.architecture != "eva_vit":
            # A convolution's features do not say where they are; a ViT's do.
            positions = sincos_positions(side=int((features.shape[1] - 1) ** 0.5), width=features.shape[2], device=features.device)
            features = torch.cat([features[:, :1], features[:, 1:] + 0.5 * positions], dim=1)
        return features
