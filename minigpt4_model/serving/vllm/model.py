"""The model as vLLM runs it: its Transformers modeling backend over `model.MiniGPT4Model`, paged attention in the LLM.

The LLM's layers become vLLM's and follow its parallel plans; the perception (vision encoder, Q-Former, projection) stays as it is, on
every rank, in its own precision.
"""

from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models.transformers import TransformersMultiModalForCausalLM
from vllm.model_executor.models.transformers.multimodal import MultiModalDummyInputsBuilder, MultiModalProcessingInfo, MultiModalProcessor
from vllm.multimodal import MULTIMODAL_REGISTRY

PERCEPTION = ("vision_model", "qformer", "language_projection")


@MULTIMODAL_REGISTRY.register_processor(
    MultiModalProcessor,
    info=MultiModalProcessingInfo,
    dummy_inputs=MultiModalDummyInputsBuilder,
)
class MiniGPT4ForVLLM(TransformersMultiModalForCausalLM):
    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        # The placeholder is one past the last word: it must not reach the embedding table.
        self.configure_mm_token_handling(self.text_config.vocab_size, [self.config.image_token_id])

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        return "<ImageHere>" if modality == "image" else None

    def recursive_replace(self) -> None:
        """As vLLM's, but past the perception: timm's ViT multiplies by its weights itself, which vLLM's packed layers have not."""
        perception = {name: part for name in PERCEPTION if (part := getattr(self.model, name)) is not None}
        for name in perception:
            setattr(self.model, name, nn.Identity())
        super().recursive_replace()
        for name, part in perception.items():
            setattr(self.model, name, part)
