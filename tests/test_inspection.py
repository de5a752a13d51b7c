"""Looking back at an answer: attention as it was, likelihoods with and without the pictures, what each image token was worth."""

import math

import pytest
import torch

from minigpt4_model.chat import inspector
from minigpt4_model.chat.backends.base import BackendError, TokenLogprob
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.inspection import InspectedToken, group_words, inspecting
from minigpt4_model.chat.messages import load_conversation
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.model.qformer import read_cross_attention
from minigpt4_model.serving.watched import WatchedBackend
from tests.tiny_chat import assistant, build_chatml_model, image, picture, user
from tests.tiny_models import build_tiny_model

SETTINGS = GenerationSettings(temperature=1.5, seed=3, max_new_tokens=10, script_guard=False, leak_guard=False, loop_guard=0)
ASKED = [user(image(1), "What is it?")]
TWO = [user(image(1), "What is it?"), assistant("A thing."), user(image(2), "And this?")]


@pytest.fixture(scope="module")
def engine():
    return Engine(*build_chatml_model())


@pytest.fixture(scope="module")
def features(engine):
    return torch.randn(2, 5, engine._config.vision_config.hidden_size, generator=torch.Generator().manual_seed(0))


def test_attention_weights_are_those_that_were_used(engine, features):
    """Their mix of the values, through the layer's output, is what the fast kernel handed on."""
    model = engine._model.model
    assert model.qformer.config._attn_implementation == "sdpa"
    layers = [layer.crossattention.attention for layer in model.qformer.encoder.layer if layer.has_cross_attention]
    used = []
    hooks = [layer.register_forward_hook(lambda _, __, output: used.append(output[0])) for layer in layers]
    with torch.no_grad():
        read = read_cross_attention(model.qformer, model.query_tokens, features)
        for hook in hooks:
            hook.remove()
        assert read.weights.shape == (2, len(layers), 4, 32, 5)
        assert torch.allclose(read.weights.sum(-1), torch.ones(()), atol=1e-5)
        assert read.weights.std(-1).mean() > 0.01  # not all the same
        for index, layer in enumerate(layers):
            values = layer.value(features).reshape(2, 5, 4, -1)
            mixed = torch.einsum("bhqn,bnhd->bqhd", read.weights[:, index], values).flatten(2)
            assert torch.allclose(mixed, used[index], atol=1e-5)


def test_attention_weights_are_those_of_a_computation_by_hand(engine, features):
    """The first layer, written out for one picture, one head and one query after the other."""
    model = engine._model.model
    first = model.qformer.encoder.layer[0]
    with torch.no_grad():
        read = read_cross_attention(model.qformer, model.query_tokens, features)
        queries = first.attention(model.qformer.layernorm(model.query_tokens))[0]  # (Q, Dq)
        cross = first.crossattention.attention
        width = cross.attention_head_size
        for head, query, batch in ((0, 0, 0), (3, 31, 1), (2, 7, 0)):
            rows = slice(head * width, (head + 1) * width)
            asked = queries[query] @ cross.query.weight[rows].T + cross.query.bias[rows]
            scores = [
                math.exp(float(asked @ (cross.key.weight[rows] @ place + cross.key.bias[rows])) / math.sqrt(width))
                for place in features[batch]
            ]
            expected = [score / sum(scores) for score in scores]
            assert read.weights[batch, 0, head, query].tolist() == pytest.approx(expected, abs=1e-5)
        for query, place in ((0, 0), (5, 3)):
            given = torch.zeros(())
            for head in range(4):
                rows = slice(head * width, (head + 1) * width)
                value = cross.value.weight[rows] @ features[0, place] + cross.value.bias[rows]
                given = given + read.weights[0, 0, head, query, place] * (first.crossattention.output.dense.weight[:, rows] @ value)
            assert float(read.passed_on[0, 0, query, place]) == pytest.approx(float(given.norm()), rel=1e-4)


def test_attention_is_the_same_under_the_kernel_that_keeps_weights(engine, features):
    model = engine._model.model
    with torch.no_grad():
        fast = read_cross_attention(model.qformer, model.query_tokens, features).weights
        queries = model.query_tokens.expand(2, -1, -1)
        model.qformer.set_attn_implementation("eager")
        try:
            kept = model.qformer(query_embeds=queries, encoder_hidden_states=features, output_attentions=True).cross_attentions
        finally:
            model.qformer.set_attn_implementation("sdpa")
    assert torch.allclose(fast, torch.stack(kept, dim=1), atol=1e-5)


def logits_of(engine, messages, ids, features=None, gates=None):
    """The model's logits at each of `ids` behind the prompt, in one plain pass; with `gates` `(P, T)` through a mask made by loops."""
    rendered = engine.render(load_conversation(messages))
    features = [engine.encode_image(shown).features for shown in rendered.pictures]
    given = rendered.input_ids + list(ids)
    with torch.inference_mode():
        embeds = engine._model.embed_prompt(torch.tensor([given]), torch.stack(features) if features else None)
        mask = None
        if gates is not None:
            mask = torch.full((len(given), len(given)), -1e9)
            for row in range(len(given)):
                mask[row, : row + 1] = 0
            places = [index for index, key in enumerate(rendered.keys) if key < 0]
            for number, gate in enumerate(gates):
                own = places[number * len(gate) : (number + 1) * len(gate)]
                for place, value in zip(own, gate, strict=True):
                    mask[own[-1] + 1 :, place] += math.log(value)
            mask = mask[None, None]
        return engine._model(inputs_embeds=embeds, attention_mask=mask).logits[0, len(rendered.input_ids) - 1 : -1].log_softmax(-1)


@pytest.mark.parametrize("messages", [ASKED, TWO], ids=["one picture", "two pictures"])
def test_likelihoods_with_and_without_pictures_are_the_models_own(engine, messages):
    answer = engine.answer(messages, SETTINGS)
    inspection = engine.inspect(messages, answer.text, answer.token_ids, SETTINGS)
    _, ids = inspector.spell(engine, answer.text, answer.token_ids)
    assert "".join(token.text for token in inspection.tokens) == answer.text
    assert len(inspection.tokens) == len(ids) > 3
    blank = [
        user(*(part["text"] for part in turn["content"] if part["type"] == "text")) if turn["role"] == "user" else turn for turn in messages
    ]
    for side, given in (("seen", messages), ("blind", blank)):
        expected = logits_of(engine, given, ids)
        for row, token, told in zip(expected, ids, inspection.tokens, strict=True):
            own = getattr(told, side)
            assert own.logprob == pytest.approx(float(row[token]), abs=1e-4)
            assert [other.logprob for other in own.top] == pytest.approx(row.topk(5).values.tolist(), abs=1e-4)
    assert inspection.without == "none"
    assert any(abs(token.seen.logprob - token.blind.logprob) > 0.01 for token in inspection.tokens)
    assert any(token.said_blind for token in inspection.tokens) or all(
        token.blind.top[0].logprob > token.blind.logprob for token in inspection.tokens
    )


def test_looking_back_neither_needs_nor_harms_what_is_remembered(engine):
    messages = [user(image(7), "A question of its own?")]
    answer = engine.answer(messages, SETTINGS)
    remembered = engine.inspect(messages, answer.text, answer.token_ids, SETTINGS)
    weighed = engine.weigh(messages, answer.text, 1, 3, answer.token_ids, SETTINGS)
    follow_up = [*messages, assistant(answer.text), user("More?")]
    next_answer = engine.answer(follow_up, SETTINGS)
    assert next_answer.usage.reused_tokens > answer.usage.prompt_tokens  # the answer is there again
    engine.forget()
    anew = engine.inspect(messages, answer.text, answer.token_ids, SETTINGS)
    assert [t.seen.logprob for t in anew.tokens] == pytest.approx([t.seen.logprob for t in remembered.tokens], abs=1e-4)
    engine.forget()
    again = engine.weigh(messages, answer.text, 1, 3, answer.token_ids, SETTINGS)
    assert again.pictures[0] == pytest.approx(weighed.pictures[0], abs=1e-4)
    assert engine.answer(follow_up, SETTINGS).token_ids == next_answer.token_ids


def test_a_model_that_knows_the_blank_picture_is_shown_that_one():
    model, processor = build_chatml_model()
    model.config.blank_picture = True
    blank_engine = Engine(model, processor)
    answer = blank_engine.answer(ASKED, SETTINGS)
    inspection = blank_engine.inspect(ASKED, answer.text, answer.token_ids, SETTINGS)
    _, ids = inspector.spell(blank_engine, answer.text, answer.token_ids)
    expected = logits_of(blank_engine, [user("What is it?")], ids)  # rendered with a blank picture in front
    assert [t.blind.logprob for t in inspection.tokens] == pytest.approx(
        [float(r[i]) for r, i in zip(expected, ids, strict=True)], abs=1e-4
    )
    assert inspection.without == "blank"
    assert [shown.digest for shown in inspection.pictures] == [picture(1).digest]
    alone = blank_engine.inspect([user("Hello")], "the th", (), SETTINGS)
    assert alone.pictures == () and alone.without == "" and all(token.blind is None for token in alone.tokens)
    assert blank_engine.weigh([user("Hello")], "the th", 0, 1).pictures == ()  # the blank is no picture that was shown


@pytest.mark.parametrize(("messages", "word"), [(ASKED, (3, 4)), (TWO, (1, 3))], ids=["one picture", "a word of two tokens"])
def test_weights_are_the_slopes_along_opening_gates(engine, messages, word):
    answer = engine.answer(messages, SETTINGS)
    _, ids = inspector.spell(engine, answer.text, answer.token_ids)
    weights = engine.weigh(messages, answer.text, *word, answer.token_ids, SETTINGS).pictures

    def likelihood(opening, number=0, token=0, moved=0.0):
        gates = [[opening] * 32 for _ in weights]
        gates[number][token] += moved
        rows = logits_of(engine, messages, ids, gates=gates)
        return sum(float(rows[index, ids[index]]) for index in range(*word))

    assert len(weights) == sum(part["type"] == "image" for turn in messages for part in turn["content"] if isinstance(part, dict))
    step = 0.01
    for number, token in [(0, 0), (0, 17), (len(weights) - 1, 31)]:
        slopes = [
            (likelihood(opening, number, token, step) - likelihood(opening, number, token, -step)) / (2 * step)
            for opening in inspector.OPENINGS
        ]
        assert weights[number][token] == pytest.approx(sum(slopes) / len(slopes), rel=0.05, abs=2e-3)
    assert max(abs(weight) for row in weights for weight in row) > 0.005


def test_a_word_that_is_not_there_and_one_that_stands_too_far_behind_are_refused(engine, monkeypatch):
    with pytest.raises(IndexError):
        engine.weigh(ASKED, "the th", 1, 99)
    monkeypatch.setattr(inspector, "LONGEST_GRADIENT", 5)
    with pytest.raises(BackendError, match="new conversation"):
        engine.weigh(ASKED, "the the the", 0, 1)


def test_crops_are_read_as_parts_of_their_picture(engine):
    settings = GenerationSettings(max_new_tokens=4, image_crops=True)
    inspection = engine.inspect(ASKED, "the", (), settings)
    assert [(shown.digest, shown.part) for shown in inspection.pictures] == [
        (picture(1).digest, part) for part in ("", "top left", "top right", "bottom left", "bottom right")
    ]
    assert len(engine.weigh(ASKED, "the", 0, 1, (), settings).pictures) == 5


def test_maps_and_what_is_elsewhere_make_up_all_attention(engine):
    (reading,) = engine.inspect(ASKED, "the", (), SETTINGS).pictures
    assert (reading.rows, reading.columns, len(reading.attention)) == (2, 2, 32)
    for attention, passed_on, elsewhere in zip(reading.attention, reading.passed_on, reading.elsewhere, strict=True):
        assert sum(attention) + elsewhere == pytest.approx(1, abs=1e-5)
        assert 0 < sum(passed_on) < 1
    assert reading.reads


def test_without_a_qformer_a_token_comes_from_its_own_four_patches():
    plain = Engine(*build_tiny_model("llama2"))
    answer = plain.answer(ASKED, SETTINGS)
    (reading,) = plain.inspect(ASKED, answer.text, answer.token_ids, SETTINGS).pictures
    assert not reading.reads and (reading.rows, reading.columns) == (16, 16)
    assert len(reading.attention) == 64 and reading.attention == reading.passed_on
    assert [index for index, share in enumerate(reading.attention[5]) if share] == [20, 21, 22, 23]
    assert set(reading.elsewhere) == {0.0}
    assert len(plain.weigh(ASKED, answer.text, 0, 1, answer.token_ids, SETTINGS).pictures[0]) == 64


def test_an_answer_without_its_tokens_or_with_others_is_cut_anew(engine):
    text = "the thé 🦔 is"
    pieces, ids = inspector.spell(engine, text, ())
    assert "".join(pieces) == text and len(pieces) == len(ids)
    assert inspector.spell(engine, text, [5, 6, 7]) == (pieces, ids)
    whole = engine.tokenizer(" " + text + " and more", add_special_tokens=False).input_ids
    shown, used = inspector.spell(engine, text, [*whole, engine.tokenizer.eos_token_id])
    assert "".join(shown) == text and used == whole[: len(used)] and len(used) < len(whole)
    assert engine.inspect(ASKED, "", (), SETTINGS).tokens == ()


def test_tokens_make_words():
    def token(text, blind=-2.0):
        return InspectedToken(text, TokenLogprob(b"", -1.0), TokenLogprob(b"", blind, (TokenLogprob(b"", -1.0),)))

    words = group_words(
        [
            token("A"),
            token(" um", -1.0),
            token("br", -1.0),
            token("ella", -1.0),
            token("."),
            token(" it"),
            token("'s"),
            token("\n"),
            token("好"),
            token("的"),
        ]
    )
    assert [word.text for word in words] == ["A", " umbrella", ".", " it's", "\n", "好", "的"]
    assert [word.said_blind for word in words] == [False, True, False, False, False, False, False]
    assert [word.names_something for word in words] == [False, True, False, False, False, True, True]
    assert [(word.first, word.end) for word in words][1] == (1, 4)
    assert group_words([]) == ()


def test_who_only_passes_messages_on_cannot_look_back(engine):
    assert inspecting(engine) is engine
    assert inspecting(EchoBackend()) is None
    assert inspecting(WatchedBackend(EchoBackend(), ())) is None
    watched = inspecting(WatchedBackend(engine, ()))
    assert watched.inspect(ASKED, "the", (), SETTINGS).tokens == engine.inspect(ASKED, "the", (), SETTINGS).tokens
