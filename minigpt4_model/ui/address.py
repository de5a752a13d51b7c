"""Where the page listens. Knows nothing of Gradio, so that a port in use is told before anything is loaded."""

import socket


class PortInUse(OSError):
    """The port is taken; the text names the flag."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port` (0 takes a free one). Raises `PortInUse`, or `OSError` for a host that is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as fault:
        listener.close()
        raise PortInUse(f"--port {port}: cannot listen on {host}:{port} ({fault}). Choose another with --port, or --port 0.") from fault
    return listener
