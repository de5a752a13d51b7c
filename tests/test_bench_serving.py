"""`bench serving`: from measured speeds to users and copies, and the verb against a real server."""

import json

from minigpt4_model.__main__ import main
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.evaluation.bench_serving import Capacity, Demand, capacity, copies
from tests.api_server import serving


def test_users_follow_from_speeds():
    demand = Demand()
    assert demand.tokens_per_s == 5
    assert capacity({1: 53, 4: 172, 16: 388, 64: 500}, demand) == Capacity(16, 388, 77)  # 64 would get 7.8 tokens/s each
    assert capacity({1: 9}, demand) is None
    assert [copies(users, Capacity(16, 388, 77)) for users in (1, 77, 78, 1000)] == [1, 1, 2, 13]


def test_the_verb_asks_a_server(capsys):
    with serving(EchoBackend(seconds_per_word=0.005)) as server:
        flags = ["--visitors", "1", "2", "--rounds", "1", "--tokens", "8", "--users", "3"]
        assert main(["bench", "serving", "--base-url", server.url, *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = json.loads(lines[-1])
    assert set(told["tokens_per_s"]) == {"1", "2"} and told["tokens_per_s"]["2"] > 0
    assert main(["bench", "serving", "--base-url", "http://127.0.0.1:9/v1"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
