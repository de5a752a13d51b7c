"""The whole architecture, Hugging Face native.

    picture -> vision_model (frozen) -> (B, N, Dv) -> qformer with 32 query_tokens -> (B, 32, Dq)
            -> language_projection -> (B, 32, D) -> spliced into the prompt of language_model (frozen) -> text

Source: MiniGPT-4 (Zhu et al. 2023), section 3 and upstream `minigpt4/models/mini_gpt4.py`. Names are BLIP-2's in transformers.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, Blip2QFormerModel, Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, ModelOutput

from .configuration import MiniGPT4Config
from .qformer import join_patches, run_qformer
from .vision_encoder import MiniGPT4VisionModel


@dataclass
class MiniGPT4Output(ModelOutput):
    """`loss` is a scalar, there when labels were given. `logits` `(B, L or logits_to_keep, V)`, None when labels were given.

    `image_features` `(P, T, D)` are the pictures' tokens, where pictures were given.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    image_features: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class MiniGPT4PreTrainedModel(PreTrainedModel):
    config: MiniGPT4Config
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]
    # The original keeps the Q-Former and the projection in fp32 whatever the precision of the rest.
    _keep_in_fp32_modules_strict = {"query_tokens", "qformer", "language_projection"}

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MiniGPT4Model) and module.qformer is not None:
            nn.init.normal_(module.query_tokens, std=self.config.qformer_config.initializer_range)


class MiniGPT4Model(MiniGPT4PreTrainedModel):
    """Everything but the LLM's output layer."""

    def __init__(self, config: MiniGPT4Config):
        super().__init__(config)
        self.vision_model = MiniGPT4VisionModel._from_config(config.vision_config)
        if config.qformer_config is None:
            self.qformer, self.query_tokens = None, None
            image_width = config.patches_per_token * config.vision_config.hidden_size
        else:
            image_width = config.qformer_config.hidden_size
            self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, image_width))
            self.qformer = Blip2QFormerModel._from_config(config.qformer_config)
        self.language_projection = nn.Linear(image_width, config.text_config.hidden_size)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def project_features(self, features: torch.Tensor) -> torch.Tensor:
        """The vision encoder's `(B, N, Dv)` -> `(B, T, D)` image tokens. Training enters here when features are cached."""
        if self.qformer is None:
            tokens = join_patches(features, self.config.patches_per_token)
        else:
            tokens = run_qformer(self.qformer, self.query_tokens, features)
        return self.language_projection(tokens.to(self.language_projection.weight.dtype))

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """`(B, 3, S, S)` pixels; `.pooler_output` is `(B, T, D)`, the tokens that stand for each picture in the prompt,
        `.last_hidden_state` the vision encoder's `(B, N, Dv)`."""
        features = self.vision_model(pixel_values).last_hidden_state
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=self.project_features(features))

    def embed_prompt(self, input_ids: torch.Tensor, image_features: torch.Tensor | None = None) -> torch.Tensor:
        """Word embeddings with the pictures spliced in: `(B, L)` ids and `(P, T, D)` pictures -> `(B, L, D)`.

        The pictures fill the positions of `image_token_id` in reading order, row after row. Raises `ValueError` when
        their number does not fit the number of placeholders.
        """
        is_image = input_ids == self.config.image_token_id  # (B, L)
        embeds = self.get_input_embeddings()(input_ids.masked_fill(is_image, 0))  # (B, L, D)
        given = 0 if image_features is None else image_features.shape[0] * image_features.shape[1]
        if int(is_image.sum()) != given:
            raise ValueError(
                f"The prompt has {int(is_image.sum())} image placeholders ({self.config.image_token}), but the pictures make "
                f"{given} tokens; each picture takes {self.config.num_image_tokens}."
            )
        if image_features is None:
            return embeds
        tokens = image_features.reshape(-1, image_features.shape[-1]).to(embeds.dtype)
        return embeds.masked_scatter(is_image[..., None].expand_as(embeds), tokens)

    def read_pictures(
        self,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        vision_features: torch.Tensor | None = None,
        qformer_features: torch.Tensor | None = None,
    ) -> torch.Tensor | None:
        """Whatever way the pictures are given, their tokens `(P, T, D)`; None without any. Raises `ValueError` when given twice.

        `vision_features` `(P, N, Dv)` and `qformer_features` `(P, T, Dq)` are what these parts made of them earlier.
        """
        if sum(given is not None for given in (pixel_values, image_features, vision_features, qformer_features)) > 1:
            raise ValueError("Give either pixel_values or image_features or vision_features or qformer_features, not several.")
        if vision_features is not None:
            return self.project_features(vision_features)
        if qformer_features is not None:
            return self.language_projection(qformer_features)
        return image_features if pixel_values is None else self.get_image_features(pixel_values).pooler_output

    def embed_inputs(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Whatever way the prompt is given, its embeddings `(B, L, D)`. Raises `ValueError` when it is given twice or not at all."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give either input_ids or inputs_embeds, not both and not neither.")
        tokens = self.read_pictures(pixel_values, image_features)
        return inputs_embeds if inputs_embeds is not None else self.embed_prompt(input_ids, tokens)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """Hidden states `(B, L, D)`. Pictures come as `pixel_values` `(P, 3, S, S)` or as `image_features` `(P, T, D)`."""
        return self.language_model(
            inputs_embeds=self.embed_inputs(input_ids, pixel_values, image_features, inputs_embeds),
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )


class MiniGPT4ForConditionalGeneration(MiniGPT4PreTrainedModel, GenerationMixin):
    """The model with the LLM's output layer: loss for training, logits and `generate` for chatting."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: MiniGPT4Config):
        super().__init__(config)
        self.model = MiniGPT4Model(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path=None, *args, **kwargs):
        """As transformers', but refuses a projection checkpoint with `ValueError`: its frozen parts would be random numbers."""
        if pretrained_model_name_or_path is not None:
            config = kwargs.get("config") or MiniGPT4Config.from_pretrained(pretrained_model_name_or_path)
            if config.frozen_parts is not None:
                raise ValueError(
                    f"{pretrained_model_name_or_path} is a projection checkpoint, without the frozen parts ({config.frozen_parts}). "
                    "Open it with minigpt4_model.weights.load.load_model, and save the model whole with save_pretrained."
                )
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    def save_pretrained(self, *args, **kwargs):
        """As transformers': the whole model, which needs no other's frozen parts any more."""
        frozen_parts, self.config.frozen_parts = self.config.frozen_parts, None
        try:
            return super().save_pretrained(*args, **kwargs)
        finally:
            self.config.frozen_parts = frozen_parts

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    @property
    def language_model(self) -> PreTrainedModel:
        return self.model.language_model

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        return self.model.get_image_features(pixel_values, **kwargs)

    def embed_prompt(self, input_ids: torch.Tensor, image_features: torch.Tensor | None = None) -> torch.Tensor:
        return self.model.embed_prompt(input_ids, image_features)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        vision_features: torch.Tensor | None = None,
        qformer_features: torch.Tensor | None = None,
        num_items_in_batch: int | torch.Tensor | None = None,
        label_weights: torch.Tensor | None = None,
        **kwargs,
    ) -> MiniGPT4Output:
        """Next-token logits, or, with `labels` `(B, L)` (-100 where nothing is to be learned), the mean cross-entropy.

        The loss looks at target positions only, so no logits over the vocabulary are made for the prompt. With
        `num_items_in_batch` it is the sum over the targets divided by that number, which is transformers' name for the targets
        of a whole step, other processes' included. `label_weights` `(B, L)` says how much each label counts, in the sum and in what
        the mean is taken over; all alike where not given. Pictures may also come as what a frozen part made of them earlier
        (`read_pictures`); without any prompt they give their tokens only. `logits_to_keep` keeps the last n positions (0: all).
        """
        image_features = self.model.read_pictures(pixel_values, image_features, vision_features, qformer_features)
        if input_ids is None and inputs_embeds is None and image_features is not None:
            return MiniGPT4Output(image_features=image_features)
        outputs = self.model(
            input_ids=input_ids,
            image_features=image_features,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden = outputs.last_hidden_state  # (B, L, D)
        loss = logits = None
        if labels is None:
            keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            logits = self.lm_head(hidden[:, keep])
        else:
            targets = labels[:, 1:]
            learned = targets != -100
            if not bool(learned.any()):
                raise ValueError("labels hold no target: every position after the first is -100.")
            losses = F.cross_entropy(self.lm_head(hidden[:, :-1][learned]).float(), targets[learned], reduction="none")
            weights = torch.ones_like(losses) if label_weights is None else label_weights[:, 1:][learned]
            loss = (losses * weights).sum() / (weights.sum() if num_items_in_batch is None else num_items_in_batch)
        return MiniGPT4Output(
            loss=loss,
            logits=logits,
            image_features=image_features,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """`(B, new tokens)`: the new tokens only, as the original's `generate` over embeddings gives them.

        The prompt is embedded once, pictures included, so beams and several pictures per row need no care, and the
        repetition penalty never sees the prompt. `attention_mask` `(B, L)` marks left padding with 0.
        """
        inputs_embeds = self.model.embed_inputs(input_ids, pixel_values, image_features, inputs_embeds)
        if attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        return super().generate(inputs_embeds=inputs_embeds, attention_mask=attention_mask, **kwargs)
