"""Lets timm and transformers be imported where torchvision was built for CUDA and torch was not.

Such a torchvision can't load its compiled operators, and then its own Python code fails at import with "operator
torchvision::nms does not exist", because it registers shape functions for two operators that nobody declared. Declaring
their schemas is enough for the import; calling them still fails, as it should, and nothing here calls them.
"""

import importlib.util
import re
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # torch forgets the schemas when the library object is collected


def define_missing_torchvision_ops() -> None:
    """Declare the operators that a CUDA-built torchvision lacks on CPU torch; does nothing where all is well."""
    global _library
    if _library is not None or torch.version.cuda is not None or not _torchvision_wants_cuda():
        return
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)


def _torchvision_wants_cuda() -> bool:
    """Whether the installed torchvision was built for CUDA, read from its version file without importing it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    version_file = Path(spec.origin).with_name("version.py")
    return version_file.exists() and re.search(r"^__version__ = '[^']*\+cu\d", version_file.read_text(), re.MULTILINE) is not None
