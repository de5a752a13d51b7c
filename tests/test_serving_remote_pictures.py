"""Fetching pictures by their address: only from the public internet, whatever names and redirects say, and within limits."""

import base64
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.api import ApiOptions
from minigpt4_model.serving.errors import ApiError
from minigpt4_model.serving.remote_pictures import PictureFetcher, is_public
from tests.api_server import serving
from tests.coroutines import run
from tests.test_serving_api import data_url, user


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
def test_addresses_that_are_not(address):
    assert not is_public(address)


class Site(ThreadingHTTPServer):
    """A web site on loopback; `pages` are functions of a handler, `asked` the paths and Host headers that came."""

    daemon_threads = True

    def __init__(self, pages):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked = pages, []


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"], self.headers["Cookie"], self.headers["Authorization"]))
        self.server.pages[self.path](self)

    def log_message(self, *_):
        pass


def page(status: int, body: bytes = b"", **headers: str):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def site(**pages):
    server = Site({"/" + name: answer for name, answer in pages.items()})
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def fetcher(names=("pictures.example",), **options) -> PictureFetcher:
    """One for which the names given are a public place, which happens to be this machine; all else is looked up and judged as always."""

    async def look_up(host, port):
        if host in names:
            return ["127.0.0.1"]
        return [row[4][0] for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    called_public = iter([True] * 100)

    def judge(address):
        return next(called_public) if address == "127.0.0.1" and judge.trusted else is_public(address)

    judge.trusted = True

    async def look_up_and_trust(host, port):
        judge.trusted = host in names
        return await look_up(host, port)

    return PictureFetcher(look_up_and_trust, judge, **options)


def fetch(address: str, **options) -> bytes:
    return run(fetcher(**options).fetch(address))


def test_a_picture_arrives_and_its_server_is_called_by_name():
    with site(cat=page(200, b"pixels", Content_Type="image/png; x=y")) as there:
        assert fetch(f"http://pictures.example:{there.server_port}/cat") == b"pixels"
        assert there.asked == [("/cat", f"pictures.example:{there.server_port}", None, None)]


def test_a_redirect_is_followed_but_not_into_this_network():
    with site(inside=page(200, b"secret", Content_Type="image/png")) as private, site() as there:
        home = f"http://pictures.example:{there.server_port}"
        there.pages |= {
            "/a": page(302, Location="/b"),
            "/b": page(301, Location=f"{home}/cat"),
            "/cat": page(200, b"pixels", Content_Type="image/png"),
            "/loop": page(302, Location="/loop"),
            "/to-private": page(302, Location=f"http://127.0.0.1:{private.server_port}/inside"),
            "/to-file": page(302, Location="file:///etc/passwd"),
        }
        assert fetch(f"{home}/a") == b"pixels"
        for path, told in [("loop", "leads on"), ("to-private", "public internet"), ("to-file", "http and https")]:
            with pytest.raises(ApiError, match=told):
                fetch(f"{home}/{path}")
        assert private.asked == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0", "me@127.0.0.1", "169.254.169.254"],
)
def test_this_machine_is_not_asked_however_it_is_spelled(host):
    with site(x=page(200, b"secret", Content_Type="image/png")) as private:
        with pytest.raises(ApiError) as fault:
            fetch(f"http://{host}:{private.server_port}/x")
        assert private.asked == [] and fault.value.status_code == 400 and "secret" not in fault.value.detail


def test_a_name_with_one_private_address_is_not_asked():
    async def look_up(host, port):
        return ["93.184.215.14", "10.0.0.1"]

    with pytest.raises(ApiError, match="public internet"):
        run(PictureFetcher(look_up).fetch("http://pictures.example/x"))


def slowly(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "image/png")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def test_limits():
    pages = dict(
        large=page(200, b"x" * 3_000_000, Content_Type="image/png"),
        page=page(200, b"<html>", Content_Type="text/html"),
        untyped=page(200, b"pixels"),
        zipped=page(200, b"x", Content_Type="image/png", Content_Encoding="gzip"),
        gone=page(404, b"x", Content_Type="image/png"),
        slow=slowly,
    )
    with site(**pages) as there:
        for path, told in [
            ("large", "larger than 2 MB"),
            ("page", "text/html"),
            ("untyped", "no picture"),
            ("zipped", "compressed"),
            ("gone", "404"),
        ]:
            with pytest.raises(ApiError, match=told):
                fetch(f"http://pictures.example:{there.server_port}/{path}", max_bytes=2_000_000)
        start = time.monotonic()
        with pytest.raises(ApiError, match="0.5 seconds"):
            fetch(f"http://pictures.example:{there.server_port}/slow", seconds=0.5)
        assert time.monotonic() - start < 5
    for address in ("http://pictures.example:1/x", "http://no such name/", "http://", "https://" + "a" * 9000, "ftp://pictures.example/x"):
        with pytest.raises(ApiError):
            fetch(address)


def test_the_api_fetches_where_the_operator_allows_it():
    data = base64.b64decode(data_url(33, 44).partition(",")[2])
    with site(cat=page(200, data, Content_Type="image/png")) as there:
        address = f"http://pictures.example:{there.server_port}/cat"
        with serving(EchoBackend(), ApiOptions(fetcher=fetcher())) as server:
            answer = server.client().chat.completions.create(model="echo", messages=[user(address, "What?")])
        assert "1 picture (33x44)" in answer.choices[0].message.content
