"""The paper's figure, Hugging Face native: configuration, vision encoder, Q-Former, the whole model, the processor.

Importing this package registers the classes with transformers' Auto classes. It knows nothing of chat templates, of
where weights come from or of training.
"""

from .torchvision_shim import define_missing_torchvision_ops

define_missing_torchvision_ops()

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor  # noqa: E402

from .configuration import MiniGPT4Config, MiniGPT4VisionConfig  # noqa: E402
from .modeling import MiniGPT4ForConditionalGeneration, MiniGPT4Model  # noqa: E402
from .processing import MiniGPT4ImageProcessor, MiniGPT4Processor  # noqa: E402
from .vision_encoder import MiniGPT4VisionModel  # noqa: E402

AutoConfig.register(MiniGPT4Config.model_type, MiniGPT4Config)
AutoConfig.register(MiniGPT4VisionConfig.model_type, MiniGPT4VisionConfig)
AutoModel.register(MiniGPT4VisionConfig, MiniGPT4VisionModel)
AutoModel.register(MiniGPT4Config, MiniGPT4Model)
AutoModelForImageTextToText.register(MiniGPT4Config, MiniGPT4ForConditionalGeneration)
AutoImageProcessor.register(MiniGPT4Config, MiniGPT4ImageProcessor)
AutoProcessor.register(MiniGPT4Config, MiniGPT4Processor)

__all__ = [
    "MiniGPT4Config",
    "MiniGPT4ForConditionalGeneration",
    "MiniGPT4ImageProcessor",
    "MiniGPT4Model",
    "MiniGPT4Processor",
    "MiniGPT4VisionConfig",
    "MiniGPT4VisionModel",
]
