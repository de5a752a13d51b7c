"""The API over the real engine with a tiny model: what is reused from turn to turn, and the same tokens through every door."""

import base64
import io

import openai
import pytest

from minigpt4_model.chat.backends import open_backend
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.messages import question
from minigpt4_model.chat.settings import GenerationSettings
from tests.api_server import serving, wait_until
from tests.tiny_chat import build_chatml_model, picture

GREEDY = {"temperature": 0, "max_tokens": 12, "extra_body": {"repetition_penalty": 1.2, "return_token_ids": True, "loop_guard": 0}}
QUESTION = "What is it?"


@pytest.fixture(scope="module")
def engine():
    return Engine(*build_chatml_model())


@pytest.fixture(scope="module")
def server(engine):
    with serving(engine) as server:
        yield server


def with_picture(text: str) -> dict:
    data = io.BytesIO()
    picture(1).image.save(data, "PNG")
    url = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]}


def test_a_second_turn_computes_only_what_is_new(engine, server, monkeypatch):
    client = server.client()
    encoded = []
    get_image_features = engine._model.get_image_features
    monkeypatch.setattr(engine._model, "get_image_features", lambda *a, **k: encoded.append(1) or get_image_features(*a, **k))
    engine.forget()
    name = engine.description.name
    messages = [with_picture(QUESTION)]
    first = client.chat.completions.create(model=name, messages=messages, **GREEDY)
    assert first.usage.prompt_tokens_details.cached_tokens == 0 and first.usage.prompt_tokens_details.image_tokens == 32
    # The picture comes again, as another data URL with the same pixels.
    messages += [first.choices[0].message, {"role": "user", "content": "And now?"}]
    second = client.chat.completions.create(model=name, messages=messages, **GREEDY)
    assert encoded == [1]
    reused = second.usage.prompt_tokens_details.cached_tokens
    assert reused >= first.usage.prompt_tokens - 1  # the whole first prompt, pictures included
    assert second.timings["encode_s"] == 0.0


def test_the_same_tokens_at_every_door(engine, server):
    settings = GenerationSettings(temperature=0, max_new_tokens=12, repetition_penalty=1.2, loop_guard=0)
    messages = [question(QUESTION, [picture(1).image])]
    here = engine.answer(messages, settings)
    there = server.client().chat.completions.create(model=engine.description.name, messages=[with_picture(QUESTION)], **GREEDY)
    assert (there.choices[0].token_ids, there.choices[0].message.content) == (here.token_ids, here.text)
    backend = open_backend("openai", base_url=server.url)
    try:
        remote = backend.answer(messages, settings)
        asked = GenerationSettings(temperature=1, seed=11, max_new_tokens=12)
        sampled = (backend.generate(messages, asked), engine.generate(messages, asked))
    finally:
        backend.close()
    assert (remote.text, remote.finish_reason, remote.usage.prompt_tokens) == (here.text, here.finish_reason, here.usage.prompt_tokens)
    assert sampled[0] == sampled[1]


def test_several_choices_share_the_prompt_and_differ(engine, server):
    options = {"temperature": 1.5, "seed": 5, "max_tokens": 10, "extra_body": {"return_token_ids": True}}
    ask = {"model": engine.description.name, "messages": [with_picture("Say something")], **options}
    several = server.client().chat.completions.create(**ask, n=3)
    alone = server.client().chat.completions.create(**ask)
    ids = [choice.token_ids for choice in several.choices]
    assert ids[0] == alone.choices[0].token_ids and len({tuple(row) for row in ids}) == 3


def test_leaving_a_stream_stops_the_model(engine, server, monkeypatch):
    steps = []
    forward = engine._model.forward
    monkeypatch.setattr(engine._model, "forward", lambda *a, **k: steps.append(1) or forward(*a, **k))
    stream = server.client().chat.completions.create(
        model=engine.description.name,
        messages=[{"role": "user", "content": "Go on"}],
        stream=True,
        max_tokens=1900,
        temperature=1,
        extra_body={"loop_guard": 0, "leak_guard": False},
    )
    next(iter(stream))
    stream.close()
    counted = []

    def at_rest() -> bool:
        counted.append(len(steps))
        return len(counted) > 10 and counted[-1] == counted[-10]

    wait_until(at_rest)
    assert len(steps) < 1000


def test_beams_and_logprobs_exclude_each_other(engine, server):
    with pytest.raises(openai.BadRequestError, match="num_beams"):
        server.client().chat.completions.create(
            model=engine.description.name, messages=[with_picture("x")], logprobs=True, extra_body={"num_beams": 2}
        )
