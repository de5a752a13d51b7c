"""Pictures larger than those that a model was trained on, for small things and small text.

The frozen ViT reads any multiple of its patch size: its learned positions are interpolated (`vision_encoder.interpolate_positions`),
and the Q-Former's queries read as many patches as there are. Without a Q-Former there are more image tokens as well.
"""

from .configuration import MiniGPT4Config
from .modeling import MiniGPT4ForConditionalGeneration
from .processing import MiniGPT4Processor


def change_image_size(model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor, image_size: int) -> None:
    """From now on pictures are read at `image_size`; the weights stay as they are, so it can be changed again, and saved.

    Raises `ValueError` that names the sizes that can be had, and changes nothing then.
    """
    config: MiniGPT4Config = model.config
    config.vision_config = model.model.vision_model.config = config.vision_config.with_image_size(image_size)
    processor.image_processor.image_size = image_size
    processor.num_image_tokens = config.num_image_tokens
