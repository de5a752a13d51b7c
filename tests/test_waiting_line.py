"""Who comes first is answered first, and everybody sees how many are before them."""

import pytest

from minigpt4_model.ui.waiting_line import WaitingLine


def test_places_in_order():
    line = WaitingLine(2)
    with line.join() as first, line.join() as second, line.join() as third:
        with line.join() as fourth:
            assert [place.ahead for place in (first, second, third, fourth)] == [0, 0, 1, 2]
        with line.join() as fifth:
            assert fifth.ahead == 2
    with line.join() as last:
        assert last.ahead == 0


def test_who_leaves_lets_the_next_one_in():
    line = WaitingLine(1)
    with line.join() as first:
        early = line.join()
        waiting = early.__enter__()
        with line.join() as patient:
            assert (first.ahead, waiting.ahead, patient.ahead) == (0, 1, 2)
            early.__exit__(None, None, None)
            assert patient.ahead == 1


def test_how_long_it_will_take(monkeypatch):
    now = 100.0
    monkeypatch.setattr("minigpt4_model.ui.waiting_line.time.monotonic", lambda: now)
    line = WaitingLine(1)
    with line.join() as first, line.join() as second, line.join() as third:
        assert (first.ahead, second.expected_seconds) == (0, None)
        now = 104.0
        never_begun = third
    assert never_begun.began is None
    with line.join() as first, line.join() as second, line.join() as third:
        assert first.expected_seconds == 0
        assert second.expected_seconds == pytest.approx(4)
        assert third.expected_seconds == pytest.approx(8)
