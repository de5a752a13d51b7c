"""Fetching a picture from a web address that a stranger wrote, without lending them this machine's place in the network.

Only http and https, only addresses of the public internet: the name is looked up once, every address it has is checked, and the
connection goes to the one that was checked, so that a second look-up cannot lead elsewhere. Each redirect is checked the same way.
Size, type and the whole time are bounded; proxies, cookies and credentials of the environment are not used.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import httpx

from .errors import ApiError

MAX_PICTURE_BYTES = 20_000_000
SECONDS = 10.0  # for everything: looking up, redirects, reading
MAX_REDIRECTS = 3
LONGEST_ADDRESS = 8000

# IPv6 addresses that carry an IPv4 address inside: which one is reached is decided by a gateway.
_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")))

Look = Callable[[str, int], Awaitable[list[str]]]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [row[4][0] for row in found]


class PictureFetcher:
    """Fetches pictures. `look_up` and `is_public` are what decides where a name leads."""

    def __init__(
        self,
        look_up: Look = look_up,
        is_public: Callable[[str], bool] = is_public,
        max_bytes: int = MAX_PICTURE_BYTES,
        seconds: float = SECONDS,
    ):
        self._look_up, self._is_public = look_up, is_public
        self._max_bytes, self._seconds = max_bytes, seconds

    async def fetch(self, address: str) -> bytes:
        """The bytes at `address`. Raises `ApiError` that says why not, and nothing about what it found inside this network."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(address)
        except TimeoutError:
            raise _refused(f"it did not arrive within {self._seconds:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError):
            raise _refused("it could not be fetched") from None

    async def _follow(self, address: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            url, ip = await self._check(address)
            # Without TLS there is nothing to verify, and loading all certificates takes a while.
            async with httpx.AsyncClient(trust_env=False, verify=url.scheme == "https", timeout=self._seconds) as client:
                request = client.build_request(
                    "GET",
                    url.copy_with(host=ip),
                    headers={"Host": url.netloc.decode(), "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "minigpt4"},
                    extensions={"sni_hostname": url.host},
                )
                answer = await client.send(request, stream=True)
                try:
                    if answer.is_redirect and "location" in answer.headers:
                        address = str(url.join(answer.headers["location"]))
                        continue
                    return await self._read(answer)
                finally:
                    await answer.aclose()
        raise _refused(f"it leads on more than {MAX_REDIRECTS} times")

    async def _check(self, address: str) -> tuple[httpx.URL, str]:
        """The address as a URL, and the one IP address to connect to."""
        if len(address) > LONGEST_ADDRESS:
            raise _refused("it is too long")
        url = httpx.URL(address)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise _refused("only http and https addresses without a user's name are fetched")
        found = await self._look_up(url.host, url.port or (443 if url.scheme == "https" else 80))
        if not found or not all(map(self._is_public, found)):
            raise _refused("it does not lead to the public internet")
        return url, found[0]

    async def _read(self, answer: httpx.Response) -> bytes:
        if answer.status_code != 200:
            raise _refused(f"its server answered {answer.status_code}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith("image/"):
            raise _refused("it is no picture" + (f" but {kind}" if kind.isascii() and 0 < len(kind) < 60 else ""))
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise _refused("it is compressed, which was not asked for")
        data = bytearray()
        async for piece in answer.aiter_raw():
            data += piece
            if len(data) > self._max_bytes:
                raise _refused(f"it is larger than {self._max_bytes // 1_000_000} MB")
        return bytes(data)


def _refused(why: str) -> ApiError:
    return ApiError(400, f"The picture at the given address was not taken: {why}.", param="messages", code="invalid_image_url")
