"""Generation settings: one dataclass, its ranges, and the flags and API fields that follow from it."""

import argparse
import dataclasses
import math

import pytest

from minigpt4_model.chat.settings import GenerationSettings, SettingsError, add_flags, settings_from_flags
from minigpt4_model.presets import PRESETS

OPTIONS = {option.name: option for option in dataclasses.fields(GenerationSettings)}
SWITCHES = [name for name, option in OPTIONS.items() if isinstance(option.default, bool)]
NUMBERS = [name for name in OPTIONS if name not in SWITCHES]


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser)
    return parser.parse_args(flags)


def test_defaults_are_the_original_demos():
    settings = GenerationSettings()
    assert (settings.top_p, settings.temperature, settings.repetition_penalty, settings.max_new_tokens) == (0.9, 1.0, 1.05, 300)
    assert settings.seed is None and settings.num_beams == 1 and not settings.greedy
    assert not (settings.visual_contrast or settings.script_guard or settings.image_crops or settings.read_text)


@pytest.mark.parametrize("name", NUMBERS)
def test_both_ends_of_a_range_are_taken_and_beyond_is_not(name):
    low, high = OPTIONS[name].metadata["minimum"], OPTIONS[name].metadata["maximum"]
    for value in (low, high):
        assert getattr(GenerationSettings(**{name: value}), name) == value
    for value in (low - 1, high + 1, 10**400, -(10**5000)):
        with pytest.raises(SettingsError, match=f"{name} must be between {low} and {high}"):
            GenerationSettings(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["0.5", True, False, math.nan, [1], {}])
def test_what_is_not_a_number_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=f"{name} must be a "):
        GenerationSettings(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinity_is_refused(name, value):
    with pytest.raises(SettingsError, match=f"{name} must be "):
        GenerationSettings(**{name: value})


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_on_or_off_and_nothing_else(name):
    for value in (True, False):
        assert getattr(GenerationSettings(**{name: value}), name) is value
        flag = "--" + ("" if value else "no-") + name.replace("_", "-")
        assert getattr(settings_from_flags(parse(flag), GenerationSettings(**{name: not value})), name) is value
    for value in (1, 0, "true", None, 1.0):
        with pytest.raises(SettingsError, match=f"{name} must be true or false, not "):
            GenerationSettings(**{name: value})


def test_only_the_seed_may_be_none():
    assert GenerationSettings(seed=None).seed is None
    with pytest.raises(SettingsError, match="temperature must be a number, not None"):
        GenerationSettings(temperature=None)


def test_whole_numbers_from_sliders_become_integers():
    settings = GenerationSettings(max_new_tokens=200.0, temperature=1, seed=7.0)
    assert [type(value) for value in (settings.max_new_tokens, settings.temperature, settings.seed)] == [int, float, int]
    with pytest.raises(SettingsError, match="max_new_tokens must be a whole number, not 20.5"):
        GenerationSettings(max_new_tokens=20.5)


@pytest.mark.parametrize("temperature, greedy", [(0, True), (-0.0, True), (1e-30, True), (0.01, False), (1.0, False)])
def test_temperature_zero_means_greedy(temperature, greedy):
    assert GenerationSettings(temperature=temperature).greedy is greedy


def test_from_mapping_lays_fields_over_defaults():
    defaults = GenerationSettings(temperature=0.3, seed=5)
    settings = GenerationSettings.from_mapping({"top_p": 0.5, "temperature": None}, defaults)
    assert (settings.top_p, settings.temperature, settings.seed) == (0.5, 0.3, 5)
    assert GenerationSettings.from_mapping({"seed": None}, defaults).seed is None
    assert GenerationSettings.from_mapping({}) == GenerationSettings()


def test_unknown_names_are_listed_beside_the_known():
    with pytest.raises(SettingsError) as caught:
        GenerationSettings.from_mapping({"temprature": 1, "top_p": 1})
    assert "temprature" in str(caught.value) and all(name in str(caught.value) for name in OPTIONS)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_option_has_a_flag_that_reaches_it(name):
    value = OPTIONS[name].metadata["maximum"]
    settings = settings_from_flags(parse("--" + name.replace("_", "-"), str(value)), GenerationSettings())
    assert settings == dataclasses.replace(GenerationSettings(), **{name: value})


def test_flags_not_given_keep_the_defaults():
    defaults = GenerationSettings(temperature=0.3, max_new_tokens=50)
    assert settings_from_flags(parse(), defaults) == defaults
    assert settings_from_flags(parse("--temperature", "0"), defaults) == dataclasses.replace(defaults, temperature=0.0)


def test_flags_out_of_range_name_the_setting():
    with pytest.raises(SettingsError, match="top_p must be between"):
        settings_from_flags(parse("--top-p", "7"), GenerationSettings())
    with pytest.raises(argparse.ArgumentError, match="max-new-tokens"):
        parse("--max-new-tokens", "many")


def test_help_shows_every_range():
    parser = argparse.ArgumentParser()
    add_flags(parser)
    text = " ".join(parser.format_help().split())
    assert "From 0.0 to 2.0." in text and "From 1 to 4096." in text and "--seed" in text


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_s_settings_are_valid(preset):
    assert GenerationSettings.from_mapping(PRESETS[preset].settings)
