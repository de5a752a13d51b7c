"""The OpenAI-compatible API over any backend, as an application of its own to be mounted at /v1. Knows nothing of torch or of the page.

`/v1/models`, `/v1/chat/completions`, and its own description at `/v1/openapi.json`.
"""

import dataclasses
import re
import time
from dataclasses import dataclass

import anyio
import fastapi
from fastapi.security import HTTPBearer
from starlette.routing import Mount

from .. import __version__
from ..chat.backends.base import Backend
from .access import MAX_BODY_BYTES, AccessGuard, ApiKeys
from .chat_request import check_request, read_request
from .chat_response import ChatResponse
from .completions import CompletionWriter
from .errors import ApiError, ErrorBody, add_error_shapes
from .gate import RequestGate
from .remote_pictures import PictureFetcher
from .schema import ChatCompletion, ChatCompletionChunk, ChatRequest, Model, ModelList

PREFIX = "/v1"
MAX_REQUESTS = 64


@dataclass(frozen=True)
class ApiOptions:
    """What the operator decides. No `keys` let everybody in; without a `fetcher` pictures come as data URLs only.

    `max_requests` are answered or wait at a time; one more is told to come again. With `mcp` there is a tool for models at /v1/mcp.
    """

    keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    fetcher: PictureFetcher | None = None
    max_requests: int = MAX_REQUESTS
    mcp: bool = False
    max_body_bytes: int = MAX_BODY_BYTES


def add_api(server: fastapi.FastAPI, backend: Backend, options: ApiOptions | None = None) -> None:
    """Mount the API of `backend` at /v1 of `server`."""
    mount = Mount(PREFIX, app=build_api(backend, options or ApiOptions()))
    # Else a path with a line break in it would be nobody's, and told of in another shape.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    server.router.routes.append(mount)


def build_api(backend: Backend, options: ApiOptions) -> fastapi.FastAPI:
    """The API as an application whose paths are those behind /v1."""
    keys = ApiKeys(options.keys)
    errors = {status: {"model": ErrorBody, "description": told} for status, told in _ERRORS.items() if keys or status != 401}
    api = fastapi.FastAPI(
        title="MiniGPT-4",
        version=__version__,
        description="Chat about pictures, as OpenAI's chat completions.",
        docs_url=None,
        redoc_url=None,
        servers=[{"url": PREFIX}],
        root_path_in_servers=False,
        redirect_slashes=False,
        dependencies=[fastapi.Depends(HTTPBearer(auto_error=False, description="An API key of this server"))] if keys else [],
        responses=errors,
    )
    add_error_shapes(api)
    api.add_middleware(AccessGuard, keys=keys, max_body_bytes=options.max_body_bytes, open_paths=("/openapi.json",))
    gate = RequestGate(options.max_requests)
    threads = anyio.CapacityLimiter(options.max_requests)
    about = backend.description
    model = Model(
        id=about.name,
        created=int(time.time()),
        owned_by="minigpt4",
        title=about.title,
        good_for=about.good_for,
        max_model_len=about.context_length,
        image_tokens=about.image_tokens,
        settings=dataclasses.asdict(about.settings),
    )

    def check_model(name: str) -> None:
        if name != about.name:
            raise ApiError(404, f"The model `{name[:100]}` does not exist. There is {about.name}.", param="model", code="model_not_found")

    @api.get("/models")
    def models() -> ModelList:
        return ModelList(data=[model])

    @api.get("/models/{model_id:path}", responses={404: {"model": ErrorBody, "description": "There is no such model."}})
    def one_model(model_id: str) -> Model:
        check_model(model_id)
        return model

    @api.post("/chat/completions", response_model=ChatCompletion, responses={200: _EVENT_STREAM, **_CHAT_ERRORS})
    async def chat_completions(chat: ChatRequest):
        check_model(chat.model)
        check_request(chat)
        usage = bool(chat.stream_options and chat.stream_options.include_usage)
        return ChatResponse(
            backend,
            gate,
            threads,
            read=lambda: read_request(chat, about.settings, options.fetcher and options.fetcher.fetch),
            writer=CompletionWriter(about.name, bool(chat.logprobs), bool(chat.return_token_ids), usage),
            stream=bool(chat.stream),
        )

    if options.mcp:
        from .mcp_door import add_mcp

        add_mcp(api, backend, gate, threads, options.fetcher and options.fetcher.fetch)
    return api


_ERRORS = {400: "The request cannot be answered as it is.", 401: "The API key is missing or wrong.", 500: "A fault of the server."}
_CHAT_ERRORS = {
    status: {"model": ErrorBody, "description": told}
    for status, told in {
        404: "There is no such model.",
        413: "The body is too large.",
        429: "Too many requests at a time; Retry-After says when to come back.",
        503: "The model cannot answer just now.",
    }.items()
}
_EVENT_STREAM = {
    "description": "The answer; with stream, chunks as server-sent events, then [DONE].",
    "content": {"text/event-stream": {"schema": {"type": "string", "description": f"data: {ChatCompletionChunk.__name__}, as JSON"}}},
}
