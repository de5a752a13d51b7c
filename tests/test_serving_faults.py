"""Clients that misbehave, in small: they leave, never read, or are too many; and the page when its server dies.

MINIGPT4_STREAMS=1000 runs the dropped streams in full.
"""

import json
import os
import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from minigpt4_model.chat.backends import open_backend
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving import chat_response
from minigpt4_model.serving.api import ApiOptions
from minigpt4_model.ui.conversation import ConversationStore
from tests.api_server import serving, wait_until
from tests.test_openai_backend import Watched

LONG = [{"role": "user", "content": "word " * 3000}]


def ask(client, **options):
    return client.chat.completions.create(model="echo", messages=LONG, max_tokens=4096, **options)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_the_computing_within_a_token(stream):
    backend = Watched(seconds_per_word=0.05)
    with serving(backend) as server:
        body = b'{"model": "echo", "messages": [{"role": "user", "content": "%s"}], "stream": %s}' % (
            b"word " * 500,
            b"true" if stream else b"false",
        )
        with socket.create_connection(("127.0.0.1", server.port)) as there:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            there.sendall(head.encode() + body)
            wait_until(lambda: backend.streams and backend.streams[0].answer.usage.completion_tokens >= 3)
        wait_until(lambda: backend.streams[0].answer.finish_reason)
    assert backend.streams[0].answer.finish_reason == "cancelled"
    assert backend.streams[0].answer.usage.completion_tokens < 300


def test_many_streams_opened_and_dropped_leave_nothing_behind():
    count = int(os.environ.get("MINIGPT4_STREAMS", 60))
    backend = Watched(seconds_per_word=0.01)
    options = ApiOptions(max_requests=16)
    with serving(backend, options) as server:
        client = server.client()
        ask(client, stream=True).close()
        threads = threading.active_count()

        def drop(number: int) -> bool:
            try:
                stream = ask(client, stream=True)
                next(iter(stream))
                stream.close()
            except openai.RateLimitError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert any(pool.map(drop, range(count)))
        wait_until(lambda: all(stream.answer.finish_reason for stream in backend.streams))
        assert {stream.answer.finish_reason for stream in backend.streams} == {"cancelled"}
        # All places are free again: as many as there are can be taken at once.
        with ThreadPoolExecutor(16) as pool:
            texts = list(pool.map(lambda n: client.chat.completions.create(**question(n)).choices[0].message.content, range(16)))
        assert all(text.endswith(f"You said: question {n}") for n, text in enumerate(texts))
        assert threading.active_count() <= threads + 16 + 8  # the server keeps idle threads, at most one for each place


def question(number: int) -> dict:
    return {"model": "echo", "messages": [{"role": "user", "content": f"question {number}"}]}


def test_beyond_the_limit_requests_are_refused_at_once_and_the_others_answered():
    backend = Watched(seconds_per_word=0.05)
    with serving(backend, ApiOptions(max_requests=3)) as server:
        client = server.client()
        streams = [ask(client, stream=True) for _ in range(3)]
        for stream in streams:
            next(iter(stream))
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(**question(4))
        assert refused.value.code == "rate_limit_exceeded" and int(refused.value.response.headers["retry-after"]) > 0
        assert len(client.models.list().data) == 1  # looking is free
        for stream in streams:
            stream.close()
        wait_until(lambda: all(stream.answer.finish_reason for stream in backend.streams))
        wait_until(lambda: answered(client))
    assert len(backend.streams) >= 4


def answered(client) -> bool:
    try:
        return bool(client.chat.completions.create(**question(1), max_tokens=1))
    except openai.RateLimitError:
        return False


def test_a_client_that_never_reads_holds_up_nobody_and_is_dropped(monkeypatch, caplog):
    monkeypatch.setattr(chat_response, "PATIENCE_S", 0.5)
    backend = Watched()
    with serving(backend) as server:
        fields = {"model": "echo", "stream": True, "n": 8, "max_tokens": 4096, "logprobs": True}
        body = json.dumps({**fields, "messages": [{"role": "user", "content": "word " * 5000}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.sendall(head.encode() + body)
            wait_until(lambda: backend.streams)
            answer = server.client().chat.completions.create(**question(1))
            assert answer.choices[0].message.content.endswith("question 1")
            wait_until(lambda: "read nothing" in caplog.text)
            ended = [stream.answer.finish_reason for stream in backend.streams]
    assert "cancelled" in ended and len(ended) < 8 + 1  # it was not computed to its end


def test_the_page_says_so_when_its_server_dies_keeps_the_conversation_and_goes_on(tmp_path):
    from minigpt4_model.ui.actions import Actions
    from minigpt4_model.ui.conversation import FAILED, FINISHED

    with serving(EchoBackend(seconds_per_word=0.02)) as server:
        backend = open_backend("openai", base_url=server.url)
        try:
            store = ConversationStore(tmp_path)
            actions = Actions(backend, store)
            conversation = store.open()

            def say(text: str, after_first=lambda: None) -> None:
                controls = list(vars(backend.description.settings).values())
                controls = ["" if value is None else value for value in controls]
                for _ in actions.ask(conversation.id, {"text": text, "files": []}, *controls):
                    if conversation.exchanges[-1].answer:
                        after_first()

            say("How are you?")
            say("word " * 200, after_first=server.stop)
            broken = conversation.exchanges[-1]
            assert broken.state == FAILED and broken.answer.startswith("I received") and "broke off" in broken.note
            with serving(EchoBackend(), port=server.port):
                say("And now?")
        finally:
            backend.close()
    assert [exchange.state for exchange in conversation.exchanges] == [FINISHED, FAILED, FINISHED]
    assert conversation.exchanges[-1].answer.endswith("2 earlier questions. You said: And now?")


def test_health_answers_while_all_places_are_taken():
    with serving(EchoBackend(seconds_per_word=0.05), ApiOptions(max_requests=1)) as server:
        stream = ask(server.client(), stream=True)
        next(iter(stream))
        with urllib.request.urlopen(server.url + "/models", timeout=10) as answer:
            assert answer.status == 200
        stream.close()
