"""The flags of who runs a server for others, the same for the page and for the API alone; and flags that the environment gives.

A Space cannot give flags: there, and wherever it is handier, MINIGPT4_QUESTIONS_PER_MINUTE=10 says what --questions-per-minute 10 does.
"""

import argparse
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from ..chat.backends.base import Backend
from .accounts import load_accounts
from .known_hosts import is_this_machine
from .limits import Limits

logger = logging.getLogger(__name__)

PREFIX = "MINIGPT4_"
# One address asks so much a minute at most, where others can reach the page and the operator did not say.
QUESTIONS_PER_MINUTE = 30
RECORDED = "Who runs this page keeps a record of all questions and answers."


def add_operator_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("for who runs it for others")
    group.add_argument(
        "--auth",
        action="append",
        default=[],
        metavar="A",
        help="who may log in: NAME:PASSWORD, or a file with such lines, which other users of this machine cannot see; may be repeated",
    )
    for limit in fields(Limits):
        shown = f"{limit.default:g}"
        if limit.name == "questions_per_minute":
            shown = f"{QUESTIONS_PER_MINUTE}, or 0 where only this machine can reach it"
        group.add_argument(
            f"--{limit.name.replace('_', '-')}",
            type=type(limit.default),
            metavar="N",
            help=f"{limit.metadata['info']} (default: {shown})",
        )
    group.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="by which other names this server may be called where only this machine can reach it, as through a proxy; may be repeated",
    )
    group.add_argument(
        "--metrics-token", metavar="T", help="who brings this bearer token may read /metrics from elsewhere; this machine always may"
    )
    group.add_argument(
        "--record-conversations",
        metavar="FILE",
        help="append every question and answer to this file, and tell visitors so; without it nothing of them is kept or logged",
    )


def flags_from_environment(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> list[str]:
    """The flags that the environment gives, to be put before those of the command line, which win.

    Flags that are switches take 1 or 0. An empty variable says nothing.
    """
    found = []
    for action in parser._actions:  # argparse offers no other way to list them
        flag = next((option for option in action.option_strings if option.startswith("--")), None)
        value = environment.get(PREFIX + flag.removeprefix("--").replace("-", "_").upper(), "") if flag else ""
        if not value or flag == "--help":
            continue
        if isinstance(action, argparse.BooleanOptionalAction):
            found.append(flag if value.lower() in ("1", "true", "yes", "on") else flag.replace("--", "--no-", 1))
        else:
            found.append(f"{flag}={value}")
    return found


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that the flags say. Raises `ValueError` that names the flag."""
    given = {limit.name: getattr(args, limit.name) for limit in fields(Limits) if getattr(args, limit.name) is not None}
    if "questions_per_minute" not in given:
        given["questions_per_minute"] = 0 if _only_here(args) else QUESTIONS_PER_MINUTE
    return Limits(**given)


def build_front(args: argparse.Namespace):
    """What stands in front of the server that the flags ask for: a function that gives the `Front` of a backend.

    Whatever is wrong with the flags is told before the backend is loaded: raises `ValueError` and `OSError` that name the flag.
    """
    limits = limits_of(args)
    accounts, warnings = load_accounts(args.auth)
    for warning in warnings:
        logger.warning(warning)
    record = Path(args.record_conversations) if args.record_conversations else None
    if record:
        _check_record(record)

    def front_of(backend: Backend):
        from .front import Front
        from .metrics import Metrics
        from .watchers import RecordWatcher

        return Front(
            limits,
            accounts,
            Metrics(backend.description),
            args.metrics_token,
            not getattr(args, "share", False),  # through a tunnel everybody seems to be on this machine
            [RecordWatcher(record)] if record else [],
            RECORDED if record else "",
            allowed_hosts=tuple(args.allowed_host) if _only_here(args) else None,
        )

    return front_of


def _check_record(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("a"):
            pass
    except OSError as fault:
        raise OSError(f"--record-conversations {path}: cannot be written ({fault.strerror}). Name a file that can.") from fault


def _only_here(args: argparse.Namespace) -> bool:
    """Whether only programs of this machine can reach the server, as far as the flags say."""
    return is_this_machine(args.host) and not getattr(args, "share", False)
