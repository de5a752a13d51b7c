"""A tiny ChatML model for the chat tests: a byte-level tokenizer with SmolLM2's special tokens, two small layers, fp32."""

from functools import lru_cache

import numpy as np
import PIL.Image
import torch

import minigpt4_model.model  # noqa: F401  registers the Auto classes before transformers' models are imported
from minigpt4_model.chat.messages import LoadedPicture
from minigpt4_model.model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from minigpt4_model.model.configuration import bert_base_qformer
from tests import tiny_models

llama_tokenizer = lru_cache(tiny_models.llama_tokenizer)

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<filename>")


@lru_cache
def chatml_tokenizer():
    """Every byte a token, a few merges, SmolLM2's special tokens at its ids; BOS is <|im_start|> as in its GGUF file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "s"), ("Ġ", "is"), ("#", "#"), ("Ċ", "Ċ")]
    words = [*SPECIAL, *alphabet, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=["<repo_name>", "<filename>"],
    )


def build_chatml_model(seed: int = 0) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """Random weights, drawn wide enough that what is said depends on the picture and on the question."""
    tokenizer = chatml_tokenizer()
    config = MiniGPT4Config(
        vision_config=dict(image_size=28, hidden_size=32, num_hidden_layers=1, num_attention_heads=4),
        qformer_config=bert_base_qformer(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, encoder_hidden_size=32
        ).to_dict(),
        text_config=dict(
            model_type="llama",
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
        ),
        chat_template_name="chatml",
    )
    torch.manual_seed(seed)
    model = MiniGPT4ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for weight in (*model.model.qformer.parameters(), *model.model.vision_model.parameters()):
            if weight.ndim > 1:
                weight.normal_(std=0.3)
        model.model.language_projection.weight.normal_(std=0.5)
    return model, MiniGPT4Processor.from_config(config, tokenizer)


def picture(number: int = 0, notice: str = "") -> LoadedPicture:
    """A small picture of large coloured squares; equal numbers give equal pixels."""
    pixels = np.random.default_rng(number).integers(0, 2, (2, 2, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1) * 255
    return LoadedPicture(PIL.Image.fromarray(pixels), digest=f"picture {number}", notice=notice)


def image(number: int = 0) -> dict:
    return {"type": "image", "image": picture(number)}


def user(*parts: str | dict) -> dict:
    return {"role": "user", "content": [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}
