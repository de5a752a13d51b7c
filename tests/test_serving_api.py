"""The OpenAI-compatible API over the echo backend, asked by the official client and by hand."""

import base64
import io
import json
import urllib.error
import urllib.request

import openai
import PIL.Image
import pytest

from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving


def data_url(width: int = 20, height: int = 10) -> str:
    data = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "teal").save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def user(*parts) -> dict:
    content = [
        {"type": "image_url", "image_url": {"url": part}} if part.startswith(("data:", "http")) else {"type": "text", "text": part}
        for part in parts
    ]
    return {"role": "user", "content": content}


@pytest.fixture(scope="module")
def server():
    with serving(EchoBackend()) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def post(server, body, path: str = "/chat/completions", **headers) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def asked(**fields) -> dict:
    return {"model": "echo", "messages": [{"role": "user", "content": "hello"}], **fields}


def test_the_model_tells_what_it_is(client):
    (model,) = client.models.list()
    assert (model.id, model.object, model.max_model_len, model.image_tokens) == ("echo", "model", 10**6, 32)
    assert model.settings["max_new_tokens"] == 300
    assert client.models.retrieve("echo").id == "echo"
    with pytest.raises(openai.NotFoundError) as fault:
        client.models.retrieve("gpt-9")
    assert fault.value.code == "model_not_found"


def test_a_conversation_with_pictures(client):
    messages = [{"role": "developer", "content": "Be short."}, user(data_url(), "What is it?")]
    first = client.chat.completions.create(model="echo", messages=messages)
    assert first.choices[0].message.content == "I received 1 picture (20x10) and 0 earlier questions. You said: What is it?"
    assert (first.choices[0].finish_reason, first.object) == ("stop", "chat.completion")
    assert first.usage.prompt_tokens == 32 + 5 and first.usage.completion_tokens == 14
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    messages += [first.choices[0].message, user("And", data_url(30, 40), "this?")]
    second = client.chat.completions.create(model="echo", messages=messages)
    assert "2 pictures (20x10, 30x40) and 1 earlier question. You said: And this?" in second.choices[0].message.content


def test_a_stream_is_the_answer_in_pieces(client):
    stream = client.chat.completions.create(
        model="echo", messages=[user("one two three")], stream=True, stream_options={"include_usage": True}, n=2
    )
    chunks = list(stream)
    texts = ["".join(c.choices[0].delta.content or "" for c in chunks if c.choices and c.choices[0].index == i) for i in (0, 1)]
    assert texts == ["I received 0 pictures and 0 earlier questions. You said: one two three"] * 2
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].index for c in chunks if c.choices and c.choices[0].finish_reason == "stop"] == [0, 1]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 2 * 13
    assert all(c.usage is None for c in chunks[:-1]) and len({c.id for c in chunks}) == 1
    plain = list(client.chat.completions.create(model="echo", messages=[user("hi")], stream=True))
    assert plain[-1].choices[0].finish_reason == "stop" and plain[-1].usage is None


def test_the_openai_clients_stream_helper_reads_it(client):
    with client.chat.completions.stream(model="echo", messages=[user("hi")], logprobs=True) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content.endswith("You said: hi")
    assert len(final.choices[0].logprobs.content) == 11


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_longest_answer(client, field):
    answer = client.chat.completions.create(model="echo", messages=[user("hi")], **{field: 3})
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("I received 0", "length")


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        ("earlier q", "I received 0 pictures and 0 ", "earlier q"),
        (["never", "and 0", "pictures and"], "I received 0 ", "pictures and"),
        ("questions?", "I received 0 pictures and 0 earlier questions. You said: hi", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts(client, stop, text, reason, stream):
    answer = client.chat.completions.create(model="echo", messages=[user("hi")], stop=stop, stream=stream, logprobs=True)
    if stream:
        chunks = list(answer)
        shown = "".join(c.choices[0].delta.content or "" for c in chunks)
        told = [entry for c in chunks if c.choices[0].logprobs for entry in c.choices[0].logprobs.content]
        ended = chunks[-1].choices[0]
    else:
        ended = answer.choices[0]
        shown, told = ended.message.content, ended.logprobs.content
    assert (shown, ended.finish_reason, ended.stop_reason) == (text, "stop", reason)
    # The tokens told are those of which something was shown.
    assert "".join(entry.token for entry in told).startswith(text)
    assert len("".join(entry.token for entry in told[:-1])) < len(text)


def test_logprobs_and_token_ids(client):
    answer = client.chat.completions.create(
        model="echo", messages=[user("né")], logprobs=True, top_logprobs=1, extra_body={"return_token_ids": True}
    )
    (choice,) = answer.choices
    last = choice.logprobs.content[-1]
    assert (last.token, last.logprob, bytes(last.bytes).decode()) == (" né", 0.0, " né")
    assert last.top_logprobs[0].token == " né" and choice.token_ids == list(range(11))
    assert client.chat.completions.create(model="echo", messages=[user("x")]).choices[0].logprobs is None


class Recording(EchoBackend):
    """Remembers with which settings it was asked."""

    def __init__(self):
        super().__init__()
        self.settings = []

    def stream(self, messages, settings=None, top_logprobs=None):
        self.settings.append(settings)
        return super().stream(messages, settings, top_logprobs)


def test_settings_reach_the_backend_under_both_kinds_of_names():
    backend = Recording()
    with serving(backend) as server:
        server.client().chat.completions.create(
            model="echo",
            messages=[user("x")],
            temperature=0.5,
            top_p=0,
            seed=-1,
            n=2,
            max_tokens=4096,
            extra_body={"top_k": 5, "visual_contrast": 1, "script_guard": True, "repetition_penalty": 1.2},
        )
        server.client().chat.completions.create(model="echo", messages=[user("x")])
    first, second, plain = backend.settings
    assert (first.temperature, first.top_p, first.top_k, first.visual_contrast) == (0.5, 0.01, 5, 1.0)
    assert (first.script_guard, first.repetition_penalty, first.max_new_tokens) == (True, 1.2, 4096)
    assert (first.seed, second.seed) == (2**63 - 1, 0)
    assert plain == backend.description.settings


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"n": 9}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 4097}, "max_tokens"),
        ({"max_completion_tokens": 100_000}, "max_completion_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"temperatur": 1}, "temperatur"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"messages": [user("http://example.com/a.png")]}, "messages[0].content[0].image_url.url"),
        ({"messages": [user("data:image/png;base64,@@@")]}, "messages[0].content[0].image_url.url"),
        ({"messages": [user("data:text/html;base64,aGFsbG8=")]}, "messages[0].content[0].image_url.url"),
        ({"messages": [user("data:image/png,raw")]}, "messages[0].content[0].image_url.url"),
        ({"messages": [user("data:image/png;base64,aGFsbG8=")]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [user(*[data_url()] * 51)]}, "messages"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_is_refused_and_the_field_named(server, fields, param):
    status, body = post(server, asked(**fields))
    error = body["error"]
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param), error
    assert set(error) == {"message", "type", "param", "code"} and error["message"].endswith(".")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}", b"NaN"])
def test_bodies_that_are_no_request(server, body):
    status, answer = post(server, body)
    assert status == 400 and answer["error"]["type"] == "invalid_request_error"


def test_what_asks_for_nothing_is_taken(server):
    quiet = {"frequency_penalty": 0, "presence_penalty": None, "tools": [], "tool_choice": "none", "logit_bias": {}, "user": "me"}
    status, body = post(server, asked(**quiet, response_format={"type": "text"}, store=False, metadata={"a": "b"}, stream=False, stop=""))
    assert status == 200 and body["choices"][0]["message"]["content"].endswith("hello")


def test_a_page_elsewhere_cannot_ask_through_a_visitors_browser(server):
    # Without asking first, browsers send other sites' texts only as text/plain or forms.
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert post(server, asked(), **{"Content-Type": kind})[0] == 400


def test_wrong_paths_and_methods_are_told_in_openais_shape(server):
    status, body = post(server, asked(), "/completions")
    assert status == 404 and "/v1/completions" in body["error"]["message"]
    status, body = post(server, asked(), "/models")
    assert status == 405 and body["error"]["type"] == "invalid_request_error"
    status, body = post(server, asked(model="gpt-9"))
    assert status == 404 and body["error"]["code"] == "model_not_found" and "echo" in body["error"]["message"]


def test_who_sends_too_much_hears_why():
    with serving(EchoBackend(), ApiOptions(max_body_bytes=2000)) as server:
        status, body = post(server, asked(messages=[user("x" * 3000)]))
        assert status == 413 and body["error"]["type"] == "invalid_request_error"
        chunked = urllib.request.Request(server.url + "/chat/completions", iter([b"x" * 1500] * 3), {"Content-Type": "application/json"})
        # What is sent in pieces meets a closed connection, if the server does not hear it out before it answers.
        with pytest.raises(urllib.error.HTTPError) as fault:
            urllib.request.urlopen(chunked, timeout=30)
        assert fault.value.code == 413
        assert post(server, asked())[0] == 200


class Broken(EchoBackend):
    """Fails before the first piece, or after it."""

    def __init__(self, fault: Exception, after: int):
        super().__init__()
        self.fault, self.after = fault, after

    def stream(self, messages, settings=None, top_logprobs=None):
        stream = super().stream(messages, settings, top_logprobs)
        pieces = stream._pieces

        def broken():
            for _ in range(self.after):
                yield next(pieces)
            raise self.fault

        stream._pieces = broken()
        return stream


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "status"), [(BackendError("Out of memory."), 503), (RuntimeError("secret path"), 500)])
def test_a_fault_of_the_model_has_its_status(fault, status, stream, caplog):
    with serving(Broken(fault, after=0)) as server, pytest.raises(openai.InternalServerError) as told:
        list(server.client().chat.completions.create(model="echo", messages=[user("x")], stream=stream))
    assert told.value.status_code == status and told.value.type == "server_error"
    assert ("Out of memory." in str(told.value)) == (status == 503) and "secret" not in str(told.value)


def test_a_fault_in_mid_stream_is_its_last_event():
    with serving(Broken(BackendError("The cable is out."), after=2)) as server:
        read = []
        with pytest.raises(openai.APIError, match="The cable is out"):
            for chunk in server.client().chat.completions.create(model="echo", messages=[user("x")], stream=True):
                read.append(chunk.choices[0].delta.content)
    assert "".join(read) == "I received"


def test_its_description_is_its_own(server):
    with urllib.request.urlopen(server.url + "/openapi.json", timeout=10) as answer:
        description = json.load(answer)
    assert set(description["paths"]) == {"/models", "/models/{model_id}", "/chat/completions"}
    assert description["servers"] == [{"url": "/v1"}]
    assert {"top_k", "visual_contrast", "max_tokens"} <= set(description["components"]["schemas"]["ChatRequest"]["properties"])
