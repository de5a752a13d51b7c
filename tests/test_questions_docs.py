"""The promises of docs/questions.md: links lead somewhere, commands are commands, flags are flags of `ask`."""

import re
import shlex
from pathlib import Path

import pytest

from minigpt4_model.chat.ask import build_parser as ask_parser
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.evaluation import bench_guards, evaluate

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "questions.md").read_text("utf-8")
PARSERS = {"evaluate": evaluate.build_parser, "bench guards": bench_guards.build_parser}


def commands() -> list[tuple[str, list[str]]]:
    spans = re.findall(r"`(?:\S*python -m minigpt4_model )?((?:evaluate|bench guards) [^`]+)`", DOCUMENT)
    return [(verb, shlex.split(line.removeprefix(verb))) for line in spans for verb in PARSERS if line.startswith(verb)]


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", DOCUMENT)
    assert "settings.md" in links and [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.parametrize(("verb", "flags"), commands(), ids=str)
def test_commands_are_commands(verb, flags):
    PARSERS[verb]().parse_args(flags)  # a wrong flag ends the program


def test_flags_are_flags_and_settings_are_settings():
    assert len(commands()) >= 3
    known = {flag for action in ask_parser()._actions for flag in action.option_strings}
    for _, flags in commands():
        known |= {flag for flag in flags if flag.startswith("--")}
    named = set(re.findall(r"`(--[a-z-]+)", DOCUMENT))
    assert {"--visual-contrast", "--read-text", "--loop-guard", "--preset"} <= named <= known
    assert "The script guard is on in every preset" in DOCUMENT and GenerationSettings().leak_guard and GenerationSettings().loop_guard == 3


def test_every_figure_stands_in_the_table():
    """So that a new checkpoint means one table to write anew."""
    table = [line for line in DOCUMENT.splitlines() if line.startswith("|")]
    prose = re.sub(r"with\s+95 %\s+confidence", "", "\n".join(line for line in DOCUMENT.splitlines() if not line.startswith("|")))
    assert len(table) > 10 and all(len(line.split("|")) == 6 for line in table)
    assert re.findall(r"\d+ %", prose) == []
