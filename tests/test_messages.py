"""Messages: what is a conversation that can be answered, and what the sentence says when it is not."""

import json

import PIL.Image
import pytest

from minigpt4_model.chat.messages import MessageError, Turn, load_conversation, load_turns, question, text_message
from minigpt4_model.chat.pictures import LoadedPicture, PictureError, load_picture


def picture(colour="red") -> PIL.Image.Image:
    return PIL.Image.new("RGB", (16, 16), colour)


def image_part(image) -> dict:
    return {"type": "image", "image": image}


def text_part(text: str) -> dict:
    return {"type": "text", "text": text}


def user(*parts) -> dict:
    return {"role": "user", "content": list(parts)}


def test_a_text_is_a_turn():
    assert load_conversation([{"role": "user", "content": "hello"}]) == [Turn("user", ("hello",))]


def test_parts_keep_their_order(tmp_path):
    picture("blue").save(tmp_path / "blue.png")
    (turn,) = load_conversation(
        [user(text_part("first"), image_part(picture()), text_part("then"), image_part(str(tmp_path / "blue.png")))]
    )
    assert [type(part) for part in turn.parts] == [str, LoadedPicture, str, LoadedPicture]
    assert [p.image.getpixel((3, 3)) for p in turn.pictures] == [(255, 0, 0), (0, 0, 255)]
    assert turn.text == "first then"


def test_every_kind_of_image_opens_to_the_same_pixels(tmp_path):
    path = tmp_path / "red.png"
    picture().save(path)
    loaded = load_picture(path)
    (turn,) = load_conversation([user(*(image_part(source) for source in (path, str(path), path.read_bytes(), picture(), loaded)))])
    assert {p.digest for p in turn.pictures} == {loaded.digest}
    assert turn.pictures[-1] is loaded  # not opened again


def test_neighbours_of_one_role_become_one_turn():
    turns = load_conversation(
        [
            text_message("system", "be brief"),
            text_message("system", "be kind"),
            user(image_part(picture())),
            user(text_part("what is this?")),
            text_message("assistant", "red"),
            text_message("user", "sure?"),
        ]
    )
    assert [(turn.role, turn.text, len(turn.pictures)) for turn in turns] == [
        ("system", "be brief be kind", 0),
        ("user", "what is this?", 1),
        ("assistant", "red", 0),
        ("user", "sure?", 0),
    ]


def test_a_picture_alone_is_a_question():
    assert load_conversation([question("", [picture()])])[0].pictures


@pytest.mark.parametrize(
    "messages, words",
    [
        ([], "at least one message"),
        (None, "must be a list"),
        ({"role": "user", "content": "hi"}, "must be a list"),
        ("hi", "must be a list"),
        (["hi"], r"messages\[0\] must be an object"),
        ([{"content": "hi"}], r'messages\[0\]: "role" must be one of system, user, assistant, not None'),
        ([{"role": "tool", "content": "hi"}], "not 'tool'"),
        ([{"role": ["user"], "content": "hi"}], '"role" must be one of'),
        ([{"role": "user"}], '"content" must be a text or a list of parts, not NoneType'),
        ([{"role": "user", "content": 3}], "not int"),
        ([{"role": "user", "content": ["hi"]}], r"messages\[0\], part 0 must be"),
        ([user(text_part("a"), {"type": "text", "text": None})], r"messages\[0\], part 1 must be"),
        ([user({"type": "image"})], r"messages\[0\], part 0 must be"),
        ([user({"type": "video", "video": "x.mp4"})], r"messages\[0\], part 0 must be"),
        ([{"role": "assistant", "content": "hello"}], "last message must be the user's"),
        ([{"role": "system", "content": "be brief"}], "last message must be the user's"),
        ([{"role": "user", "content": " \n "}], "The last message is empty"),
        ([user()], "The last message is empty"),
        (
            [text_message("user", "a"), text_message("system", "b"), text_message("user", "c")],
            r"messages\[1\]: a system message must come before",
        ),
    ],
)
def test_what_is_no_conversation_is_refused_by_place(messages, words):
    with pytest.raises(MessageError, match=words):
        load_conversation(messages)


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_the_user_shows_pictures(role):
    with pytest.raises(MessageError, match=r"messages\[0\]: only a user's message"):
        load_conversation([{"role": role, "content": [image_part(picture())]}, text_message("user", "hi")])


def test_a_picture_that_is_not_one_raises_its_own_error(tmp_path):
    with pytest.raises(PictureError, match="gone.png"):
        load_conversation([question("what?", [str(tmp_path / "gone.png")])])


def test_halves_of_surrogate_pairs_do_not_reach_the_tokenizer():
    halves = json.loads(r'"a \ud83d b \ude00 c"')
    whole = "\ud83d" + "\ude00"
    (turn,) = load_conversation([user(text_part(halves), text_part(whole))])
    assert turn.parts == ("a \ufffd b \ufffd c", "\U0001f600")
    assert load_conversation([{"role": "user", "content": halves}])[0].parts == ("a \ufffd b \ufffd c",)


def test_finished_conversations_load_as_turns():
    finished = [question("what?", [picture()]), text_message("assistant", "red")]
    assert [turn.role for turn in load_turns(finished)] == ["user", "assistant"]
    with pytest.raises(MessageError, match="last message must be the user's"):
        load_conversation(finished)
    with pytest.raises(MessageError, match=r"messages\[1\]"):
        load_turns([*finished[:1], {"role": "judge", "content": "good"}])


def test_question_puts_pictures_before_the_text():
    message = question("what?", ["a.png", "b.png"])
    assert [part["type"] for part in message["content"]] == ["image", "image", "text"] and message["role"] == "user"


def test_loading_leaves_the_messages_alone():
    messages = [question("what?", [picture()]), text_message("assistant", "red"), text_message("user", "sure?")]
    before = [dict(message, content=list(message["content"])) for message in messages]
    load_conversation(messages)
    assert messages == before
