"""The top of the page: what this is, which preset runs, what it is made of and what it is good at."""

import html

import gradio as gr

from ..chat.backends.base import BackendDescription
from ..presets import PRESETS


def build_header_panel(description: BackendDescription) -> None:
    gr.HTML(header_html(description), elem_id="header")


def header_html(description: BackendDescription) -> str:
    title, good_for = html.escape(description.title), html.escape(description.good_for)
    line = f'<h1>{title}</h1><p>Chat about your pictures. <span class="good-for">Good for {good_for}.</span></p>'
    preset = PRESETS.get(description.name)
    if preset is None:
        return line
    parts = [preset.vision_encoder, f"Q-Former: {preset.qformer}", preset.language_model]
    chips = "".join(f"<li>{html.escape(part)}</li>" for part in [*parts, f"runs on {description.device}"])
    return f'{line}<ul class="parts" aria-label="What preset {html.escape(preset.name)} is made of">{chips}</ul>'
