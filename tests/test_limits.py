"""Limits, rates, and the watchers of a backend: what is refused, counted and recorded."""

import argparse
import json
import os
import stat

import fastapi
import PIL.Image
import pytest
from fastapi.testclient import TestClient

from minigpt4_model.chat.backends.base import AnswerStream, BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.messages import MessageError, question
from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.chat.settings import GenerationSettings, SettingsError
from minigpt4_model.serving.accounts import load_accounts
from minigpt4_model.serving.front import Front
from minigpt4_model.serving.limits import Limits, RateLimit
from minigpt4_model.serving.metrics import Metrics
from minigpt4_model.serving.operator_flags import add_operator_flags, build_front, flags_from_environment, limits_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_lets_in_what_it_says_and_refills_evenly():
    clock = Clock()
    rate = RateLimit(3, clock)
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 20]
    assert rate.take("b") == 0
    clock.now += 15
    assert rate.take("a") == pytest.approx(5)
    clock.now += 5
    assert rate.take("a") == 0
    clock.now += 3600
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 20]


def test_no_rate_is_no_limit():
    rate = RateLimit(0)
    assert {rate.take("a") for _ in range(1000)} == {0.0}


def test_the_least_recent_names_are_forgotten():
    rate = RateLimit(1, Clock(), remembered=2)
    for name in "abc":
        assert rate.take(name) == 0
    assert rate.take("c") > 0 and rate.take("a") == 0


def parse(*flags: str, environment=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--share", action=argparse.BooleanOptionalAction, default=False)
    add_operator_flags(parser)
    return parser.parse_args([*flags_from_environment(parser, environment or {}), *flags])


@pytest.mark.parametrize(
    ("flags", "rate"),
    [
        ([], 0),
        (["--host", "::1"], 0),
        (["--host", "0.0.0.0"], 30),
        (["--host", "my-machine"], 30),
        (["--share"], 30),
        (["--share", "--questions-per-minute", "0"], 0),
        (["--questions-per-minute", "7"], 7),
    ],
)
def test_where_others_come_in_there_is_a_rate(flags, rate):
    assert limits_of(parse(*flags)).questions_per_minute == rate


def test_the_environment_gives_flags_and_the_command_line_wins():
    environment = {
        "MINIGPT4_MAX_FILE_MB": "3",
        "MINIGPT4_KEEP_HOURS": "0.5",
        "MINIGPT4_SHARE": "1",
        "MINIGPT4_MAX_WAITING": "",
        "MINIGPT4_HOME": "/cache",
        "MINIGPT4_HELP": "1",
    }
    args = parse("--keep-hours", "2", environment=environment)
    assert (args.max_file_mb, args.keep_hours, args.share, args.max_waiting) == (3, 2.0, True, None)
    assert parse(environment={"MINIGPT4_SHARE": "0"}).share is False


@pytest.mark.parametrize("flags", [["--max-file-mb", "0"], ["--keep-hours", "nan"], ["--max-questions", "-1"]])
def test_a_limit_that_cannot_be_names_its_flag(flags):
    with pytest.raises(ValueError, match=flags[0]):
        limits_of(parse(*flags))


def test_the_front_is_checked_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").write_text("")
    for flags in (["--auth", "alice"], ["--record-conversations", str(tmp_path / "file" / "record.jsonl")]):
        with pytest.raises((ValueError, OSError), match=flags[0]):
            build_front(parse(*flags))


def test_a_tunnel_does_not_make_the_world_this_machine():
    assert build_front(parse())(EchoBackend()).metrics_here
    assert not build_front(parse("--share"))(EchoBackend()).metrics_here


def test_a_conversation_and_an_answer_have_their_bounds():
    backend = Front(Limits(max_questions=2, max_answer_tokens=5)).watched(EchoBackend())
    asked = [question("one"), {"role": "assistant", "content": "1"}, question("two")]
    assert backend.answer(asked).finish_reason == "length"
    assert backend.description.settings.max_new_tokens == 5 and backend.description.longest_answer == 5
    with pytest.raises(MessageError, match="at most 2 questions"):
        backend.stream([*asked, {"role": "assistant", "content": "2"}, question("three")])
    with pytest.raises(SettingsError, match="at most 5 tokens"):
        backend.stream(asked, GenerationSettings(max_new_tokens=6))


class Failing(EchoBackend):
    def stream(self, messages, settings=None):
        def run(answer, cancelled):
            yield "half"
            raise BackendError("no")

        return AnswerStream(run)


def numbers(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.text().decode().splitlines() if line.startswith("minigpt4_")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_every_end_of_an_answer_is_counted_once():
    metrics = Metrics(EchoBackend.description)
    front = Front(metrics=metrics)
    backend = front.watched(EchoBackend())
    backend.generate([question("hello")])
    cut = backend.stream([question("hello there")])
    next(cut)
    assert numbers(metrics)["minigpt4_answers_in_progress"] == 1
    cut.close()
    cut.close()
    del cut
    with pytest.raises(BackendError):
        front.watched(Failing()).generate([question("hello")])
    counted = numbers(metrics)
    ended = {name: counted[f'minigpt4_answers_total{{ended="{name}"}}'] for name in ("stop", "cancelled", "failed")}
    assert ended == {"stop": 1, "cancelled": 1, "failed": 1}
    assert counted["minigpt4_answers_in_progress"] == 0
    assert counted["minigpt4_first_token_seconds_count"] == 2


def test_what_is_refused_is_no_answer():
    metrics = Metrics(EchoBackend.description)
    backend = Front(Limits(max_answer_tokens=5), metrics=metrics).watched(EchoBackend())
    with pytest.raises(SettingsError):
        backend.stream([question("hello")], GenerationSettings(max_new_tokens=6))
    counted = numbers(metrics)
    assert counted["minigpt4_answers_in_progress"] == 0 and counted['minigpt4_answers_total{ended="failed"}'] == 0


def test_a_watched_backend_offers_what_its_backend_does():
    backend = Front().watched(EchoBackend(0.5))
    assert backend.seconds_per_word == 0.5


def test_conversations_are_recorded_only_if_asked_and_only_for_the_operator(tmp_path):
    path = tmp_path / "made" / "record.jsonl"
    front = build_front(parse("--record-conversations", str(path)))(EchoBackend())
    assert "record" in front.notice and Front().notice == "" and Front().watchers == ()
    picture = load_picture(PIL.Image.new("RGB", (9, 9)))
    message = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "Wer bist du? äöü"}]}
    front.watched(EchoBackend()).generate([message])
    line = json.loads(path.read_text("utf-8"))
    assert (line["question"], line["pictures"], line["ended"]) == ("Wer bist du? äöü", [picture.digest], "stop")
    assert line["answer"].endswith("äöü")
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def api_behind(front: Front) -> TestClient:
    """A stand-in for the API behind `front`."""
    server = fastapi.FastAPI()
    server.get("/v1/models")(lambda: "models")
    server.post("/v1/chat/completions")(lambda: "an answer")
    front.add_middleware(server)
    return TestClient(server)


def test_the_api_shares_the_rate_and_refuses_in_its_clients_words():
    front = Front(Limits(questions_per_minute=2))
    api = api_behind(front)
    front.questions.take("testclient")  # a question on the page
    assert api.post("/v1/chat/completions").json() == "an answer"
    refused = api.post("/v1/chat/completions")
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert api.get("/v1/models").status_code == 200  # no question


def test_accounts_close_the_api_too_unless_it_has_keys():
    accounts, _ = load_accounts(["alice:horse"])
    api = api_behind(Front(accounts=accounts))
    for wrong in (None, ("alice", "donkey"), ("", "")):
        assert api.get("/v1/models", auth=wrong).status_code == 401
    for wrong in ("Bearer alice:horse", "Basic !", "Basic", "basic /w=="):
        assert api.get("/v1/models", headers={"Authorization": wrong}).status_code == 401
    assert api.get("/v1/models", auth=("alice", "horse")).status_code == 200
    assert api_behind(Front(accounts=accounts, api_has_keys=True)).get("/v1/models").status_code == 200
