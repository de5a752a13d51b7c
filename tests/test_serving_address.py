"""Where the page listens: which flag a fault names."""

import errno
import socket

import pytest

from minigpt4_model.serving import address
from minigpt4_model.serving.address import CannotListen, listen


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "a..b", "2001:db8::1"])
def test_a_host_that_is_not_ours_is_named(host):
    with pytest.raises(CannotListen) as fault:
        listen(host, 0)
    assert str(fault.value).startswith(f"--host {host}: ") and "--port" not in str(fault.value)


def test_a_port_that_cannot_be_had_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 70000):
            with pytest.raises(CannotListen) as fault:
                listen("127.0.0.1", port)
            assert str(fault.value).startswith(f"--port {port}: ") and "--host" not in str(fault.value)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends connections that nobody reads")
def test_a_connection_that_nobody_reads_is_ended(monkeypatch):
    monkeypatch.setattr(address, "UNREAD_MS", 500)
    with listen("127.0.0.1", 0) as listener, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted, pytest.raises(TimeoutError) as ended:
            accepted.settimeout(30)
            while True:
                accepted.sendall(b"x" * 65536)
        assert ended.value.errno == errno.ETIMEDOUT  # not our patience of 30 seconds


def test_port_0_takes_a_free_one():
    with listen("127.0.0.1", 0) as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()
