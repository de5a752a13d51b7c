"""The page on a FastAPI application; `serving.running` serves it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import fastapi
import gradio as gr
from starlette.routing import Match

from ..serving.front import Front
from .gate import Gate
from .look import SCRIPTS, STYLE, build_theme
from .private_files import PrivatePage
from .texts import build_i18n


def build_server(
    page: PrivatePage,
    styles: Sequence[Path] = (STYLE,),
    routes: Callable[[fastapi.FastAPI], None] = lambda server: None,
    scripts: Sequence[Path] = SCRIPTS,
    front: Front | None = None,
) -> fastapi.FastAPI:
    """An application with the page at `/` behind `front`; `routes` adds further ones, before the page takes every path.

    `styles` and `scripts` are files that the page begins with.
    """
    front = front or Front()
    max_file_bytes = front.limits.max_file_mb * 1_000_000
    server = fastapi.FastAPI(title="MiniGPT-4", docs_url=None, redoc_url=None, openapi_url=None)
    front.add_routes(server)
    routes(server)
    own_routes = list(server.routes)

    def is_own(scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in own_routes)

    server.add_middleware(Gate, page=page, questions=front.questions, max_file_bytes=max_file_bytes, passes=is_own, checks=front.checks)
    front.add_middleware(server)
    gr.mount_gradio_app(
        server,
        page,
        path="/",
        auth=front.accounts.check if front.accounts else None,
        theme=build_theme(),
        css_paths=list(styles),
        head="".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in scripts),
        i18n=build_i18n(),
        footer_links=[],
        max_file_size=max_file_bytes,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
    )
    page.publish_own_files()
    return server
