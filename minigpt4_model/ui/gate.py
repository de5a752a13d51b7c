"""What a browser may ask of Gradio: the doors that the page needs, files that are the visitor's own, and no more than the limits.

An ASGI middleware in front of the whole server; what is not Gradio's passes. Needs `serving.visitors` in front of it.
"""

import json
import re
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from ..serving.health import Check
from ..serving.limits import RateLimit
from ..serving.visitors import Visitor
from .panel import ANSWER, LOOK
from .private_files import PrivatePage, named_files
from .texts import language_of
from .told import tell

# What the page asks for. Gradio offers more: a proxy to other hosts, its own monitoring, an editor of the running program, …
_DOORS = {
    "GET": re.compile(
        r"/|/(config|theme\.css|robots\.txt|favicon\.ico|manifest\.json|pwa_icon|logout)/?|/(assets|static|svelte)/.+"
        r"|/gradio_api/(queue/data|upload_progress|startup-events|app_id|user|login_check|token|info|theme\.css)/?"
        r"|/gradio_api/(heartbeat/[\w-]+|file=.+|call/(v2/)?\w+/\w+)"
    ),
    "POST": re.compile(r"/login/?|/gradio_api/(queue/join|upload|cancel|reset|(call(/v2)?|run|api)/\w+)/?"),
}
_DOORS["HEAD"] = _DOORS["GET"]
_FILE = "/gradio_api/file="
_UPLOAD = "/gradio_api/upload"
_ASKING = ("/gradio_api/queue/join", "/gradio_api/call/", "/gradio_api/run/", "/gradio_api/api/")
# A whole history of a browser fits; a question is a few hundred bytes.
MAX_BODY_BYTES = 16_000_000
# Pictures in one upload, and the bytes between them.
MAX_FILES = 10
# Requests of one address a minute: uploads and looks back at answers for each question that it may ask, and attempts to log in.
UPLOADS_PER_QUESTION = 5
LOOKS_PER_QUESTION = 2
LOGINS_PER_MINUTE = 10

NOT_YOURS = "That picture is not, or no longer, among yours on this server. Remove it and attach it again."


class Refusal(Exception):
    """The request goes no further; the text is for the visitor, who may come again after `retry_after` seconds."""

    def __init__(self, status: int, reason: str, retry_after: float = 0):
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Gate:
    """ASGI middleware for the page `page`. `passes(scope)` tells which requests are for somebody else and go through.

    `questions` counts the page's questions by address, together with whoever else counts with it. While one of `checks` finds a fault
    nothing is uploaded.
    """

    def __init__(
        self,
        app,
        page: PrivatePage,
        questions: RateLimit,
        max_file_bytes: int,
        passes: Callable[[dict], bool],
        checks: Sequence[Check] = (),
    ):
        self._app = app
        self._page = page
        self._passes = passes
        self._questions = questions
        self._checks = checks
        self._uploads = RateLimit(questions.per_minute * UPLOADS_PER_QUESTION)
        self._looks = RateLimit(questions.per_minute * LOOKS_PER_QUESTION)
        self._logins = RateLimit(LOGINS_PER_MINUTE)
        self._max_upload_bytes = MAX_FILES * (max_file_bytes + 10_000)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._passes(scope):
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        try:
            await self._admit(path, scope, receive, send)
        except Refusal as refusal:
            headers = {"Retry-After": str(int(refusal.retry_after) + 1)} if refusal.retry_after else {}
            told = tell(language_of(Request(scope)), str(refusal))
            # Gradio's page shows the detail of the one, and the text of the other.
            response = (
                PlainTextResponse(told, refusal.status, headers)
                if path.rstrip("/") == _UPLOAD
                else JSONResponse({"detail": told}, refusal.status, headers)
            )
            await response(scope, receive, send)

    async def _admit(self, path: str, scope, receive, send) -> None:
        visitor: Visitor = scope["state"]["visitor"]
        door = _DOORS.get(scope["method"])
        if door is None or not door.fullmatch(path):
            raise Refusal(404, "Not Found")
        if path.startswith(_FILE):
            await self._serve_file(path.removeprefix(_FILE), visitor, scope, receive, send)
        elif path.rstrip("/") == _UPLOAD:
            _take(self._uploads, visitor, "uploads")
            await self._take_upload(visitor, scope, receive, send)
        elif path.rstrip("/") == "/login":
            _take(self._logins, visitor, "attempts to log in")
            await self._app(scope, receive, send)
        elif scope["method"] == "POST":
            _check_length(scope, MAX_BODY_BYTES, "The request is too long.")
            body = await _whole_body(receive)
            self._check_body(path, body, visitor)
            await self._app(scope, _replay(body, receive), send)
        else:
            await self._app(scope, receive, send)

    async def _serve_file(self, path: str, visitor: Visitor, scope, receive, send) -> None:
        if not self._page.grants.allows(path, visitor.key):
            raise Refusal(404, "Not Found")

        async def send_private(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"cache-control", b"private, max-age=3600")]}
            await send(message)

        await self._app(scope, receive, send_private)

    async def _take_upload(self, visitor: Visitor, scope, receive, send) -> None:
        """Let the upload in and note whose its files are."""
        too_large = f"These pictures are larger than {MAX_FILES} may be together, and more are not taken at once."
        _check_length(scope, self._max_upload_bytes, too_large)
        if fault := next(filter(None, (check() for check in self._checks)), ""):
            raise Refusal(507, fault)
        answer = b""

        async def send_noted(message):
            nonlocal answer
            if message["type"] == "http.response.body":
                answer += message.get("body", b"")
                if not message.get("more_body"):
                    for path in _uploaded(answer):
                        self._page.grants.grant(path, visitor.key)
            await send(message)

        # The answer has to be read here, so it must not be compressed.
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app({**scope, "headers": headers}, receive, send_noted)

    def _check_body(self, path: str, body: bytes, visitor: Visitor) -> None:
        try:
            sent = json.loads(body) if body else {}
        except ValueError:
            raise Refusal(400, "The request is no JSON.") from None
        for file in named_files(sent):
            if not self._page.grants.allows(file, visitor.key):
                raise Refusal(403, NOT_YOURS)
        work = self._work(path, sent) if path.startswith(_ASKING) else ""
        if work == ANSWER:
            _take(self._questions, visitor, "questions")
        elif work == LOOK:
            _take(self._looks, visitor, "looks back at answers")

    def _work(self, path: str, sent) -> str:
        """What the model will have to do: ANSWER, LOOK or something else. Public endpoints are counted all: each of them asks it."""
        if not path.startswith("/gradio_api/queue/join"):
            return ANSWER
        number = sent.get("fn_index") if isinstance(sent, dict) else None
        action = self._page.fns.get(number) if isinstance(number, int) else None
        return action.concurrency_id if action is not None else ""


def _take(limit: RateLimit, visitor: Visitor, what: str) -> None:
    wait = limit.take(visitor.address)
    if wait:
        raise Refusal(429, limit.refusal(wait, what), wait)


def _check_length(scope, most: int, reason: str) -> None:
    """Refuse a body by the length that its sender states; the server reads no further than that."""
    stated = dict(scope["headers"]).get(b"content-length", b"")
    if not stated.isdigit():
        raise Refusal(411, "The request has to state its length.")
    if int(stated) > most:
        raise Refusal(413, reason)


async def _whole_body(receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive):
    """A `receive` that gives the body that was read already, and then what comes: that the visitor has left."""
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again():
        return unread.pop() if unread else await receive()

    return receive_again


def _uploaded(answer: bytes) -> list[str]:
    """The paths in Gradio's answer to an upload; an answer that says what was wrong has none."""
    try:
        paths = json.loads(answer)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
