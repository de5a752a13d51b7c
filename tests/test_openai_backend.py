"""The page's backend over an OpenAI-compatible server: this project's own, real, and others as they answer."""

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image
import pytest

from minigpt4_model.chat.backends import open_backend
from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.messages import MessageError, question
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving, wait_until

QUESTION = [question("What is it?", [PIL.Image.new("RGB", (30, 20), "teal")])]


@pytest.fixture
def opened():
    """Opens backends that are closed at the end."""
    backends = []

    def open_at(url: str, **options):
        backends.append(open_backend("openai", base_url=url, **options))
        return backends[-1]

    yield open_at
    for backend in backends:
        backend.close()


class Watched(EchoBackend):
    """Counts the answers that have ended, and remembers what was asked."""

    def __init__(self, seconds_per_word: float = 0.0):
        super().__init__(seconds_per_word)
        self.asked, self.streams = [], []

    def stream(self, messages, settings=None, top_logprobs=None):
        self.asked.append((messages, settings))
        self.streams.append(super().stream(messages, settings, top_logprobs))
        return self.streams[-1]


def test_our_own_server_answers_as_the_model_behind_it_does(opened):
    behind = Watched()
    with serving(behind) as server:
        backend = opened(server.url)
        about = backend.description
        assert (about.name, about.title, about.context_length, about.image_tokens) == ("echo", "Echo", 10**6, 32)
        assert about.settings == behind.description.settings
        settings = GenerationSettings(visual_contrast=0.5, num_beams=2, seed=7, image_crops=True, loop_guard=5, top_k=3)
        answer = backend.answer(QUESTION, settings)
        local = EchoBackend().answer(QUESTION, settings)
    assert (answer.text, answer.token_ids, answer.finish_reason, answer.notices) == (local.text, [], local.finish_reason, [])
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.image_tokens) == (35, 14, 32)
    assert answer.timings.ttft_s > 0
    assert behind.asked[0][1] == settings


def test_a_picture_arrives_with_its_very_pixels(opened):
    behind = Watched()
    picture = PIL.Image.effect_noise((64, 48), 90).convert("RGB")
    with serving(behind) as server:
        backend = opened(server.url)
        messages = [question("One", [picture]), {"role": "assistant", "content": "Yes."}, question("Two", [picture, picture])]
        assert "3 pictures" in backend.generate(messages)
    parts = [part for message in behind.asked[0][0] if isinstance(message["content"], list) for part in message["content"]]
    sent = [part["image"] for part in parts if part["type"] == "image"]
    assert len({part.digest for part in sent}) == 1 and sent[0].image.tobytes() == picture.tobytes()


def test_logprobs_come_through(opened):
    with serving(EchoBackend()) as server:
        told = opened(server.url).stream(QUESTION, top_logprobs=1).join().logprobs
    assert told == EchoBackend().stream(QUESTION, top_logprobs=1).join().logprobs


def test_leaving_stops_the_server_too(opened):
    behind = Watched(seconds_per_word=0.02)
    with serving(behind) as server:
        stream = opened(server.url).stream([question("word " * 2000)], GenerationSettings(max_new_tokens=4096))
        assert next(stream)
        stream.cancel()
        assert list(stream) == [] and stream.answer.finish_reason == "cancelled"
        assert stream.answer.usage.completion_tokens > 0
        wait_until(lambda: behind.streams[0].answer.finish_reason == "cancelled")
    assert behind.streams[0].answer.usage.completion_tokens < 500


def test_stop_does_not_wait_for_a_silent_server(opened):
    with serving(EchoBackend(seconds_per_word=20)) as server:
        stream = opened(server.url).stream(QUESTION)
        threading.Timer(0.3, stream.cancel).start()
        start = time.monotonic()
        assert list(stream) == [] and stream.answer.finish_reason == "cancelled"
        assert time.monotonic() - start < 10


def test_a_server_that_dies_in_mid_answer_and_comes_back(opened):
    with serving(EchoBackend(seconds_per_word=0.05)) as server:
        backend = opened(server.url)
        stream = backend.stream([question("word " * 500)], GenerationSettings(max_new_tokens=4096))
        assert next(stream)
        server.stop()
        with pytest.raises(BackendError, match="retry when the server is back|broke off"):
            for _ in stream:
                pass
        with pytest.raises(BackendError, match="cannot be reached.*conversation is kept"):
            backend.generate(QUESTION)
        with serving(EchoBackend(), port=server.port):
            assert "What is it?" in backend.generate(QUESTION)


def test_bad_messages_are_told_before_anything_is_sent(opened):
    with serving(EchoBackend()) as server, pytest.raises(MessageError):
        opened(server.url).stream([])


def test_addresses_and_names_that_are_wrong():
    with serving(EchoBackend(), ApiOptions(keys=("sk-right",))) as server:
        for options, told in [
            ({"base_url": "nowhere"}, "--base-url nowhere"),
            ({"base_url": "http://127.0.0.1:9/v1"}, "cannot be reached"),
            ({"base_url": server.url}, "OPENAI_API_KEY"),
            ({"base_url": server.url.removesuffix("/v1")}, "/v1"),
            ({}, "--base-url"),
        ]:
            with pytest.raises(BackendError, match=told):
                open_backend("openai", **options)
    with serving(EchoBackend()) as server, pytest.raises(BackendError, match="--served-model other.*It has: echo"):
        open_backend("openai", base_url=server.url, served_model="other")


def test_the_key_comes_from_the_environment(opened, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    with serving(EchoBackend(), ApiOptions(keys=("sk-right",))) as server:
        assert "What is it?" in opened(server.url).generate(QUESTION)


class Other(ThreadingHTTPServer):
    """A server of another make: answers each request with the next of `replies`, a status and a body or chunks. `asked` are the bodies.

    With `penalty` it has this project's repetition penalty, and refuses one that is no number.
    """

    daemon_threads = True

    def __init__(self, owned_by: str, replies, model: str = "/models/vicuna-7b", penalty: bool = False):
        super().__init__(("127.0.0.1", 0), _OtherHandler)
        self.owned_by, self.replies, self.asked = owned_by, iter(replies), []
        self.model, self.penalty = model, penalty
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()


class _OtherHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        rows = [{"id": self.server.model, "object": "model", "owned_by": self.server.owned_by, "max_model_len": 1000}]
        self.reply(200, json.dumps({"object": "list", "data": rows}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if isinstance(body.get("vllm_xargs", {}).get("answer_repetition_penalty"), str):
            self.reply(400 if self.server.penalty else 200, b"{}")
            return
        self.server.asked.append(body)
        status, body = next(self.server.replies)
        self.reply(status, json.dumps(body).encode() if isinstance(body, dict) else body)

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def events(*pieces: str, ids: bool = False, end: str = "stop", done: bool = True) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": None}]
    chunks += [
        {"choices": [{"index": 0, "delta": {"content": piece}, **({"token_ids": [hash(piece) % 1000]} if ids else {})}]} for piece in pieces
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": end}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 9, "prompt_tokens_details": None}})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([": hello\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


def test_vllm_gets_the_settings_it_knows_and_the_guards_are_ours(opened):
    settings = GenerationSettings(top_k=4, repetition_penalty=1.1, visual_contrast=1, temperature=0, seed=5)
    with Other("vllm", [(200, events(" A", " cat.", "###Human: and", " more", ids=True))]) as server:
        backend = opened(server.url)
        assert (backend.description.name, backend.description.title) == ("vicuna-7b", "MiniGPT-4 with Vicuna 7B")
        assert (backend.description.context_length, backend.description.image_tokens) == (1000, 32)
        answer = backend.answer(QUESTION, settings)
    assert (answer.text, answer.finish_reason, answer.usage.prompt_tokens, answer.usage.image_tokens) == ("A cat.", "stop", 50, 32)
    assert answer.notices == ["Visual contrast: this server does not know the setting, it was left out."]
    (body,) = server.asked
    assert body["model"] == "/models/vicuna-7b" and body["max_tokens"] == 300
    assert (body["top_k"], body["repetition_penalty"], body["temperature"], body["seed"]) == (4, 1.1, 0, 5)
    assert not {"visual_contrast", "loop_guard", "num_beams", "vllm_xargs"} & set(body)
    assert body["stop"] == ["###"]
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["image_url", "text"]


def test_our_plugin_in_vllm_penalizes_the_answer_alone_and_pocket_gets_a_blank_picture(opened):
    with Other("vllm", [(200, events("Yes.")), (200, events("Yes."))], model="pocket", penalty=True) as server:
        backend = opened(server.url)
        without = backend.answer([question("Is it?")], GenerationSettings(repetition_penalty=1.2))
        backend.answer(QUESTION)
    assert (without.text, without.usage.image_tokens) == ("Yes.", 32)
    first, second = server.asked
    assert (first["repetition_penalty"], first["vllm_xargs"]) == (1.0, {"answer_repetition_penalty": 1.2})
    assert "stop" not in first
    kinds = [[part["type"] for part in body["messages"][0]["content"]] for body in (first, second)]
    assert kinds == [["image_url", "text"]] * 2
    assert first["messages"][0]["content"][0] != second["messages"][0]["content"][0]


def test_any_other_server_gets_openais_names_alone(opened):
    with Other("organization", [(200, events("Yes."))]) as server:
        answer = opened(server.url, preset="vicuna-7b").answer([question("Is it?")], GenerationSettings())
    assert answer.text == "Yes."
    assert set(server.asked[0]) == {"model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p"}
    assert server.asked[0]["messages"] == [{"role": "user", "content": "Is it?"}]
    assert [notice.split(":")[0] for notice in answer.notices] == ["Repetition penalty"]


def test_guards_end_what_another_server_writes(opened):
    loop = itertools.chain(["It is"], itertools.cycle([" red", " and"]))
    replies = [
        (200, events(*itertools.islice(loop, 400))),
        (200, events("It is a cat. ", "Это кошка.")),
        (200, events("It is a cat.\n", "Human", ": no")),
    ]
    with Other("vllm", replies) as server:
        backend = opened(server.url)
        looped = backend.answer(QUESTION, GenerationSettings(loop_guard=3))
        assert looped.finish_reason == "guard" and "repeat" in looped.notices[-1] and len(looped.text) < 400
        switched = backend.answer(QUESTION, GenerationSettings(script_guard=True))
        assert (switched.text, switched.finish_reason) == ("It is a cat.", "guard")
        leaked = backend.answer(QUESTION, GenerationSettings(leak_guard=True))
        assert (leaked.text, leaked.finish_reason) == ("It is a cat.", "guard")


def test_a_conversation_that_is_too_long_forgets_its_oldest_questions(opened):
    refusal = {"error": {"message": "This model's maximum context length is 1000 tokens, you requested 1200.", "code": 400}}
    talk = [question("First", QUESTION[0]["content"][:1] and [PIL.Image.new("RGB", (9, 9))])]
    for number in range(5):
        talk += [{"role": "assistant", "content": f"Answer {number}"}, question(f"Question {number}")]
    with Other("vllm", [(400, refusal), (400, refusal), (200, events("Fine."))]) as server:
        answer = opened(server.url).answer(talk)
    assert answer.text == "Fine." and "oldest 2 questions and their answers were left out" in answer.notices[-1]
    last = server.asked[-1]["messages"]
    assert last[0]["content"][0]["type"] == "image_url" and last[0]["content"][1]["text"] == "Question 1"
    with Other("vllm", [(400, refusal)]) as server, pytest.raises(BackendError, match="maximum context length"):
        opened(server.url).generate(QUESTION)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ((200, events("A", done=False)), "broke off"),
        ((200, b"data: {]\n\n"), "cannot be reached|broke off"),
        ((200, b"<html>"), "cannot be reached|broke off"),
        ((200, b'data: {"error": {"message": "CUDA error"}}\n\n'), "CUDA error"),
        ((500, {"error": {"message": "boom"}}), "cannot answer .boom.*conversation is kept"),
        ((404, b"not here"), "no such address or model .not here"),
        ((400, {"error": {"message": "too many images"}}), "too many images"),
        ((400, {"detail": "odd"}), "odd"),
    ],
)
def test_faults_are_told_in_words(opened, reply, told):
    with Other("vllm", [reply]) as server, pytest.raises(BackendError, match=told):
        opened(server.url).generate(QUESTION)


def test_a_busy_server_is_asked_again(opened):
    with Other("vllm", [(429, {"error": {"message": "full"}}), (200, events("Now."))]) as server:
        assert opened(server.url).generate(QUESTION) == "Now."
    assert len(server.asked) == 2
