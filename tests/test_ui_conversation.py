"""The conversation on the server: history, runs, expiry, pictures' files."""

import PIL.Image
import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.ui.conversation import (
    FAILED,
    FINISHED,
    STOPPED,
    Conversation,
    ConversationBusy,
    ConversationExpired,
    ConversationStore,
)


def picture(colour: str = "teal", size: tuple[int, int] = (64, 48)):
    return load_picture(PIL.Image.new("RGB", size, colour))


@pytest.fixture
def store(tmp_path):
    return ConversationStore(tmp_path / "pictures")


def answered(conversation: Conversation, question: str, answer: str, pictures=()):
    conversation.ask(question, pictures).write(answer, FINISHED)


def texts(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message["role"], message["content"][-1]["text"]) for message in conversation.messages()]


def test_messages_hold_what_was_asked_and_answered_up_to_the_last_question(store):
    conversation = store.open()
    stored = store.store_picture(picture())
    answered(conversation, "one", "first", [stored])
    conversation.ask("two")
    assert texts(conversation) == [("user", "one"), ("assistant", "first"), ("user", "two")]
    shown = conversation.messages()[0]["content"][0]["image"]
    assert (shown.digest, shown.image.tobytes()) == (picture().digest, picture().image.tobytes())
    assert EchoBackend().generate(conversation.messages()).startswith("I received 1 picture (64x48) and 1 earlier question.")


def test_the_answer_that_is_asked_for_again_is_not_part_of_the_history():
    conversation = Conversation()
    answered(conversation, "one", "first")
    answered(conversation, "two", "second")
    conversation.ask_again(1)
    assert texts(conversation) == [("user", "one"), ("assistant", "first"), ("user", "two")]


def test_edit_keeps_the_pictures_and_drops_what_followed(store):
    conversation = store.open()
    stored = store.store_picture(picture())
    answered(conversation, "one", "first", [stored])
    answered(conversation, "two", "second")
    conversation.ask_again(0, "uno")
    assert [(exchange.question, exchange.pictures) for exchange in conversation.exchanges] == [("uno", (stored,))]


def test_undo_gives_the_question_back(store):
    conversation = store.open()
    stored = store.store_picture(picture())
    answered(conversation, "one", "first")
    answered(conversation, "two", "second", [stored])
    taken = conversation.take_back(1)
    assert (taken.question, taken.pictures) == ("two", (stored,))
    assert [exchange.question for exchange in conversation.exchanges] == ["one"]


@pytest.mark.parametrize("position", [-1, 1])
def test_a_question_that_is_not_there_changes_nothing(position):
    conversation = Conversation()
    answered(conversation, "one", "first")
    for action in (conversation.take_back, conversation.ask_again):
        with pytest.raises(IndexError):
            action(position)
    assert conversation.exchanges[0].answer == "first" and not conversation.busy


def test_a_question_without_an_answer_stays_in_the_history():
    conversation = Conversation()
    conversation.ask("one").write("", STOPPED)
    conversation.ask("two")
    assert texts(conversation) == [("user", "one"), ("user", "two")]


@pytest.mark.parametrize("replace", [lambda c: c.clear(), lambda c: c.take_back(0), lambda c: c.ask_again(0)])
def test_a_replaced_run_is_stopped_and_writes_nothing_more(replace):
    conversation = Conversation()
    run = conversation.ask("one")
    replace(conversation)
    run.write("late", FINISHED)
    assert run.stopped and not run.current
    assert all(exchange.answer == "" for exchange in conversation.exchanges)


def test_a_second_question_while_an_answer_is_written_is_refused_and_changes_nothing():
    conversation = Conversation()
    run = conversation.ask("one")
    with pytest.raises(ConversationBusy):
        conversation.ask("two")
    run.write("first", FINISHED)
    assert [(exchange.question, exchange.answer) for exchange in conversation.exchanges] == [("one", "first")]


def test_of_a_question_that_failed_only_the_pictures_stay(store):
    conversation = store.open()
    conversation.ask("too long", [store.store_picture(picture())]).write("", FAILED, "Too long.")
    conversation.ask("also too long").write("", FAILED, "Too long.")
    conversation.ask("broken off").write("half an ans", FAILED, "It broke.")
    conversation.ask("short")
    assert [[part["type"] for part in message["content"]] for message in conversation.messages()[:2]] == [["image"], ["text"]]
    assert [message["content"][-1].get("text") for message in conversation.messages()[1:]] == ["broken off", "half an ans", "short"]
    assert EchoBackend().generate(conversation.messages()) == "I received 1 picture (64x48) and 1 earlier question. You said: short"


def test_stop_before_the_stream_is_there_cancels_it_when_it_comes():
    conversation = Conversation()
    run = conversation.ask("one")
    conversation.stop()
    stream = EchoBackend().stream(conversation.messages())
    run.attach(stream)
    assert stream.join().finish_reason == "cancelled"


def test_ids_are_unguessable_and_conversations_apart(store):
    one, other = store.open(), store.open()
    one.ask("mine")
    assert one.id != other.id and len(one.id) >= 32
    assert store.get(one.id) is one and store.get(other.id).exchanges == ()


@pytest.mark.parametrize("unknown", [None, "", "made-up"])
def test_an_unknown_id_is_expired(store, unknown):
    with pytest.raises(ConversationExpired):
        store.get(unknown)


def test_resuming_copies_so_that_two_tabs_do_not_share(store):
    earlier = store.open()
    answered(earlier, "one", "first")
    earlier.ask("two").write("half an ans")
    copy = store.resume(earlier.id)
    copy.ask("three")
    assert [exchange.question for exchange in earlier.exchanges] == ["one", "two"]
    assert [(exchange.answer, exchange.state) for exchange in copy.exchanges[:2]] == [("first", FINISHED), ("half an ans", STOPPED)]


def test_a_duplicated_tab_takes_a_line_of_its_own_in_the_history_once_it_differs(store):
    earlier = store.open()
    answered(earlier, "one", "first")
    reloaded, duplicate = store.resume(earlier.id), store.resume(earlier.id, copied=True)
    assert reloaded.record_id == duplicate.record_id == earlier.record_id
    reloaded.ask("two").write("", STOPPED)
    duplicate.ask("three").write("", STOPPED)
    assert reloaded.record_id == earlier.record_id != duplicate.record_id
    own = duplicate.record_id
    duplicate.take_back(1)
    assert duplicate.record_id == own
    for differ in (lambda it: it.take_back(0), lambda it: it.ask_again(0), lambda it: it.clear()):
        again = store.resume(earlier.id, copied=True)
        differ(again)
        assert again.record_id != earlier.record_id


def test_the_least_recently_used_goes_first_and_takes_its_pictures_along(tmp_path):
    store = ConversationStore(tmp_path, capacity=2, fresh_seconds=0)
    shared, own = store.store_picture(picture("red")), store.store_picture(picture("blue"))
    first, second = store.open(), store.open()
    answered(first, "one", "a", [shared, own])
    answered(second, "two", "b", [shared])
    third = store.open()
    with pytest.raises(ConversationExpired):
        store.get(first.id)
    assert store.get(second.id) is second and store.get(third.id) is third
    assert shared.path.exists() and shared.view.exists()
    assert not own.path.exists() and not own.view.exists()


def test_idle_conversations_go(tmp_path):
    store = ConversationStore(tmp_path, idle_seconds=0)
    conversation = store.open()
    with pytest.raises(ConversationExpired):
        store.get(conversation.id)


def test_a_picture_about_to_be_asked_about_is_not_swept_away(tmp_path):
    store = ConversationStore(tmp_path, capacity=1)
    stored = store.store_picture(picture())
    answered(store.open(), "one", "a", [stored])
    again = store.store_picture(picture())
    newer = store.open()
    newer.ask("two", [again])
    assert again.path.exists()
