"""How the page looks: Gradio's base theme with one accent colour and the system's own fonts. Nothing is fetched from elsewhere."""

from pathlib import Path

import gradio as gr

STYLE = Path(__file__).with_name("style.css")
# What the page begins with, in this order.
_NAMES = ("page", "ticket", "draft", "sending", "pictures", "meter", "history", "share")
SCRIPTS = tuple(Path(__file__).with_name(f"{name}.js") for name in _NAMES)


def build_theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Liberation Mono", "monospace"],
    ).set(
        # The base theme's greys are too faint to read comfortably.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color_dark="white",
    )
