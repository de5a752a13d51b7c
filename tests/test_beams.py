"""Beams end and are cut as sampled answers are: stops, loops, template text, writing systems."""

import pytest
import torch

from minigpt4_model.chat.backends.base import Answer
from minigpt4_model.chat.beams import StopWhen, finish_answer
from minigpt4_model.chat.decoding import StopRules
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.guards import LEAKED, LOOPED, GuardFactory, Guards
from minigpt4_model.chat.messages import Turn
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.chat.templates import VICUNA_V0
from minigpt4_model.chat.writing_systems import systems_in
from tests.tiny_chat import build_chatml_model, image, llama_tokenizer, user

RULES = StopRules(frozenset({2}), ((835,), (2277, 29937)))


def guards() -> Guards:
    factory = GuardFactory(VICUNA_V0, llama_tokenizer(), RULES.end_tokens)
    return factory.build(GenerationSettings(), [Turn("user", ("What is this?",))])


@pytest.mark.parametrize(
    "text, shown, reason, notices",
    [
        ("A cat.</s></s></s>", "A cat.", "stop", []),
        ("A cat.###Human: more", "A cat.", "stop", []),
        ("A cat.", "A cat.", "length", []),
        ("A cat.\nHuman: And now?", "A cat.", "guard", [LEAKED]),
        ("so on " * 39 + "so on", "so on " * 39 + "so on", "guard", [LOOPED]),
    ],
)
def test_a_whole_beam_is_cut_where_a_stream_would_end(text, shown, reason, notices):
    ids = llama_tokenizer()(text, add_special_tokens=False).input_ids
    answer = Answer()
    assert finish_answer(answer, ids, llama_tokenizer(), VICUNA_V0, RULES, guards()) == shown
    assert (answer.finish_reason, answer.notices) == (reason, notices)
    assert answer.usage.completion_tokens == len(answer.token_ids) <= len(ids)


def test_each_beam_ends_by_itself_and_all_when_cancelled():
    rows = torch.tensor([[7, 8] * 16, list(range(40, 72)), [*range(40, 70), 2277, 29937]])
    ends = StopWhen(RULES, Guards(repeats=3), str, lambda: False)(rows, torch.zeros(3, 1))
    assert ends.tolist() == [True, False, True]
    assert StopWhen(RULES, Guards(repeats=3), str, lambda: True)(rows, torch.zeros(3, 1)).all()


def test_beams_keep_to_the_person_s_writing_system():
    engine = Engine(*build_chatml_model())
    messages = [user(image(1), "What?")]
    for seed in range(3):
        settings = GenerationSettings(num_beams=2, seed=seed, temperature=2.0, max_new_tokens=40, script_guard=True)
        assert systems_in(engine.generate(messages, settings)) <= {"LATIN"}
