"""Who asks: every browser gets an unguessable cookie that no script can read. Knows no names and keeps no list.

A browser that refuses cookies (a Space shown inside another site, in some browsers) is known by its address and its name for itself
instead, which is weaker: two such browsers of one kind behind one address are one visitor.
"""

import hashlib
import ipaddress
import os
import re
import secrets
from dataclasses import dataclass

from starlette.requests import cookie_parser

COOKIE = "minigpt4-visitor"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Visitor:
    """`key` says whose files are whose; `address` is what limits count by, for a cookie can be thrown away."""

    key: str
    address: str


class Visitors:
    """ASGI middleware: `scope["state"]["visitor"]` is the `Visitor` of each request; a page brings the cookie if there is none."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        token = _token(headers.get(b"cookie", b"").decode("latin-1"))
        address = address_of(scope)
        secret = token or f"{address} {headers.get(b'user-agent', b'')!r}"
        # The token itself is not kept: who reads the server's memory cannot be somebody else with it.
        key = hashlib.sha256(secret.encode()).hexdigest()
        scope.setdefault("state", {})["visitor"] = Visitor(key, address)

        async def send_with_cookie(message):
            if message["type"] == "http.response.start" and _is_page(message):
                cookie = (b"set-cookie", _new_cookie(scope).encode())
                message = {**message, "headers": [*message.get("headers", ()), cookie]}
            await send(message)

        await self._app(scope, receive, send if token else send_with_cookie)


def address_of(scope) -> str:
    """Where the request comes from. Of an IPv6 address the network, since one visitor has 2**64 of them."""
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6:
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _token(cookies: str) -> str:
    """The visitor's token in a Cookie header, or "" if there is none of its form."""
    token = cookie_parser(cookies).get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else ""


def _is_page(message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in message.get("headers", ()))


def _new_cookie(scope) -> str:
    cookie = f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; HttpOnly"
    if os.environ.get("SPACE_ID"):  # shown in a frame of huggingface.co: another site's cookie, kept apart for that site
        return f"{cookie}; Secure; SameSite=None; Partitioned"
    return f"{cookie}; SameSite=Lax" + ("; Secure" if scope.get("scheme") == "https" else "")
