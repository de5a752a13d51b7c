"""From pictures and prompts to tensors: `MiniGPT4ImageProcessor` and `MiniGPT4Processor`.

The prompt is tokenised as the original does it (upstream `Chat.get_context_emb`): split at the placeholder, each text
segment on its own, the beginning-of-sequence token on the first only. Chat templates are `chat/templates.py`'s business.
"""

import numpy as np
import PIL.Image
import torch
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import MultiModalData

from .configuration import CLIP_MEAN, CLIP_STD, MiniGPT4Config


class MiniGPT4ImageProcessor(BaseImageProcessor):
    """Pictures -> `pixel_values` `(P, 3, image_size, image_size)` fp32: squashed to a square, bicubic, normalised.

    Bit-exact with the original's transform (`BlipImageEvalProcessor`), on every version of Pillow.
    """

    model_input_names = ["pixel_values"]

    def __init__(self, image_size: int = 224, image_mean=CLIP_MEAN, image_std=CLIP_STD, **kwargs):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)

    def __call__(self, images: PIL.Image.Image | list[PIL.Image.Image], return_tensors: str = "pt", **kwargs) -> BatchFeature:
        if isinstance(images, PIL.Image.Image):
            images = [images]
        return BatchFeature({"pixel_values": torch.stack([self.normalize(image) for image in images])}, tensor_type=return_tensors)

    preprocess = __call__

    def normalize(self, image: PIL.Image.Image) -> torch.Tensor:
        """One picture -> `(3, image_size, image_size)`. An alpha channel is dropped, as in the original; `chat.pictures`
        has laid pictures over white before they come here."""
        side = self.image_size
        image = image.convert("RGB")
        # Pillow 13 resizes tall pictures vertically first, which is up to 7 grey levels off: fix the order of the passes.
        image = image.resize((side, image.height), PIL.Image.Resampling.BICUBIC).resize((side, side), PIL.Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        mean, std = torch.tensor(self.image_mean), torch.tensor(self.image_std)
        return (pixels - mean[:, None, None]) / std[:, None, None]


class MiniGPT4Processor(ProcessorMixin):
    """Prompts with `<ImageHere>` where pictures go, and the pictures, -> `input_ids`, `attention_mask`, `pixel_values`."""

    def __init__(
        self,
        image_processor: MiniGPT4ImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        image_token: str = "<ImageHere>",
        image_token_id: int | None = None,
        num_image_tokens: int = 32,
        add_bos: bool = True,
    ):
        self.image_token = image_token
        self.image_token_id = image_token_id
        self.num_image_tokens = num_image_tokens
        self.add_bos = add_bos
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def from_config(cls, config: MiniGPT4Config, tokenizer: PreTrainedTokenizerBase) -> "MiniGPT4Processor":
        """The processor that fits a model of this configuration."""
        vision = config.vision_config
        return cls(
            image_processor=MiniGPT4ImageProcessor(vision.image_size, vision.image_mean, vision.image_std),
            tokenizer=tokenizer,
            image_token=config.image_token,
            image_token_id=config.image_token_id,
            num_image_tokens=config.num_image_tokens,
            add_bos=config.chat_template_name != "chatml",
        )

    def tokenize_prompt(self, prompt: str) -> list[int]:
        """Ids of one prompt, each `<ImageHere>` as `num_image_tokens` placeholders."""
        ids = [self.tokenizer.bos_token_id] if self.add_bos else []
        for index, segment in enumerate(prompt.split(self.image_token)):
            if index:
                ids += [self.image_token_id] * self.num_image_tokens
            ids += self.tokenizer(segment, add_special_tokens=False).input_ids
        return ids

    def __call__(
        self,
        images: PIL.Image.Image | list[PIL.Image.Image] | None = None,
        text: str | list[str] | None = None,
        return_tensors: str = "pt",
        **kwargs,
    ) -> BatchFeature:
        """Rows of different length are padded on the left, ready for `generate`.

        `images` is one flat list for all prompts, in reading order. Raises `ValueError` when their number differs from
        the number of `<ImageHere>` in the prompts.
        """
        prompts = [text] if isinstance(text, str) else list(text or [])
        pictures = [images] if isinstance(images, PIL.Image.Image) else list(images or [])
        wanted = sum(prompt.count(self.image_token) for prompt in prompts)
        if prompts and wanted != len(pictures):
            raise ValueError(f"The prompts have {wanted} {self.image_token}, but {len(pictures)} pictures were given.")
        data = {}
        if prompts:
            rows = [self.tokenize_prompt(prompt) for prompt in prompts]
            longest = max(map(len, rows))
            pad = next(i for i in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0) if i is not None)
            data["input_ids"] = [[pad] * (longest - len(row)) + row for row in rows]
            data["attention_mask"] = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        if pictures:
            data["pixel_values"] = self.image_processor(pictures)["pixel_values"]
        batch = BatchFeature(data, tensor_type=return_tensors)
        if kwargs.get("return_text_replacement_offsets"):  # what vLLM asks, to find the pictures' places in prompts of its own
            tokens = [{"type": "image", "replacement": self.replace_image_token()} for _ in pictures]
            batch["text_replacement_offsets"] = [tokens]
        return batch

    def replace_image_token(self, image_inputs: dict | None = None, image_idx: int = 0, **kwargs) -> str:
        return self.image_token * self.num_image_tokens

    def _get_num_multimodal_tokens(self, image_sizes: list | None = None, **kwargs) -> MultiModalData:
        """What serving engines ask: tokens and patches per picture, whatever its size."""
        count = len(image_sizes or [])
        return MultiModalData(num_image_tokens=[self.num_image_tokens] * count, num_image_patches=[1] * count)
