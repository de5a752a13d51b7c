"""Rendering: the original's ids, labels on answers only, what an overlong conversation forgets."""

import json

import pytest

from minigpt4_model.chat.blank import blank_picture
from minigpt4_model.chat.messages import MessageError, Turn, load_conversation
from minigpt4_model.chat.render import IGNORED, describe_labels, fit_to_context, picture_keys, render
from minigpt4_model.chat.templates import CHATML, LLAMA2, TEMPLATES, VICUNA_V0
from tests.tiny_chat import assistant, chatml_tokenizer, image, llama_tokenizer, picture, user
from tests.tiny_models import PARITY

FIXTURES = json.loads((PARITY / "fixtures.json").read_text())
IMAGE = 99_999


def render_with(template, turns, tokens=4, **options):
    tokenizer = chatml_tokenizer() if template is CHATML else llama_tokenizer()
    return render(turns, template, tokenizer, image_token_id=IMAGE, num_image_tokens=tokens, **options)


def as_text(template, turns, **options):
    """The prompt as text, each picture as <IMG>."""
    tokenizer = chatml_tokenizer() if template is CHATML else llama_tokenizer()
    rendered = render_with(template, turns, tokens=1, **options)
    spans, span = [], []
    for token in rendered.input_ids:
        if token == IMAGE:
            spans.append(tokenizer.decode(span))
            span = []
        else:
            span.append(token)
    return "<IMG>".join([*spans, tokenizer.decode(span)])


def split_at_images(ids):
    segments = [[]]
    for token in ids:
        if token != IMAGE:
            segments[-1].append(token)
        elif segments[-1]:
            segments.append([])
    return segments


@pytest.mark.parametrize("case", FIXTURES["cases"])
def test_prompt_ids_are_the_originals(case):
    case = FIXTURES["cases"][case]
    pictures = iter(case["images"])
    messages = []
    for role, text in case["messages"]:
        parts = [image(next(pictures))] if "<ImageHere>" in text else []
        text = text.removeprefix("<Img><ImageHere></Img> ")
        messages.append(user(*parts, text) if role == "Human: " else assistant(text))
    rendered = render_with(VICUNA_V0, load_conversation(messages), tokens=32)
    assert split_at_images(rendered.input_ids) == case["segment_ids"]
    assert rendered.input_ids.count(IMAGE) == 32 * len(case["images"])
    assert len(rendered.input_ids) == case["context_shape"][0]


OFFICIAL = VICUNA_V0.default_system


def test_vicuna_makes_a_message_of_each_picture():
    text = as_text(VICUNA_V0, [Turn("user", (picture(1), picture(2), "Which?"))])
    assert text == f"<s> {OFFICIAL}###Human: <Img><IMG></Img>###Human: <Img><IMG></Img> Which?###Assistant: "
    text = as_text(VICUNA_V0, [Turn("user", ("Look:", picture(1)))])
    assert text == f"<s> {OFFICIAL}###Human: Look:###Human: <Img><IMG></Img>###Assistant: "


def test_llama2_is_written_as_the_official_demo_writes_it():
    turns = [Turn("user", (picture(1), "What?")), Turn("assistant", ("A cat.",)), Turn("user", ("Why?",))]
    rendered = render_with(LLAMA2, turns, tokens=2)
    tokenizer = llama_tokenizer()
    segments = [f"{OFFICIAL}<s>[INST] <Img>", "</Img> What? [/INST] A cat.<s>[INST] Why? [/INST] "]
    expected = [tokenizer(segment, add_special_tokens=False).input_ids for segment in segments]
    assert rendered.input_ids == [1, *expected[0], IMAGE, IMAGE, *expected[1]]


def test_chatml_puts_pictures_at_their_place():
    turns = [Turn("system", ("Be brief.",)), Turn("user", ("Compare", picture(1), picture(2), "these", "two"))]
    assert as_text(CHATML, turns) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nCompare<IMG>\n<IMG>\nthese\ntwo<|im_end|>\n<|im_start|>assistant\n"
    )
    assert as_text(CHATML, turns[1:]).startswith("<|im_start|>user\n")


def test_a_blank_picture_stands_where_a_conversation_begins_without_one():
    system, asked, later = Turn("system", ("Be brief.",)), Turn("user", ("Hi",)), Turn("user", (picture(1), "And now?"))
    begun = [system, asked, Turn("assistant", ("Hello.",)), later]
    assert as_text(CHATML, begun, blank=blank_picture()).count("<IMG>") == 2
    rendered = render_with(CHATML, begun, blank=blank_picture())
    assert [shown.digest for shown in rendered.pictures] == ["blank", "picture 1"]
    assert (
        render_with(CHATML, begun[:2], blank=blank_picture()).keys == rendered.keys[: len(render_with(CHATML, begun[:2]).keys) + 5]
    )  # the picture and the line end behind it
    with_one = [later, Turn("assistant", ("A cat.",)), asked]
    assert render_with(CHATML, with_one, blank=blank_picture()) == render_with(CHATML, with_one)
    assert render_with(CHATML, [system], blank=blank_picture()) == render_with(CHATML, [system])


def test_a_conversations_own_system_text_replaces_the_default():
    assert as_text(VICUNA_V0, [Turn("system", ("Be brief.",)), Turn("user", ("Hi",))]) == "<s> Be brief.###Human: Hi###Assistant: "


def test_keys_name_tokens_and_pictures():
    rendered = render_with(CHATML, [Turn("user", (picture(1), picture(2), picture(1), "?"))])
    keys = [key for key in rendered.keys if key < 0]
    assert keys[:4] == keys[8:] == picture_keys("picture 1", 4)
    assert len(set(keys)) == 8
    assert [key for key in rendered.keys if key >= 0] == [token for token in rendered.input_ids if token != IMAGE]
    assert [picture.digest for picture in rendered.pictures] == ["picture 1", "picture 2", "picture 1"]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_labels_are_the_answers_with_their_end(template):
    tokenizer = chatml_tokenizer() if template is CHATML else llama_tokenizer()
    turns = [
        Turn("user", (picture(1), "What is it?")),
        Turn("assistant", ("A red circle.",)),
        Turn("user", ("Sure?",)),
        Turn("assistant", ("Yes.",)),
    ]
    rendered = render_with(template, turns, add_generation_prompt=False)
    end = (template.training or template).answer_end
    expected = [tokenizer(text + end, add_special_tokens=False).input_ids for text in ("A red circle.", "Yes.")]
    assert [label for label in rendered.labels if label != IGNORED] == expected[0] + expected[1]
    assert all(label in (IGNORED, token) for label, token in zip(rendered.labels, rendered.input_ids, strict=True))
    looked_at = describe_labels(rendered, tokenizer)
    assert f"⟦A red circle.{end}⟧" in looked_at and f"⟦Yes.{end}⟧" in looked_at and "⟨4 image tokens⟩" in looked_at
    assert looked_at.count("⟦") == 2


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_what_is_learned_follows_what_is_asked(template):
    """The prompt of a training example, as far as its answer, is a prompt of its own: nothing is tokenised across the border."""
    question = Turn("user", (picture(1), "What is it?"))
    example = render_with(template, [question, Turn("assistant", ("A cat.",))], add_generation_prompt=False)
    asked = render_with(template.training or template, [question])
    assert example.input_ids[: len(asked.input_ids)] == asked.input_ids
    assert next(i for i, label in enumerate(example.labels) if label != IGNORED) == len(asked.input_ids)


def test_stage_2_examples_are_the_originals():
    stage2 = FIXTURES["train"]["stage2"]
    tokenizer = llama_tokenizer()
    before, after = stage2["instruction"].split("<ImageHere>")
    question = after.removeprefix("</Img> ").removesuffix(" ###Assistant: ")
    targets = 0
    for caption in stage2["captions"]:
        rendered = render_with(
            VICUNA_V0, load_conversation([user(image(0), question)]) + [Turn("assistant", (caption,))], add_generation_prompt=False
        )
        prompt = [
            1,
            *tokenizer(before, add_special_tokens=False).input_ids,
            *[IMAGE] * 4,
            *tokenizer(after, add_special_tokens=False).input_ids,
        ]
        assert rendered.input_ids == prompt + tokenizer(caption + "###", add_special_tokens=False).input_ids
        targets += sum(label != IGNORED for label in rendered.labels)
    assert targets == stage2["n_targets"]


def test_chatml_prompts_grow_without_changing():
    """A turn's prompt is the beginning of the next turn's, answer included: what the cache relies on."""
    first = [Turn("user", (picture(1), "What is it?"))]
    answered = [*first, Turn("assistant", (" the\n\ncat",)), Turn("user", ("Why?",))]
    prompt, longer = render_with(CHATML, first).keys, render_with(CHATML, answered).keys
    answer = chatml_tokenizer()(" the\n\ncat<|im_end|>", add_special_tokens=False).input_ids
    assert longer[: len(prompt) + len(answer)] == prompt + answer


def conversation(questions, pictures=()):
    turns = [Turn("system", ("Be brief.",))]
    for number in range(questions):
        shown = tuple(picture(number) for _ in range(number in pictures))
        turns += [Turn("user", (*shown, f"question {number}?")), Turn("assistant", (f"answer {number}.",))]
    return turns[:-1]


def test_short_conversations_are_left_alone():
    turns = conversation(3)
    assert fit_to_context(turns, lambda turns: render_with(CHATML, turns), 10_000) == (turns, "")


@pytest.mark.parametrize("template", [CHATML, VICUNA_V0], ids=lambda template: template.name)
def test_the_oldest_texts_go_and_pictures_stay(template):
    turns = conversation(12, pictures=(0, 2, 11))
    room = len(render_with(template, turns).input_ids) - 20
    kept, notice = fit_to_context(turns, lambda turns: render_with(template, turns), room)
    assert len(render_with(template, kept).input_ids) <= room
    assert kept[0] == turns[0] and kept[2:] == turns[-len(kept) + 2 :]
    assert [shown.digest for turn in kept for shown in turn.pictures] == ["picture 0", "picture 2", "picture 11"]
    assert kept[1].parts[-1] in [turn.parts[-1] for turn in turns]
    assert "question 0?" not in str(kept) and kept[-1] is turns[-1]
    assert "left out" in notice and "Pictures are kept" in notice


def test_following_turns_forget_the_same_beginning():
    """As a full conversation goes on, the beginning stays the same for several turns, so that its cache can be used."""
    starts = []
    for questions in range(12, 24):
        kept, _ = fit_to_context(conversation(questions), lambda turns: render_with(CHATML, turns), 450)
        starts.append(kept[1].text)
    assert len(set(starts)) <= 5


def test_a_question_that_cannot_fit_is_refused_with_the_counts():
    turns = [*conversation(3, pictures=(0, 1)), Turn("assistant", ("ok",)), Turn("user", ("the " * 500,))]
    with pytest.raises(MessageError, match=r"room for 300 tokens.*last question with 2 pictures.*needs \d{3}"):
        fit_to_context(turns, lambda turns: render_with(CHATML, turns), 300)
