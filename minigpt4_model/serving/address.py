"""Where a server listens. Knows nothing of Gradio, so that an address that cannot be had is told before anything is loaded."""

import errno
import socket
import sys

# A connection whose other end takes nothing for so long is ended, so that clients that never read do not pile up.
UNREAD_MS = 120_000

# The address, not the port, is at fault.
_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(OSError):
    """The host or the port cannot be had; the text names the flag and the fix."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port` (0 takes a free one). Raises `CannotListen`."""
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as fault:  # a machine without IPv6
        raise _host_fault(host, fault) from fault
    # On Windows SO_REUSEADDR would let two programs share the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE if sys.platform == "win32" else socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError, ValueError) as fault:
        listener.close()
        # A name that cannot be looked up is a gaierror, one that is no name at all a ValueError.
        if isinstance(fault, (socket.gaierror, ValueError)) or getattr(fault, "errno", None) in _NOT_OURS:
            raise _host_fault(host, fault) from fault
        raise CannotListen(f"--port {port}: cannot listen on {host}:{port} ({fault}). Choose another with --port, or --port 0.") from fault
    return listener


def _host_fault(host: str, fault: Exception) -> CannotListen:
    use = "127.0.0.1 for this machine alone, or 0.0.0.0 for the network"
    return CannotListen(f"--host {host}: this machine has no such address ({fault}). Use {use}.")
