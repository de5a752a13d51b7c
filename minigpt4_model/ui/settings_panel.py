"""The settings: one control for each field of `GenerationSettings`, made from its metadata."""

import dataclasses
from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from ..chat.backends.base import BackendDescription
from ..chat.settings import GenerationSettings, SettingsError
from .texts import label, text_html


def build_settings_panel(about: BackendDescription) -> list[Component]:
    """The controls, in the order of the fields. A field that may be empty gets a text box, a switch a checkbox, the others a slider."""
    defaults = about.settings.no_longer_than(about.longest_answer)
    gr.HTML(f"<p>{text_html('settings.when')}</p>")
    controls, group = [], None
    for option in dataclasses.fields(GenerationSettings):
        if group not in (None, option.metadata["group"]):
            gr.HTML(f"<h3>{text_html('settings.group.' + option.metadata['group'])}</h3>")
        group = option.metadata["group"]
        controls.append(build_control(option, getattr(defaults, option.name), about.longest_answer))
    reset = gr.Button(label("settings.reset"), size="sm", elem_id="reset-settings")
    shown = controls_from_settings(defaults)
    reset.click(lambda: shown, None, controls, api_visibility="private", show_progress="hidden")
    return controls


def settings_from_controls(values: Sequence[float | bool | str]) -> GenerationSettings:
    """The settings that the controls show. Raises `SettingsError` for a value that is none."""
    given = {}
    for option, value in zip(dataclasses.fields(GenerationSettings), values, strict=True):
        if isinstance(value, str):
            value = value.strip()
            if value and not (value.isdecimal() and len(value) < 20):
                raise SettingsError(f"{option.metadata['label']}: {value!r} is not a whole number. Leave it empty or write digits.")
            value = int(value) if value else option.default
        given[option.name] = value
    return GenerationSettings(**given)


def controls_from_settings(settings: GenerationSettings) -> list[float | bool | str]:
    """What the controls show for `settings`; `settings_from_controls` is the way back."""
    return ["" if value is None else str(value) if name == "seed" else value for name, value in dataclasses.asdict(settings).items()]


def build_control(option: dataclasses.Field, value, longest_answer: int, prefix: str = "setting") -> Component:
    """The control of a field of `GenerationSettings`; its id in the page is `prefix-NAME`. No answer is longer than `longest_answer`."""
    about = option.metadata
    key = f"setting.{option.name}"
    named = {"label": label(f"{key}.label"), "info": label(f"{key}.info"), "elem_id": f"{prefix}-{option.name}", "interactive": True}
    if option.default is None:
        # Not gr.Number: in the browser it turns an empty value into 0, and does not hold 63 bits.
        return gr.Textbox("" if value is None else str(value), placeholder=label("settings.seed_empty"), **named)
    if isinstance(option.default, bool):
        return gr.Checkbox(value, **named)
    most = longest_answer if option.name == "max_new_tokens" else about["maximum"]
    return gr.Slider(about["minimum"], most, value, step=about["step"], **named)
