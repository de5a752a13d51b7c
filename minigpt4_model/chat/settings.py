"""Generation settings: one dataclass from which the page's sliders, the flags, the API fields and the engine's arguments follow.

Names are those of transformers' `GenerationConfig`; defaults are the original demo's (MiniGPT-4 `conversation.py`,
`Chat.answer`: top_p 0.9, temperature 1, repetition_penalty 1.05, 300 new tokens), and what changes the choice of a token beyond that
is off; presets have defaults of their own (`presets.py`). To add a decoding option, add a field here. `docs/settings.md` tells people
what the guards do and what they were measured to do.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GREEDY_BELOW = 1e-3  # a temperature under this picks the likeliest word anyway, and dividing by it could overflow


SAMPLING, GUARDS, PICTURES = "Sampling", "Guards", "Pictures"

MOST_NEW_TOKENS = 4096


def _option(default, label: str, info: str, minimum, maximum, step, group: str = SAMPLING):
    about = {"label": label, "info": info, "minimum": minimum, "maximum": maximum, "step": step, "group": group}
    return field(default=default, metadata=about)


def _switch(default: bool, label: str, info: str, group: str):
    return _option(default, label, info, False, True, None, group)


class SettingsError(ValueError):
    """A setting has a value that it cannot have; the message names the setting, the value and the range."""


@dataclass(frozen=True)
class GenerationSettings:
    """How one answer is decoded. Checked when it is made: raises `SettingsError`."""

    max_new_tokens: int = _option(300, "Longest answer", "Tokens after which an answer is cut.", 1, MOST_NEW_TOKENS, 1)
    temperature: float = _option(1.0, "Temperature", "0 always takes the likeliest word; higher is more varied.", 0.0, 2.0, 0.05)
    top_p: float = _option(0.9, "Top-p", "Sample among the likeliest words that together reach this probability.", 0.01, 1.0, 0.01)
    top_k: int = _option(0, "Top-k", "Sample among this many likeliest words; 0 means all.", 0, 1000, 1)
    repetition_penalty: float = _option(1.05, "Repetition penalty", "Above 1, words already used become less likely.", 0.5, 2.0, 0.01)
    num_beams: int = _option(1, "Beams", "Above 1, searches several answers at once: slower, and nothing shows until the end.", 1, 10, 1)
    seed: int | None = _option(
        None, "Seed", "The same seed, question and settings give the same answer; without one each answer is new.", 0, 2**63 - 1, 1
    )
    visual_contrast: float = _option(
        0.0, "Visual contrast", "Above 0, favours words that a blank picture would not have brought: slower.", 0.0, 3.0, 0.1, GUARDS
    )
    loop_guard: int = _option(3, "Loop guard", "Ends an answer that repeats itself this many times in a row; 0 lets it.", 0, 10, 1, GUARDS)
    script_guard: bool = _switch(False, "Script guard", "Keeps to Latin letters and the writing systems you wrote or asked for.", GUARDS)
    leak_guard: bool = _switch(True, "Leak guard", "Ends an answer that writes your next question or the chat template.", GUARDS)
    html_guard: bool = _switch(True, "HTML guard", "Keeps elements closed and nested in HTML that the model writes.", GUARDS)
    image_crops: bool = _switch(False, "Look closer", "Shows four parts of each picture besides: 5 times the image tokens.", PICTURES)
    read_text: bool = _switch(False, "Read text", "Text found in a picture is given to the model as a quotation.", PICTURES)

    def __post_init__(self):
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if value is None and option.name == "seed":
                continue
            kind = _kind(option)
            if kind is bool:
                if not isinstance(value, bool):
                    raise SettingsError(f"{option.name} must be true or false, not {value!r}.")
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or (kind is int and value % 1):
                raise SettingsError(f"{option.name} must be {'a number' if kind is float else 'a whole number'}, not {value!r}.")
            low, high = option.metadata["minimum"], option.metadata["maximum"]
            if not low <= value <= high:
                shown = f", not {value}" if abs(value) < 1e30 else ""  # Python refuses to print integers of thousands of digits
                raise SettingsError(f"{option.name} must be between {low} and {high}{shown}.")
            object.__setattr__(self, option.name, kind(value))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest word is always taken, so that neither seed nor top-p and top-k matter."""
        return self.temperature < GREEDY_BELOW

    def no_longer_than(self, tokens: int) -> "GenerationSettings":
        """These settings with a longest answer of `tokens` at most."""
        return dataclasses.replace(self, max_new_tokens=min(self.max_new_tokens, tokens))

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], defaults: "GenerationSettings | None" = None) -> "GenerationSettings":
        """Settings from API fields or a form: names not given, or given as None, keep `defaults`.

        A seed of None draws a new one. Unknown names and values out of range raise `SettingsError`.
        """
        names = {option.name for option in dataclasses.fields(cls)}
        unknown = sorted(set(given) - names)
        if unknown:
            raise SettingsError(f"There is no setting called {', '.join(unknown)}. There are: {', '.join(sorted(names))}.")
        return dataclasses.replace(
            defaults or cls(), **{name: value for name, value in given.items() if value is not None or name == "seed"}
        )


def _kind(option: dataclasses.Field) -> type:
    return type(option.default) if option.default is not None else int


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One `--kebab-case` flag per setting; a flag that is not given leaves the preset's default."""
    group = parser.add_argument_group("generation settings")
    for option in dataclasses.fields(GenerationSettings):
        kind = _kind(option)
        if kind is bool:
            group.add_argument("--" + option.name.replace("_", "-"), action=argparse.BooleanOptionalAction, help=option.metadata["info"])
            continue
        low, high = option.metadata["minimum"], option.metadata["maximum"]
        group.add_argument(
            "--" + option.name.replace("_", "-"),
            type=kind,
            metavar="X" if kind is float else "N",
            help=f"{option.metadata['info']} From {low} to {high}." if option.name != "seed" else option.metadata["info"],
        )


def settings_from_flags(args: argparse.Namespace, defaults: GenerationSettings) -> GenerationSettings:
    """The settings that the flags of `add_flags` ask for, over `defaults`. Raises `SettingsError`."""
    names = [option.name for option in dataclasses.fields(GenerationSettings)]
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    return GenerationSettings.from_mapping(given, defaults)
