"""A server that only this machine can reach answers only those who call it by this machine's name.

Otherwise any web page could use it through the visitor's browser: the page's name is made to lead to 127.0.0.1 (DNS rebinding), and the
browser then takes the server for the page's own.
"""

import ipaddress
from collections.abc import Collection

_REFUSED = (
    "This server answers on its own machine only, called localhost or 127.0.0.1. To let in who calls it by another name, for example "
    "through a proxy on this machine, start it with --allowed-host NAME.\n"
)


class KnownHosts:
    """ASGI middleware: 421 for a request whose `Host` is neither this machine nor one of `names`."""

    def __init__(self, app, names: Collection[str] = ()):
        self._app = app
        self._names = {name.lower() for name in names}

    async def __call__(self, scope, receive, send):
        if scope["type"] in ("http", "websocket"):
            told = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if not self.knows(told):
                from starlette.responses import PlainTextResponse

                await PlainTextResponse(_REFUSED, 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def knows(self, host: str) -> bool:
        """Whether `host`, with its port or without, is this machine or a name that is let in."""
        name = host.strip().lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        name = name.removesuffix(".")
        return name in self._names or is_this_machine(name)


def is_this_machine(name: str) -> bool:
    """Whether a host's name or address is the machine itself, by what it says."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
