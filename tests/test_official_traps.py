"""Traps of parity with the original that no other file tests, and the document that lists them all."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minigpt4_model.__main__ import VERBS
from minigpt4_model.chat.messages import load_turns
from minigpt4_model.model import MiniGPT4ForConditionalGeneration
from minigpt4_model.training.conversations import pad_right
from minigpt4_model.training.stages import StageText
from minigpt4_model.weights.export_official import build_parser as export_parser
from minigpt4_model.weights.import_official import build_parser as import_parser
from minigpt4_model.weights.sources import OFFICIAL_PRESETS
from tests.tiny_models import build_parity_model, build_tiny_model, llama_tokenizer

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "official-checkpoints.md").read_text(encoding="utf-8")


def test_gelu_is_exact_everywhere():
    model: MiniGPT4ForConditionalGeneration = build_parity_model()[0]
    activations = [module for module in model.model.vision_model.modules() if isinstance(module, nn.GELU)]
    assert len(activations) == 3 and all(module.approximate == "none" for module in activations)
    acts = {layer.intermediate_query.intermediate_act_fn for layer in model.model.qformer.encoder.layer}
    x = torch.linspace(-4, 4, 1000)
    assert all(torch.equal(act(x), F.gelu(x)) for act in acts)
    assert not torch.allclose(F.gelu(x), F.gelu(x, approximate="tanh"), atol=1e-5), "the difference would show"


def test_a_separator_has_two_spellings_in_ids():
    tokenizer = llama_tokenizer()

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    assert ids("###") == [835] and ids("a cat.###")[-2:] == [2277, 29937]
    assert ids("<s>[INST]")[0] == 1, "upstream's Llama-2 template writes it in its text"


def test_a_price_in_a_caption_is_learned():
    """Upstream pads with `$$`, a word of its own, and so leaves a price in a caption out of the loss. Here padding goes by length."""
    _, processor = build_tiny_model()
    text = StageText(stage=2, processor=processor, family="vicuna-v0", max_text_tokens=160)
    messages = [{"role": "user", "content": "What does it cost?"}, {"role": "assistant", "content": "It costs 5$$ a pound."}]
    rendered = text.render(load_turns(messages))
    learned = [label for label in rendered.labels if label != -100]
    assert 3997 in learned, "upstream's padding id"
    assert processor.tokenizer.decode(learned).startswith("It costs 5$$ a pound.")
    padded = pad_right([rendered.labels, [1]], fill=-100)
    assert padded[0].tolist() == rendered.labels and padded[1, 1:].eq(-100).all()


# --- the document


def test_every_trap_names_tests_that_are_there():
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 17))
    for number, named in rows:
        found = re.findall(r"`(test_\w+\.py)::(\w+)`", named)
        assert found, number
        for file, test in found:
            assert re.search(rf"^def {test}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE), (number, file, test)


def test_the_table_of_sources_is_the_program_s():
    for preset in OFFICIAL_PRESETS.values():
        repository = preset.language_model
        assert f"`{repository.name}` at `{repository.revision[:12]}`" in DOCUMENT
        for file in preset.files:
            assert f"`{file.name}`" in DOCUMENT and file.licence in DOCUMENT
            assert file.sha256 is None or f"`{file.sha256[:8]}…`" in DOCUMENT


@pytest.mark.parametrize(("verb", "parser"), [("import-official", import_parser()), ("export-official", export_parser())])
def test_its_commands_are_commands(verb, parser):
    lines = [line for line in DOCUMENT.splitlines() if f"minigpt4_model {verb} " in line]
    assert lines and verb in VERBS
    for line in lines:
        parser.parse_args(shlex.split(line.partition(f" {verb} ")[2]))
