"""What stands before the API at /v1 beside its own keys: the rate that it shares with the page, and the page's accounts.

An ASGI middleware that needs `visitors` in front of it. Refuses in the shape that the API's clients know. Knows nothing of requests.
"""

import base64
import binascii

from starlette.responses import JSONResponse

from .accounts import Accounts
from .limits import RateLimit

PATH = "/v1"


class ApiDoor:
    """With `accounts`, and where the API has no keys of its own, a name and a password are asked for (HTTP Basic)."""

    def __init__(self, app, questions: RateLimit, accounts: Accounts | None):
        self._app = app
        self._questions = questions
        self._accounts = accounts

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not (path == PATH or path.startswith(f"{PATH}/")):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope) -> JSONResponse | None:
        if self._accounts and not _is_known(self._accounts, dict(scope["headers"]).get(b"authorization", b"")):
            told = "This server asks for a name and a password: send them as HTTP Basic, or ask its operator for an API key."
            return _error(401, told, "invalid_api_key", {"WWW-Authenticate": 'Basic realm="MiniGPT-4"'})
        wait = self._questions.take(scope["state"]["visitor"].address) if scope["method"] == "POST" else 0
        if wait:
            return _error(429, self._questions.refusal(wait), "rate_limit_exceeded", {"Retry-After": str(int(wait) + 1)})
        return None


def _is_known(accounts: Accounts, authorization: bytes) -> bool:
    scheme, _, given = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        name, _, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return accounts.check(name, password)


def _error(status: int, message: str, code: str, headers: dict[str, str]) -> JSONResponse:
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)
