"""Where the page listens: which flag a fault names."""

import socket

import pytest

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


def test_port_0_takes_a_free_one():
    with listen("127.0.0.1", 0) as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()
