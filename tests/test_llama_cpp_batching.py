"""Continuous batching with a context that only takes notes: who shares a step, in which order, and how an answer leaves."""

import threading

import numpy as np
import pytest
import torch

from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.llama_cpp.batching import PROMPT_POSITIONS, ContinuousBatching, Work
from minigpt4_model.chat.llama_cpp.binding import TOGETHER_FROM, CellsFull
from minigpt4_model.chat.turnstile import Cancelled


class NotingContext:
    """Its logits are `[sequence, position]`. Steps wait for `gate`, so that a test can line up works meanwhile."""

    def __init__(self, cells: int = 10_000):
        self.steps: list[tuple[str, list[int], list[int]]] = []  # (kind, sequences, positions)
        self.forgotten: list[tuple[int, int]] = []
        self.gate, self.began = threading.Semaphore(0), threading.Event()
        self.cells, self.used, self.closed = cells, 0, False

    def decode(self, inputs, positions, sequences, wanted):
        self.began.set()
        assert self.gate.acquire(timeout=30)
        if self.used + len(positions) > self.cells:
            raise CellsFull
        self.used += len(positions)
        self.steps.append(("embeddings" if isinstance(inputs, np.ndarray) else "tokens", list(sequences), list(positions)))
        assert len(inputs) == len(positions) == len(sequences)
        return [torch.tensor([float(sequences[place]), float(positions[place])]) for place in wanted]

    def forget(self, sequence, start=0):
        self.forgotten.append((sequence, start))

    def close(self):
        self.closed = True

    def let(self, steps: int = 10_000) -> None:
        for _ in range(steps):
            self.gate.release()


@pytest.fixture
def context():
    return NotingContext()


@pytest.fixture
def batching(context):
    batching = ContinuousBatching(context)
    yield batching
    context.let()
    batching.close()
    assert context.closed and not batching._thread.is_alive()


def start(batching, work, cancelled=lambda: False):
    """Compute in a thread; `result()` waits for the logits or for what was raised."""
    found = []

    def run():
        try:
            found.append(batching.compute(work, cancelled))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result():
        thread.join(30)
        assert not thread.is_alive()
        return found[0]

    return result


def queued(batching, count):
    """Until so many works are in the queue, the one being computed included."""
    while len(batching._queue) < count:
        threading.Event().wait(0.001)


def line_up(batching, *works):
    """Start works one after the other, each in the queue before the next comes."""
    results = []
    for number, work in enumerate(works):
        results.append(start(batching, work))
        queued(batching, number + 1)
    return results


def test_a_prompt_then_a_token(batching, context):
    context.let()
    assert batching.compute(Work([3], 0, [[[7, 8, 9]]])).tolist() == [[3.0, 2.0]]
    assert batching.compute(Work([3], 3, [[[7]]])).tolist() == [[3.0, 3.0]]
    assert context.steps == [("tokens", [3, 3, 3], [0, 1, 2]), ("tokens", [3], [3])]


def test_parts_are_computed_in_their_order_and_a_long_prompt_in_steps(batching, context):
    context.let()
    picture = np.zeros((32, 4), np.float32)
    work = Work([0], 5, [[list(range(10)), picture, list(range(100))]], crop=True)
    assert batching.compute(work).tolist() == [[0.0, 5 + 141.0]]
    assert [(kind, len(positions)) for kind, _, positions in context.steps] == [
        ("tokens", 10), ("embeddings", 32), ("tokens", PROMPT_POSITIONS), ("tokens", 36),
    ]  # fmt: skip
    assert [position for _, _, positions in context.steps for position in positions] == list(range(5, 147))
    assert context.forgotten == [(0, 5)]  # once, before anything was computed


def test_two_rows_go_side_by_side(batching, context):
    context.let()
    rows = [[[1, 2], np.zeros((3, 4), np.float32), [9]], [[1, 2], np.ones((3, 4), np.float32), [9]]]
    assert batching.compute(Work([4, 5], 0, rows)).tolist() == [[4.0, 5.0], [5.0, 5.0]]
    assert context.steps[0] == ("tokens", [4, 4, 5, 5], [0, 1, 0, 1])


def test_who_comes_meanwhile_joins_the_next_step(batching, context):
    first = start(batching, Work([0], 0, [[[1]]]))
    context.began.wait(30)
    others = line_up(batching, *[Work([number], 2 * number, [[[1]]]) for number in range(TOGETHER_FROM)])
    context.let()
    assert first().tolist() == [[0.0, 0.0]]
    assert [result().tolist() for result in others] == [[[float(number), 2.0 * number]] for number in range(TOGETHER_FROM)]
    assert len(context.steps) == 2 and sorted(context.steps[1][1]) == list(range(TOGETHER_FROM))


def test_a_few_tokens_are_computed_one_after_the_other(batching, context):
    """Where sharing a step gains nothing, nobody waits for another's token."""
    first = start(batching, Work([9], 0, [[[1]]]))
    context.began.wait(30)
    others = line_up(batching, *[Work([number], 0, [[[1]]]) for number in range(TOGETHER_FROM - 1)])
    context.let()
    first(), [result() for result in others]
    assert [step[1] for step in context.steps] == [[9], *([number] for number in range(TOGETHER_FROM - 1))]


def test_what_nobody_waits_for_is_computed_when_it_is_quiet(batching, context):
    context.let()
    spare = Work([5], 20, [[[1, 2, 3]]], spare=True)
    batching.begin(spare)
    assert spare.finished.wait(30) and (spare.done, spare.error) == (3, None)
    assert [step[2] for step in context.steps] == [[20, 21, 22]]
    batching.withdraw(spare)  # it has ended: nothing to wait for
    assert batching.compute(Work([5], 23, [[[1]]])).tolist() == [[5.0, 23.0]]


def test_who_asks_goes_before_what_nobody_waits_for(batching, context):
    blocker = start(batching, Work([0], 0, [[[1]]]))
    context.began.wait(30)
    spare = Work([5], 0, [[[1, 2, 3]]], spare=True)
    batching.begin(spare)
    asked = start(batching, Work([1], 0, [[[1]]]))
    queued(batching, 3)
    context.let(2)
    blocker(), asked()
    batching.withdraw(spare)
    assert spare.done == 0 and [step[1] for step in context.steps] == [[0], [1]]


def test_what_is_withdrawn_ends_with_the_step_under_way(batching, context):
    spare = Work([5], 0, [[list(range(20))]], spare=True)
    batching.begin(spare)
    assert context.began.wait(30)
    withdrawing = threading.Thread(target=batching.withdraw, args=(spare,))
    withdrawing.start()
    while not spare.cancelled():
        threading.Event().wait(0.001)
    context.let()
    withdrawing.join(30)
    assert spare.finished.is_set() and spare.done == 8 and len(context.steps) == 1


def test_what_nobody_waits_for_takes_no_room():
    context = NotingContext(cells=9)
    context.let()
    batching = ContinuousBatching(context, lambda: pytest.fail("nothing may be forgotten for it"))
    try:
        batching.compute(Work([0], 0, [[list(range(8))]]))
        spare = Work([5], 0, [[[1, 2, 3]]], spare=True)
        batching.begin(spare)
        assert spare.finished.wait(30) and (spare.done, spare.error) == (0, None)
    finally:
        batching.close()
    late = Work([5], 0, [[[1, 2, 3]]], spare=True)
    batching.begin(late)
    assert late.finished.is_set() and late.done == 0


def test_tokens_do_not_wait_for_a_long_prompt(batching, context):
    """Each step computes everybody's token and a piece of the prompt; nobody waits for all of it."""
    prompt = Work([9], 0, [[list(range(10 * PROMPT_POSITIONS))]])
    long = start(batching, prompt)
    context.began.wait(30)
    for number in range(4):
        token = start(batching, Work([1], number, [[[5]]]))
        queued(batching, 2)
        context.let(2)  # the step that was under way, and the one that takes the token along
        assert token().tolist() == [[1.0, float(number)]]
    assert prompt.done < prompt.length
    context.let()
    assert long().tolist() == [[9.0, 10.0 * PROMPT_POSITIONS - 1]]


def test_prompts_are_read_first_come_first_served(batching, context):
    blocker = start(batching, Work([0], 0, [[[1]]]))
    context.began.wait(30)
    works = [Work([number], 0, [[list(range(PROMPT_POSITIONS))]]) for number in (1, 2, 3)]
    results = line_up(batching, *[Work([7], 0, [[[1]]]), *works])
    context.let()
    blocker(), [result() for result in results]
    assert [step[1][-1] for step in context.steps[1:]] == [1, 2, 3]


def test_cancelling_leaves_between_two_steps(batching, context):
    gone = threading.Event()
    work = Work([0], 0, [[list(range(5 * PROMPT_POSITIONS))]])
    result = start(batching, work, gone.is_set)
    context.began.wait(30)
    gone.set()
    context.let(1)
    assert isinstance(result(), Cancelled)
    assert work.done == PROMPT_POSITIONS and len(context.steps) == 1
    context.let()
    assert batching.compute(Work([0], work.done, [[[1]]])).tolist() == [[0.0, float(work.done)]]


def test_a_full_context_first_forgets_what_nobody_uses():
    context = NotingContext(cells=10)
    context.let()

    def make_room():
        context.used = 0
        return not forgotten.append(1) and len(forgotten) == 1

    forgotten = []
    batching = ContinuousBatching(context, make_room)
    try:
        batching.compute(Work([0], 0, [[list(range(8))]]))
        assert batching.compute(Work([1], 0, [[list(range(8))]])).tolist() == [[1.0, 7.0]] and forgotten == [1]
    finally:
        batching.close()


def test_a_full_context_sends_the_youngest_prompt_away():
    context = NotingContext(cells=20)
    batching = ContinuousBatching(context)
    try:
        blocker = start(batching, Work([0], 0, [[[1]]]))
        context.began.wait(30)
        old, young = line_up(batching, *[Work([9], 0, [[[1]]]), Work([1], 0, [[list(range(15))]]), Work([2], 0, [[list(range(15))]])])[1:]
        context.let()
        blocker()
        assert old().tolist() == [[1.0, 14.0]]
        assert isinstance(young(), BackendError) and "Too many long conversations" in str(young())
    finally:
        batching.close()


def test_a_failure_is_told_to_those_in_the_step_and_to_nobody_else(batching, context, monkeypatch):
    context.let()
    with monkeypatch.context() as patch:
        patch.setattr(context, "decode", lambda *args: 1 / 0)
        with pytest.raises(BackendError, match="division by zero"):
            batching.compute(Work([0], 0, [[[1]]]))
    assert batching.compute(Work([0], 0, [[[1]]])).tolist() == [[0.0, 0.0]]


def test_closing_tells_those_who_wait(context):
    batching = ContinuousBatching(context)
    first = start(batching, Work([0], 0, [[[1]]]))
    context.began.wait(30)
    second = start(batching, Work([1], 0, [[[1]]]))
    queued(batching, 2)
    closer = threading.Thread(target=batching.close)
    closer.start()
    while not batching._closed:
        threading.Event().wait(0.001)
    context.let()
    closer.join(30)
    assert first().tolist() == [[0.0, 0.0]]
    assert isinstance(second(), BackendError) and context.closed
    with pytest.raises(BackendError, match="closed"):
        batching.compute(Work([0], 0, [[[1]]]))
    with pytest.raises(BackendError, match="closed"), batching.context():
        pass
