"""What the bar of a run says beside its steps."""

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def doing(bar: tqdm, what: str) -> Iterator[None]:
    """The bar says `what` as long as the block lasts, then again what it said before; at once, because blocks take minutes."""
    before = getattr(bar, "postfix", None)  # a bar that is not shown, that of all but the main process, has none
    bar.set_postfix_str(what)
    try:
        yield
    finally:
        bar.set_postfix_str(before or "")
