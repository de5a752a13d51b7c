"""The top of the page: what this is, which preset runs, what it is made of and what it is good at."""

import html
import re

import gradio as gr

from ..chat.backends.base import BackendDescription
from ..presets import PRESETS


def build_header_panel(description: BackendDescription) -> None:
    gr.HTML(header_html(description), elem_id="header")


def header_html(description: BackendDescription) -> str:
    """The title, and one line: the preset's parts in the order of the paper's figure, and what it is good at."""
    preset = PRESETS.get(description.name)
    pictures = "Chat about your pictures"
    if preset is not None:
        connector = preset.qformer.removeprefix("none: ") if preset.qformer.startswith("none: ") else "Q-Former"
        names = [_name(preset.vision_encoder), connector, _name(preset.language_model)]
        details = "; ".join([preset.vision_encoder, f"Q-Former: {preset.qformer}", preset.language_model, f"runs on {description.device}"])
        pictures += f' with <span class="parts" title="{html.escape(details)}">{html.escape(" → ".join(names))}</span>'
    return f"<h1>{html.escape(description.title)}</h1><p>{pictures}. Good for {html.escape(description.good_for)}.</p>"


def _name(part: str) -> str:
    """A part of a preset without its details: “EfficientNet-Lite2 (ImageNet)” is called EfficientNet-Lite2."""
    return re.split(r" \(|, ", part)[0]
