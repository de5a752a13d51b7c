"""The page on a FastAPI application; `serving.running` serves it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import fastapi
import gradio as gr

from .look import SCRIPT, STYLE, build_theme
from .texts import build_i18n

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
    page: gr.Blocks,
    styles: Sequence[Path] = (STYLE,),
    routes: Callable[[fastapi.FastAPI], None] = lambda server: None,
    scripts: Sequence[Path] = (SCRIPT,),
) -> fastapi.FastAPI:
    """An application with the page at `/` and `/healthz`; `routes` adds further ones, before the page takes every path.

    `styles` and `scripts` are files that the page begins with.
    """
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
        head="".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in scripts),
        i18n=build_i18n(),
        footer_links=[],
        max_file_size=MAX_FILE_SIZE,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
    )
