"""What each preset is made of: one table.

A preset names the four parts of the paper's figure (vision encoder, Q-Former, projection, LLM), the chat template
its LLM was trained with, and how it likes to be decoded. Where the files come from is `weights/`; this module imports
nothing heavy, so `--help`, the page on the echo backend and the tests can read it without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

OFFICIAL_VARIANTS = ("vicuna", "llama2")

# What people ask about pictures, from the easiest to what takes a large LLM. The page offers a preset's own.
TASKS = ("name", "colour", "count", "line", "sketch", "scene", "funny", "advertisement", "story", "poem", "plant", "cooking")


@dataclass(frozen=True)
class Preset:
    """One row of the table.

    `settings` overrides defaults of `chat.settings.GenerationSettings` by field name. `context_length` counts tokens,
    pictures included. `kv_slots` is how many conversations have a key-value cache at the same time, those being answered
    included. `official_variant` is the layout of the original project's files that the preset is imported from (`OFFICIAL_VARIANTS`),
    None where this project made the weights. `tasks` are those of `TASKS` that it can honestly be asked for: of the full-size ones what
    the paper shows (figures 2 to 13), of pocket what it was measured to do. `blank_picture`: see `MiniGPT4Config`; a server that knows
    the model by its name only is sent one (`chat/backends/openai.py`).
    """

    name: str
    title: str
    good_for: str
    vision_encoder: str
    qformer: str
    language_model: str
    chat_template: str
    image_tokens: int
    context_length: int
    kv_slots: int
    official_variant: str | None
    tasks: tuple[str, ...]
    blank_picture: bool = False
    settings: Mapping[str, float | int] = field(default_factory=lambda: MappingProxyType({}))


# A switch of script in mid-answer is a known fault of the original. Off by default elsewhere: it changes what is sampled.
_GUARDED = MappingProxyType({"script_guard": True})

_PAPER_TASKS = ("scene", "funny", "sketch", "advertisement", "story", "poem", "plant", "cooking", "name")

_VICUNA_7B = Preset(
    name="vicuna-7b",
    title="MiniGPT-4 with Vicuna 7B",
    good_for="detailed descriptions, memes, sketches to HTML, on one GPU",
    vision_encoder="EVA-CLIP ViT-g/14, 39 blocks",
    qformer="BLIP-2's (FlanT5-XXL pretraining)",
    language_model="Vicuna v0 7B",
    chat_template="vicuna-v0",
    image_tokens=32,
    context_length=2048,
    kv_slots=2,
    official_variant="vicuna",
    tasks=_PAPER_TASKS,
    settings=_GUARDED,
)

_PRESETS = (
    Preset(
        name="pocket",
        title="MiniGPT-4 pocket",
        good_for="short questions about drawings of one or two things, and common things in photographs; often wrong",
        vision_encoder="EfficientNet-Lite2 (ImageNet, with a branch that learned drawings)",
        qformer="4 layers, 32 queries, trained by this project",
        language_model="SmolLM2-135M-Instruct",
        chat_template="chatml",
        image_tokens=32,
        context_length=2048,
        kv_slots=8,
        official_variant=None,
        tasks=("name", "colour", "sketch"),
        blank_picture=True,
        # A 135M model wanders at temperature 1: people meet it with a cooler default.
        settings=MappingProxyType({**_GUARDED, "temperature": 0.2, "max_new_tokens": 200, "repetition_penalty": 1.0}),
    ),
    _VICUNA_7B,
    replace(
        _VICUNA_7B,
        name="vicuna-13b",
        title="MiniGPT-4 with Vicuna 13B",
        good_for="the paper's best answers, on one large GPU",
        language_model="Vicuna v0 13B",
    ),
    Preset(
        name="llama2-7b",
        title="MiniGPT-4 with Llama-2-chat 7B",
        good_for="detailed descriptions with Llama 2's manners, on one GPU",
        vision_encoder="EVA-CLIP ViT-g/14, 39 blocks",
        qformer="none: four patches joined",
        language_model="Llama-2-chat 7B",
        chat_template="llama2",
        image_tokens=64,
        context_length=4096,
        kv_slots=2,
        official_variant="llama2",
        tasks=_PAPER_TASKS,
        settings=_GUARDED,
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _PRESETS})
DEFAULT_PRESET = "pocket"


def get_preset(name: str) -> Preset:
    """The preset called `name`. Raises `ValueError` that lists the names there are."""
    if name not in PRESETS:
        raise ValueError(f"--preset {name}: there is no such preset. Choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]
