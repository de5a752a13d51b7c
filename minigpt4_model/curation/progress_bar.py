"""A bar on standard error when a person is looking, and nothing when not."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def bar(things: Iterable | None, what: str, total: int | None = None) -> tqdm:
    """Wraps `things`, of which there are `total`; without any it is moved by `update`."""
    return tqdm(things, what, total, file=sys.stderr, disable=not sys.stderr.isatty())
