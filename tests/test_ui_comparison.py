"""Two answers side by side: both are written, one fault leaves the other alone, leaving stops both."""

import threading
import time

from minigpt4_model.chat.backends.base import AnswerStream, BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.messages import question
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.ui.comparison import Side, agreement, compare

ASKED = [question("what is it")]


class Failing(EchoBackend):
    """Refuses at once, or breaks after two words."""

    def __init__(self, fault: Exception, at_once: bool):
        super().__init__()
        self.fault, self.at_once = fault, at_once

    def stream(self, messages, settings=None):
        def run(answer, cancelled):
            yield "two words"
            raise self.fault

        if self.at_once:
            raise self.fault
        return AnswerStream(run)


class Watched(EchoBackend):
    """Remembers its streams."""

    def __init__(self):
        super().__init__(0.05)
        self.streams = []

    def stream(self, messages, settings=None):
        self.streams.append(super().stream(messages, settings))
        return self.streams[-1]


def sides(**second) -> list[Side]:
    return [Side("one", GenerationSettings()), Side("other", GenerationSettings(**second))]


def test_both_answers_are_written_whole():
    *_, (one, other) = compare({"one": EchoBackend(), "other": EchoBackend(0.01)}, ASKED, sides(max_new_tokens=3))
    assert one.text.endswith("You said: what is it") and one.note.endswith("tokens")
    assert other.text == "I received 0" and "Cut at the longest" in other.note
    assert not one.fault and not other.fault


def test_they_are_written_at_the_same_time():
    slow = EchoBackend(0.05)
    shown = list(compare({"one": slow, "other": slow}, ASKED, sides()))
    assert any(0 < len(one.text) < len(shown[-1][0].text) and 0 < len(other.text) < len(shown[-1][1].text) for one, other in shown)


def test_what_one_side_cannot_do_leaves_the_other_alone():
    for at_once, text in ((True, ""), (False, "two words")):
        models = {"one": Failing(BackendError("No room."), at_once), "other": EchoBackend()}
        *_, (one, other) = compare(models, ASKED, sides())
        assert (one.text, one.note, one.fault) == (text, "No room.", True)
        assert other.text.endswith("what is it") and not other.fault


def test_a_fault_of_the_program_is_told_without_its_words(caplog):
    *_, (one, _) = compare({"one": Failing(RuntimeError("/secret"), False), "other": EchoBackend()}, ASKED, sides())
    assert one.fault and "secret" not in one.note and "secret" in caplog.text


def test_leaving_stops_both():
    models = {"one": Watched(), "other": Watched()}
    running = compare(models, ASKED, sides())
    next(running)
    running.close()
    deadline = time.monotonic() + 30
    streams = [model.streams[0] for model in models.values()]
    while not all(stream.answer.finish_reason == "cancelled" for stream in streams) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [stream.answer.finish_reason for stream in streams] == ["cancelled"] * 2


def test_stop_ends_both_and_keeps_what_was_written():
    models, shown = {"one": Watched(), "other": Watched()}, []
    for answers in compare(models, ASKED, sides(), stopped=lambda: bool(shown)):
        if all(answer.text for answer in answers):
            shown.append(answers)
    assert all(answer.text and answer.stopped and answer.note.endswith("Stopped.") for answer in shown[-1])
    assert not any("what is it" in answer.text for answer in shown[-1])


class Deaf(EchoBackend):
    """Does not hear that it is to stop."""

    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    def stream(self, messages, settings=None):
        def run(answer, cancelled):
            yield "one word"
            self.released.wait(30)

        return AnswerStream(run)


def test_stop_does_not_wait_for_a_backend_that_is_deaf():
    deaf = Deaf()
    *_, (one, other) = compare({"one": deaf, "other": EchoBackend()}, ASKED, sides(), stopped=lambda: True)
    deaf.released.set()
    assert (one.text, one.stopped) == ("one word", True) and "Stopped." in one.note


def test_how_far_two_answers_agree():
    assert agreement("A cat.", "a cat") == (1.0, 2)
    assert agreement("It is a red apple.", "It is a green apple.") == (0.8, 3)
    assert agreement("yes", "") == (0.0, 0)
