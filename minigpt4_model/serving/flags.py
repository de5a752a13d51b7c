"""The flags of a server and of its API, the same for the page's server and for the API alone."""

import argparse
from pathlib import Path


def add_address_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup, host: str, port: int | str) -> None:
    """Where a server listens; `host` and `port` are the defaults."""
    parser.add_argument(
        "--host", metavar="H", default=host, help="address to listen on; 0.0.0.0 lets the local network in (default: %(default)s)"
    )
    parser.add_argument("--port", metavar="N", type=int, default=port, help="port to listen on; 0 takes a free one (default: %(default)s)")


def add_api_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="keys of the API, one a line: without one of them nobody uses it")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help="the same here, where others on this machine can see it, or in MINIGPT4_API_KEY",
    )
    parser.add_argument(
        "--allow-image-urls",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="API clients may name pictures by http(s) addresses, which this machine then fetches; public addresses only",
    )
    parser.add_argument(
        "--mcp",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="offer the model as a tool to other models at /v1/mcp (needs the optional extra mcp)",
    )


def api_options(args: argparse.Namespace):
    """The `ApiOptions` that the flags of `add_api_flags` and `add_operator_flags` ask for. Raises `ValueError` that names the flag."""
    from .access import load_keys
    from .api import ApiOptions
    from .mcp_door import check_mcp
    from .operator_flags import limits_of
    from .remote_pictures import PictureFetcher

    if args.mcp:
        check_mcp()
    return ApiOptions(
        keys=tuple(load_keys(args.api_key, args.api_key_file)),
        fetcher=PictureFetcher() if args.allow_image_urls else None,
        max_requests=limits_of(args).max_waiting,
        mcp=args.mcp,
    )
