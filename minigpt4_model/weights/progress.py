"""How long work tells a person where it stands: one callable, `progress(message, fraction)`.

`fraction` is None when a step starts or its length is unknown, else 0..1. Text goes to stderr, so that `--json` output stays clean.
"""

import sys
from collections.abc import Callable

Progress = Callable[[str, float | None], None]


def silent(message: str, fraction: float | None = None) -> None:
    """For tests and callers that show nothing."""


def console(message: str, fraction: float | None = None) -> None:
    """One plain line per step; on a terminal the line of a measured step is redrawn with its percentage."""
    if fraction is None:
        print(message, file=sys.stderr, flush=True)
    elif sys.stderr.isatty():
        print(f"\r{message} {fraction:4.0%}", end="\n" if fraction >= 1 else "", file=sys.stderr, flush=True)
