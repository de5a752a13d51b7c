"""The page on a FastAPI application, and serving that: on loopback and without a tunnel unless asked otherwise."""

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import fastapi
import gradio as gr
import uvicorn

from .look import STYLE, build_theme

logger = logging.getLogger(__name__)

MAX_FILE_SIZE = "20mb"

# Gradio's page needs inline styles and scripts, and its HTML component evaluates its template. No other host is ever asked.
SECURITY_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "style-src 'self' 'unsafe-inline'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "frame-ancestors 'self' https://huggingface.co",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class SecurityHeaders:
    """ASGI middleware that adds `SECURITY_HEADERS` to every response; streams pass through untouched."""

    def __init__(self, app):
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def __call__(self, scope, receive, send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def build_server(
    page: gr.Blocks, styles: Sequence[Path] = (STYLE,), routes: Callable[[fastapi.FastAPI], None] = lambda server: None
) -> fastapi.FastAPI:
    """An application with the page at `/` and `/healthz`; `routes` adds further ones, before the page takes every path."""
    server = fastapi.FastAPI(title="MiniGPT-4", docs_url=None, redoc_url=None, openapi_url=None)
    server.add_middleware(SecurityHeaders)

    @server.get("/healthz")
    def healthz() -> dict:
        return {"status": "ok"}

    routes(server)
    return gr.mount_gradio_app(
        server,
        page,
        path="/",
        theme=build_theme(),
        css_paths=list(styles),
        footer_links=[],
        max_file_size=MAX_FILE_SIZE,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
    )


def serve(server: fastapi.FastAPI, listener: socket.socket, share: bool = False) -> None:
    """Serve until interrupted. The last line printed is the page's address."""
    host, port = listener.getsockname()[:2]
    # Answers in progress hold their connections: they are cut when the server is interrupted.
    config = uvicorn.Config(server, log_level="warning", timeout_graceful_shutdown=1)
    announcing = _AnnouncingServer(config, host, port, share)
    # Being cut short at the end is no fault of theirs, and not worth a page of traceback.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not announcing.should_exit)
    announcing.run(sockets=[listener])


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, host: str, port: int, share: bool):
        super().__init__(config)
        self._host, self._port, self._share = host, port, share

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets=sockets)
        if self._share:
            threading.Thread(target=_open_tunnel, args=(self._port,), daemon=True).start()
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, f"[{self._host}]" if ":" in self._host else self._host)
        print(f"Open http://{reachable}:{self._port}", flush=True)


def _open_tunnel(port: int) -> None:
    from gradio.networking import setup_tunnel

    try:
        address = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except Exception as fault:
        logger.error("--share: no public address could be opened (%s). The page is served locally.", fault)
    else:
        print(f"Anybody with this address can use the page: {address}", flush=True)
