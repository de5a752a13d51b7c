"""The client of OpenAI-compatible servers, on a real one: retries, pace, faults that no retry mends."""

import email.utils
import threading
import time

import PIL.Image
import pytest

from minigpt4_model.curation.endpoint import Endpoint, EndpointDown, EndpointSettings, RequestRefused, with_pictures
from minigpt4_model.curation.request_gate import GateClosed, RequestGate
from tests.openai_endpoint import KEY, content, dropped, garbage, serving, status

ASK = [{"role": "user", "content": "A dog. A dog. A cat."}]


@pytest.fixture
def server():
    with serving() as server:
        yield server


def endpoint(server, **settings) -> Endpoint:
    return Endpoint(EndpointSettings(server.base_url, **{"timeout_s": 5, **settings}), first_wait_s=0.01)


def test_a_request_and_what_it_took(server):
    asked = endpoint(server)
    told = asked.complete(ASK, temperature=0.5, max_tokens=None)
    assert (told.text, told.finish_reason) == ("A dog. A cat.", "stop")
    assert server.requests[0]["model"] == "mender" and server.requests[0]["temperature"] == 0.5 and "max_tokens" not in server.requests[0]
    asked.complete(ASK)
    assert vars(asked.used) == {"requests": 2, "prompt_tokens": 12, "completion_tokens": 8}


def test_pictures_go_with_it(server, tmp_path):
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    messages = [{"role": "user", "content": [{"type": "image", "image": tmp_path / "a.jpg"}, {"type": "text", "text": "What?"}]}]
    assert endpoint(server).complete(with_pictures(messages)).text == "A picture of 20 by 10 pixels."
    more = [*messages, {"role": "assistant", "content": "hm"}, {"role": "user", "content": [{"type": "text", "text": "Continue"}]}]
    assert endpoint(server).complete(with_pictures(more)).text == "There is more."


@pytest.mark.parametrize("trouble", [status(429), status(503), status(500), dropped], ids=["429", "503", "500", "dropped"])
def test_what_may_pass_is_tried_again(server, trouble):
    server.troubles += [trouble, trouble]
    assert endpoint(server).complete(ASK).text == "A dog. A cat."
    assert len(server.times) == 3


def test_the_server_says_how_long_to_wait(server):
    server.troubles.append(status(429, Retry_After="0.4"))
    endpoint(server).complete(ASK)
    assert server.times[1] - server.times[0] >= 0.4


def test_a_date_to_wait_for(server):
    server.troubles.append(lambda handler: status(503, Retry_After=email.utils.formatdate(time.time() + 2, usegmt=True))(handler))
    endpoint(server).complete(ASK)
    assert server.times[1] - server.times[0] > 0.5


def test_too_many_requests_holds_everybody_up(server):
    asked = endpoint(server)
    server.troubles.append(status(429, Retry_After="0.5"))
    first = threading.Thread(target=asked.complete, args=(ASK,))
    first.start()
    while not server.times:
        time.sleep(0.005)
    time.sleep(0.1)
    asked.complete(ASK)
    first.join()
    assert server.times[1] - server.times[0] >= 0.4


def test_it_gives_up_and_says_why(server):
    server.troubles += [status(500, "out of order")] * 3
    with pytest.raises(EndpointDown, match=r"3 attempts.*out of order"):
        endpoint(server, attempts=3).complete(ASK)


def test_a_server_that_is_not_there():
    with pytest.raises(EndpointDown, match=r"http://127.0.0.1:9/v1 did not answer.*--base-url"):
        Endpoint(EndpointSettings("http://127.0.0.1:9/v1", model="x", attempts=2), first_wait_s=0.01).complete(ASK)


def test_a_request_that_is_refused_is_not_tried_again(server):
    server.troubles.append(status(400, "too long"))
    with pytest.raises(RequestRefused, match="400: too long"):
        endpoint(server).complete(ASK)
    assert len(server.times) == 1
    assert endpoint(server).complete(ASK).text


@pytest.mark.parametrize("text", [None, 3], ids=["null", "number"])
def test_an_answer_without_a_text(server, text):
    server.troubles.append(content(text))
    with pytest.raises(RequestRefused, match="no text"):
        endpoint(server).complete(ASK)


def test_an_answer_that_is_no_completion(server):
    server.troubles.append(lambda handler: handler.answer(200, {"choices": []}))
    with pytest.raises(RequestRefused, match="choices"):
        endpoint(server).complete(ASK)


def test_an_address_that_answers_in_html(server):
    server.troubles.append(garbage)
    with pytest.raises(EndpointDown, match=r"not in JSON.*/v1"):
        endpoint(server).complete(ASK)


def test_no_credit_is_not_tried_again(server):
    server.troubles.append(lambda handler: handler.answer(429, {"error": {"message": "no", "code": "insufficient_quota"}}))
    with pytest.raises(EndpointDown, match="credit"):
        endpoint(server).complete(ASK)


def test_keys():
    with serving(key=KEY) as server:
        assert endpoint(server, api_key=KEY).complete(ASK).text
        with pytest.raises(EndpointDown, match="401.*OPENAI_API_KEY"):
            endpoint(server, api_key="sk-other").complete(ASK)


def test_the_model_is_found_out_or_asked_for():
    with serving(models=["a", "b"]) as server:
        with pytest.raises(EndpointDown, match="--served-model: it has a, b"):
            endpoint(server)
        assert endpoint(server, model="b").complete(ASK).text
        with pytest.raises(RequestRefused, match="no model c"):
            endpoint(server, model="c").complete(ASK)


def test_no_more_than_so_many_a_minute(server):
    asked = endpoint(server, requests_per_minute=600, model="mender")
    threads = [threading.Thread(target=asked.complete, args=(ASK,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.times[-1] - server.times[0] >= 0.28


def test_closing_ends_the_waiting(server):
    server.troubles += [status(503, Retry_After="60")]
    asked = endpoint(server, model="mender")
    ended = []

    def ask():
        try:
            asked.complete(ASK)
        except GateClosed:
            ended.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    while not server.times:
        time.sleep(0.005)
    asked.close()
    thread.join(5)
    assert ended == [True]


def test_the_gates_pace():
    now = [0.0]
    gate = RequestGate(60, clock=lambda: now[0])
    gate.pass_through()
    gate._closed.wait = lambda seconds: now.__setitem__(0, now[0] + seconds)
    gate.pass_through()
    gate.pass_through()
    assert now[0] == pytest.approx(2)
    now[0] = 100  # an idle time is no credit
    gate.pass_through()
    gate.pass_through()
    assert now[0] == pytest.approx(101)
