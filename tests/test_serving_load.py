"""Many visitors at a time, in small: every answer reaches who asked for it. `tests/visitors_load.py` does it in full, by hand."""

import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving
from tests.visitors_load import Report, Visitor, run


def test_nobody_is_lost_mixed_up_or_left_waiting():
    with serving(EchoBackend(seconds_per_word=0.002), ApiOptions(max_requests=4)) as server:
        report = run(server.url, visitors=8, seconds=6, longest_pause=0.05)
    assert report.faults == []
    assert len(report.answers) == 8 and report.refused > 0
    assert "0 faults" in report.lines(6)[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [("You said: Visitor 2 asks", True), ("You said: Visitor 1 as", False), ("You said: Visitor 1 asks, and more", False)],
)
def test_anothers_answer_is_noticed(text, fault):
    report = Report()
    Visitor(1, None, "echo", report, 9)._check(text, "Visitor 1 asks", 0, {})
    assert bool(report.faults) is fault
