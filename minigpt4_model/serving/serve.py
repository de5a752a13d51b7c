"""The verb `serve`: the OpenAI-compatible API alone, without the page and without importing Gradio.

Exit code 0 when interrupted; 1 when the server cannot start, with a sentence that names the flag; 2 for wrong flags.
"""

import argparse
import os
import signal
import sys

from ..chat.backends import open_backend
from ..chat.backends.base import BackendError
from ..chat.backends.flags import add_backend_flags, backend_options, check_backend_flags, model_named
from .flags import add_address_flags, add_api_flags, api_options
from .operator_flags import add_operator_flags, build_front, flags_from_environment


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minigpt4_model serve",
        description="Serve the model as an OpenAI-compatible API, without the page (app.py serves both).",
        epilog="docs/api.md has examples for Python, curl and Open WebUI.",
        allow_abbrev=False,
    )
    add_backend_flags(parser.add_argument_group("what answers"))
    add_address_flags(parser.add_argument_group("where the API is"), "127.0.0.1", 8000)
    add_api_flags(parser.add_argument_group("who may use it"))
    add_operator_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args([*flags_from_environment(parser, os.environ), *(sys.argv[1:] if argv is None else argv)])
    check_backend_flags(parser, args)
    try:
        return _serve(args)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _serve(args: argparse.Namespace) -> int:
    from .address import listen

    try:
        options = api_options(args)
        front_of = build_front(args)
        listener = listen(args.host, args.port)
        if args.backend == "torch":
            print(f"Loading {model_named(args)} …", flush=True)
        backend = open_backend(args.backend, **backend_options(args))
    except (BackendError, ValueError, OSError) as fault:
        print(fault, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what follows cleans up
    try:
        front = front_of(backend)
        front.api_has_keys = bool(options.keys)
        _run(front.watched(backend), listener, options, front)
    except KeyboardInterrupt:
        print("Closed.")
    finally:
        backend.close()
    return 0


def _run(backend, listener, options, front) -> None:
    import fastapi

    from .api import add_api
    from .running import serve

    server = fastapi.FastAPI(title="MiniGPT-4", docs_url=None, redoc_url=None, openapi_url=None)
    front.add_routes(server)
    add_api(server, backend, options)
    front.add_middleware(server)
    serve(server, listener)
