"""Which names a server of this machine answers to: no other page may reach it by making its own name lead here."""

import argparse

import fastapi
import pytest
from fastapi.testclient import TestClient

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.front import Front
from minigpt4_model.serving.known_hosts import KnownHosts
from minigpt4_model.serving.operator_flags import add_operator_flags, build_front


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:7860", True),
        ("127.8.9.1", True),
        ("localhost:8000", True),
        ("LOCALHOST.", True),
        ("page.localhost", True),
        ("[::1]:7860", True),
        ("proxy.example:443", True),
        ("evil.example:7860", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.4:7860", False),
        ("[fe80::1]", False),
        ("", False),
    ],
)
def test_who_may_call_it_what(host, known):
    assert KnownHosts(None, ["Proxy.example"]).knows(host) is known


def front_for(*flags: str) -> Front:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--share", action="store_true")
    add_operator_flags(parser)
    return build_front(parser.parse_args(flags))(EchoBackend())


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ((), 421),
        (("--host", "localhost"), 421),
        (("--allowed-host", "evil.example"), 200),
        (("--host", "0.0.0.0"), 200),
        (("--share",), 200),
    ],
)
def test_a_local_server_refuses_other_names_and_an_open_one_does_not(flags, status):
    server = fastapi.FastAPI()
    server.get("/")(lambda: "here")
    front_for(*flags).add_middleware(server)
    client = TestClient(server)
    answer = client.get("/", headers={"Host": "evil.example:7860"})
    assert answer.status_code == status and ("--allowed-host" in answer.text) is (status == 421)
    assert client.get("/", headers={"Host": "127.0.0.1:7860"}).status_code == 200
