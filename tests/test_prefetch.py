"""Drawing ahead in a thread: the same items, no thread left behind, and errors where they belong."""

import threading
import time

import pytest

from minigpt4_model.training.prefetch import drawn_ahead


def counting(drawn: list[int], closed: list[bool], stop: int = 100):
    try:
        for number in range(stop):
            drawn.append(number)
            yield number
    finally:
        closed.append(True)


def wait_until(holds) -> bool:
    for _ in range(200):
        if holds():
            return True
        time.sleep(0.01)
    return False


def test_the_same_items_in_the_same_order():
    drawn, closed = [], []
    assert list(drawn_ahead(counting(drawn, closed, 7))) == list(range(7)) == drawn and closed == [True]


def test_only_so_many_are_drawn_ahead():
    drawn, closed = [], []
    items = drawn_ahead(counting(drawn, closed), depth=2)
    assert next(items) == 0
    # Two are ready, one waits for its place.
    assert wait_until(lambda: len(drawn) == 4)
    time.sleep(0.05)
    assert len(drawn) == 4
    items.close()
    assert closed == [True] and not [thread for thread in threading.enumerate() if thread.name == "draws batches ahead"]


def test_an_error_comes_where_its_item_would_have_been():
    def failing():
        yield 1
        yield 2
        raise ValueError("no third")

    items = drawn_ahead(failing())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(items)
