"""What the flags of several sub-verbs share: which project, which endpoint, and checks of what is typed."""

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from .endpoint import Endpoint, EndpointSettings
from .errors import CurationError
from .project import DEFAULT_PROJECT, Project

_KEY_VARIABLE = "OPENAI_API_KEY"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def add_project_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project", type=Path, default=DEFAULT_PROJECT, metavar="DIR", help="the folder of the project (default: %(default)s)"
    )


def check_counts(parser: argparse.ArgumentParser, args: argparse.Namespace, *names: str) -> None:
    """Ends the program with 2 when a flag of these names was given and is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {value}.")


def open_described(folder: Path) -> Project:
    """The project in this folder. Raises `CurationError` when it has no texts yet."""
    project = Project(folder)
    if not project.value("SELECT COUNT(*) FROM current"):
        raise CurationError(f"{folder} has no texts yet: run curate describe first.")
    return project


def add_endpoint_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model behind an OpenAI-compatible endpoint")
    group.add_argument("--base-url", metavar="URL", help="its address, such as http://localhost:8000/v1")
    group.add_argument("--served-model", metavar="NAME", help="the model's name there (default: the only one it has)")
    group.add_argument(
        "--api-key-env", default=_KEY_VARIABLE, metavar="VAR", help="the environment variable that holds the key (default: %(default)s)"
    )
    group.add_argument("--requests-per-minute", type=float, metavar="N", help="send no more than this (default: as fast as it answers)")
    group.add_argument("--attempts", type=int, default=6, metavar="N", help="tries for each request (default: %(default)s)")
    group.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds to wait for an answer (default: %(default)s)")


def check_endpoint_flags(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program with 2 when a flag of `add_endpoint_flags` cannot be meant."""
    check_counts(parser, args, "attempts")
    for name in ("timeout", "requests_per_minute"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            parser.error(f"--{name.replace('_', '-')} must be above 0, not {value:g}.")
    if args.base_url and urlsplit(args.base_url).scheme not in ("http", "https"):
        parser.error(f"--base-url {args.base_url} must begin with http:// or https://.")


def open_endpoint(args: argparse.Namespace) -> Endpoint:
    """The endpoint of the flags. Raises `endpoint.EndpointDown`."""
    key = os.environ.get(args.api_key_env, "")
    address = urlsplit(args.base_url)
    if key and address.scheme == "http" and address.hostname not in _THIS_MACHINE:
        print(f"note: the key in {args.api_key_env} is sent over the network in the clear; https:// would hide it.", file=sys.stderr)
    settings = EndpointSettings(
        args.base_url,
        args.served_model,
        key,
        attempts=args.attempts,
        timeout_s=args.timeout,
        requests_per_minute=args.requests_per_minute,
    )
    return Endpoint(settings)
