"""The model as a tool for other models: one MCP tool at /v1/mcp, over the streamable HTTP transport. Needs the optional extra `mcp`.

Each request stands alone, so nothing is kept between them. API keys, limits and sizes are those of the API it is a part of.
"""

import anyio
import fastapi
from starlette.routing import Route

from ..chat.backends.base import Backend, BackendError
from ..chat.pictures import PictureError
from .chat_request import FetchPicture, read_picture
from .errors import ApiError
from .gate import RequestGate

PATH = "/mcp"
MISSING = "--mcp needs the optional extra mcp: .venv/bin/pip install -e '.[mcp]'"


def check_mcp() -> None:
    """Raises `ValueError` that says how to install the extra where it is missing."""
    try:
        import mcp.server.fastmcp  # noqa: F401
    except ImportError as missing:
        raise ValueError(MISSING) from missing


def add_mcp(api: fastapi.FastAPI, backend: Backend, gate: RequestGate, threads: anyio.CapacityLimiter, fetch: FetchPicture | None) -> None:
    """Add the tool `ask_about_picture` to `api`; it answers with `backend` within `gate`."""
    from mcp.server.fastmcp import FastMCP
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    tools = FastMCP("MiniGPT-4")

    @tools.tool()
    async def ask_about_picture(question: str, picture: str) -> str:
        """Ask a question about a picture and get the answer as text.

        Args:
            question: what to ask, such as "What is this?"
            picture: the picture as a data URL, data:image/png;base64,... (or a web address, where the server allows it)
        """
        try:
            with gate.place():
                loaded = await read_picture(picture, "picture", fetch)
                parts = [{"type": "image", "image": loaded}, {"type": "text", "text": question}]
                stream = await anyio.to_thread.run_sync(backend.stream, [{"role": "user", "content": parts}], limiter=threads)
                try:
                    return (await anyio.to_thread.run_sync(stream.join, limiter=threads, abandon_on_cancel=True)).text
                finally:
                    stream.cancel()
        except ApiError as refused:
            raise ToolError(refused.detail) from refused
        except (BackendError, PictureError, ValueError) as fault:
            raise ToolError(str(fault)) from fault

    class Door:
        """An ASGI application; a class, so that the route hands it everything."""

        async def __call__(self, scope, receive, send):
            sessions = StreamableHTTPSessionManager(tools._mcp_server, json_response=True, stateless=True)
            async with sessions.run():
                await sessions.handle_request(scope, receive, send)

    api.router.routes.append(Route(PATH, endpoint=Door()))
