"""`curate annotate`: the page on which people keep, edit or drop each text, on this machine unless asked otherwise.

There are names and no passwords: whoever reaches the address can judge. What is decided is in the project's database before the page
moves on, so that it can be ended and started at any moment.
"""

import argparse
import os
import re
import signal
import sys
import tempfile

from .flags import add_project_flag, open_described
from .project import Project

_PICTURE = re.compile(r"[0-9a-f]{64}\.jpg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address to listen on; 0.0.0.0 lets the local network in (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=7861, metavar="N", help="port to listen on; 0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.1,
        metavar="X",
        help="share of items shown to two people, to see how far they agree (default: %(default)s)",
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not 0 <= args.overlap <= 1:
        parser.error(f"--overlap must be between 0 and 1, not {args.overlap:g}.")


def run(args: argparse.Namespace) -> int:
    from ..serving.address import listen

    project = open_described(args.project)
    listener = listen(args.host, args.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder for temporary files goes
    with tempfile.TemporaryDirectory(prefix="minigpt4-", ignore_cleanup_errors=True) as folder:
        # Before Gradio is imported: it reads both when it is.
        os.environ.setdefault("GRADIO_TEMP_DIR", folder)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from ..serving.running import serve

        server = build_annotation_server(project, args.overlap)
        try:
            serve(server, listener)
        except KeyboardInterrupt:
            print("Closed.")
    return 0


def build_annotation_server(project: Project, overlap: float):
    """The FastAPI application with the page and the project's pictures. GRADIO_TEMP_DIR has to be set before."""
    from ..ui.server import build_server
    from .annotation_actions import Actions
    from .annotation_page import STYLE, build_page

    page = build_page(Actions(project, overlap), f"Check descriptions: {project.folder.resolve().name}")
    return build_server(page, styles=[STYLE], scripts=[], routes=lambda server: _add_pictures(server, project))


def _add_pictures(server, project: Project) -> None:
    """The project's pictures at /pictures/DIGEST.jpg. A picture of a name never changes."""
    import fastapi
    from fastapi.responses import FileResponse

    @server.get("/pictures/{name}")
    def picture(name: str) -> FileResponse:
        file = project.picture_file(name.removesuffix(".jpg"))
        if not _PICTURE.fullmatch(name) or not file.is_file():
            raise fastapi.HTTPException(404)
        return FileResponse(file, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"})
