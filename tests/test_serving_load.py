"""Many visitors at a time, in small: every answer reaches who asked for it. `tests/visitors_load.py` does it in full, by hand."""

import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving
from tests.visitors_load import Report, Visitor, run


def test_nobody_is_lost_or_mixed_up_and_all_are_answered_where_there_is_room():
    with serving(EchoBackend(seconds_per_word=0.002), ApiOptions(max_requests=8)) as server:
        report = run(server.url, visitors=8, seconds=5)
    assert report.faults == [] and report.refused == 0
    assert len(report.answers) == 8
    assert "0 faults" in report.lines(5)[0]


def test_who_is_too_many_is_refused_and_nobody_is_lost_by_it():
    with serving(EchoBackend(seconds_per_word=0.002), ApiOptions(max_requests=3)) as server:
        report = run(server.url, visitors=8, seconds=5, longest_pause=0.05)
    assert report.faults == [] and report.refused > 0
    assert report.answers


@pytest.mark.parametrize(
    ("text", "fault"),
    [("You said: Visitor 2 asks", True), ("You said: Visitor 1 as", False), ("You said: Visitor 1 asks, and more", False)],
)
def test_anothers_answer_is_noticed(text, fault):
    report = Report()
    Visitor(1, None, "echo", report, 9)._check(text, "Visitor 1 asks", 0, {})
    assert bool(report.faults) is fault
