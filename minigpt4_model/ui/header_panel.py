"""The top of the page: what this is, which preset runs, what it is made of and what it is good at; a button for
each panel, and one that begins anew."""

import html
import re
from collections.abc import Sequence

import gradio as gr

from ..chat.backends.base import BackendDescription
from ..presets import PRESETS
from .icons import icon
from .texts import text_html


def build_header_panel(description: BackendDescription, panels: Sequence[tuple[str, str]]) -> None:
    """`panels`: the name and the icon of each, in the order of their buttons."""
    buttons = new_button() + "".join(panel_button(name, picture) for name, picture in panels)
    gr.HTML(f"<div>{header_html(description)}</div><nav>{buttons}</nav>", elem_id="header")


def new_button() -> str:
    """A button that presses the hidden one of the page with the id `new`; `page.js` makes it work."""
    return f'<button type="button" data-press="new">{icon("new")}{text_html("header.new")}</button>'


def panel_button(name: str, picture: str) -> str:
    """A button that opens the panel `name`; `page.js` makes it work."""
    expands = f'data-panel="{name}" aria-controls="panel-{name}" aria-expanded="false"'
    return f'<button type="button" {expands}>{icon(picture)}{text_html("panel." + name)}</button>'


def header_html(description: BackendDescription) -> str:
    """The title, and one line: the preset's parts in the order of the paper's figure, and what it is good at."""
    preset = PRESETS.get(description.name)
    parts, good_for = "", html.escape(description.good_for)
    if preset is not None:
        connector = preset.qformer.removeprefix("none: ") if preset.qformer.startswith("none: ") else "Q-Former"
        names = [_name(preset.vision_encoder), connector, _name(preset.language_model)]
        details = "; ".join([preset.vision_encoder, f"Q-Former: {preset.qformer}", preset.language_model, f"runs on {description.device}"])
        parts = f'<span class="parts" title="{html.escape(details)}">{html.escape(" → ".join(names))}</span><span class="dot"> · </span>'
        if good_for == html.escape(preset.good_for):
            good_for = text_html(f"preset.{preset.name}.good_for")
    return f"<h1>{html.escape(description.title)}</h1><p>{parts}{text_html('header.good_for')} {good_for}</p>"


def _name(part: str) -> str:
    """A part of a preset without its details: “EfficientNet-Lite2 (ImageNet)” is called EfficientNet-Lite2."""
    return re.split(r" \(|, ", part)[0]
