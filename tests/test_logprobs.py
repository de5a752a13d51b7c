"""How likely the tokens of an answer were: against the model's own logits, and which bytes a token stands for."""

import pytest
import torch

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.logprobs import token_bytes
from minigpt4_model.chat.messages import load_conversation
from minigpt4_model.chat.settings import GenerationSettings, SettingsError
from tests.tiny_chat import build_chatml_model, chatml_tokenizer, image, llama_tokenizer, user

SAMPLED = GenerationSettings(temperature=1.5, seed=3, repetition_penalty=1.3, max_new_tokens=12, script_guard=False, leak_guard=False)


@pytest.fixture(scope="module")
def engine():
    return Engine(*build_chatml_model())


def test_they_are_the_models_own_whatever_the_settings(engine):
    messages = [user(image(1), "What is it?")]
    answer = engine.stream(messages, SAMPLED, top_logprobs=3).join()
    assert answer.text == engine.answer(messages, SAMPLED).text  # asking for them changes nothing
    rendered = engine.render(load_conversation(messages))
    features = torch.cat([engine.encode_image(picture).features for picture in rendered.pictures])[None]
    with torch.inference_mode():
        prompt = engine._model.embed_prompt(torch.tensor([rendered.input_ids]), features)
        said = engine._model.embed_prompt(torch.tensor([answer.token_ids]), None)
        logits = engine._model(inputs_embeds=torch.cat([prompt, said], dim=1)).logits[0, len(rendered.input_ids) - 1 : -1]
    expected = logits.log_softmax(dim=-1)
    ids = [token for token in answer.token_ids if token not in engine._stop_rules.end_tokens]
    assert len(answer.logprobs) == len(ids) > 5
    for row, token, told in zip(expected, ids, answer.logprobs, strict=False):
        assert told.logprob == pytest.approx(float(row[token]), abs=1e-4)
        assert told.data == token_bytes(engine.tokenizer, token)
        assert [other.logprob for other in told.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)
        assert told.top[0].logprob >= told.logprob


def test_none_are_kept_unless_asked_for(engine):
    assert engine.answer([user("Hello")], SAMPLED).logprobs == []
    assert all(told.top == () for told in engine.stream([user("Hello")], SAMPLED, top_logprobs=0).join().logprobs)


def test_beams_have_none(engine):
    with pytest.raises(SettingsError, match="num_beams"):
        engine.stream([user("Hello")], GenerationSettings(num_beams=2), top_logprobs=0)


@pytest.mark.parametrize("tokenizer", [chatml_tokenizer(), llama_tokenizer()], ids=["byte-level", "sentencepiece"])
def test_the_bytes_of_the_tokens_are_the_text(tokenizer):
    text = "Zoë is in\nthe 🦔 garden"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert b"".join(token_bytes(tokenizer, token) for token in ids).decode().strip() == text
    assert any(len(token_bytes(tokenizer, token).decode(errors="ignore")) == 0 for token in ids)  # parts of characters are among them
    assert token_bytes(tokenizer, tokenizer.eos_token_id) == tokenizer.eos_token.encode()


def test_an_echo_is_certain():
    answer = EchoBackend().stream([user("one two")], top_logprobs=2).join()
    assert b"".join(told.data for told in answer.logprobs).decode() == answer.text
    assert {told.logprob for told in answer.logprobs} == {0.0}
    assert all(told.top == (type(told)(told.data, 0.0),) for told in answer.logprobs)
