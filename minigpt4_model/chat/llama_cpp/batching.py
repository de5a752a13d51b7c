"""Continuous batching: one thread computes for all answers, and each step of it takes along whoever is there.

    batching = ContinuousBatching(context)
    logits = batching.compute(Work(...), cancelled)

An answer hands over a `Work`, a token or a prompt behind what its sequences hold, and waits for the logits behind it. Every step computes
the tokens of all answers that have chosen one, and some positions of the prompts that are waiting, first come first served: a new
question joins between two steps, nobody waits for the end of somebody else's answer, and who stops is gone after one step. Knows nothing
of texts, sampling or slots.

Besides, `begin` hands over a `Work` that nobody waits for, such as the beginning of a turn that has not been asked yet. It is computed
in small steps while there is nothing else to do.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ..backends.base import BackendError
from ..turnstile import Cancelled
from .binding import TOGETHER_FROM, CellsFull, LlamaContext

# Positions of prompts in one step. More would gain little speed and let everybody's next token wait for longer.
PROMPT_POSITIONS = 64
# How long a step waits for those who have just been given logits, in steps and in seconds: they come back with a token at once, unless
# their reader is slow. Without waiting, two answers would fall into step by turns and never share a batch.
_LINGER_STEPS, _LINGER_S = 0.5, 0.01
_QUIET_S = 0.05  # nothing was asked for so long: time for what nobody waits for
_SPARE_POSITIONS = 8  # of that in one step, which whoever asks meanwhile has to wait for


@dataclass(eq=False)
class Work:
    """What to compute for one answer: `rows[r]` goes into `sequences[r]` from position `start` on.

    A row is a list of parts, token ids or embeddings `(n, D)`; all rows have parts of the same kinds and lengths. With `crop` the
    sequences may hold something from `start` on, which is forgotten first. `done` counts the positions computed so far, of each row;
    `logits` are those behind the last. `spare`: nobody waits for it.
    """

    sequences: Sequence[int]
    start: int
    rows: Sequence[Sequence[Sequence[int] | np.ndarray]]
    crop: bool = False
    spare: bool = False
    done: int = 0
    logits: list[torch.Tensor] = field(default_factory=list)
    error: Exception | None = None
    running: bool = False
    cancelled: Callable[[], bool] = lambda: False
    finished: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.length = sum(map(len, self.rows[0]))

    @property
    def is_prompt(self) -> bool:
        return self.length > 1

    def next_part(self, most: int) -> tuple[list, int]:
        """From what is left, at most `most` positions of one kind: a list with each row's, and how many."""
        before = 0
        for index, part in enumerate(self.rows[0]):
            if self.done < before + len(part):
                first = self.done - before
                count = min(most, len(part) - first)
                return [row[index][first : first + count] for row in self.rows], count
            before += len(part)
        return [], 0


class _Batch:
    """Positions of one kind that are computed together; `works` are those with positions in it, and how many each."""

    def __init__(self):
        self.inputs: list = []
        self.positions: list[int] = []
        self.sequences: list[int] = []
        self.works: list[tuple[Work, int]] = []

    def add(self, work: Work, rows: list, count: int) -> None:
        for sequence, row in zip(work.sequences, rows, strict=True):
            self.inputs.append(row)
            self.positions += range(work.start + work.done, work.start + work.done + count)
            self.sequences += [sequence] * count
        self.works.append((work, count))

    def wanted(self) -> list[int]:
        """The places of the works' last positions, where these are in this batch."""
        places, end = [], 0
        for work, count in self.works:
            for _ in work.sequences:
                end += count
                if work.done + count == work.length:
                    places.append(end - 1)
        return places


class ContinuousBatching:
    """The thread that computes on a context; `make_room()` frees cells that nobody is using and says whether there were any."""

    def __init__(self, context: LlamaContext, make_room: Callable[[], bool] = lambda: False):
        self._context = context
        self._make_room = make_room
        self._queue: list[Work] = []
        self._arrived = threading.Condition()
        self._alone = threading.Lock()  # held while the context computes or is changed
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="llama.cpp", daemon=True)
        self._thread.start()

    @contextmanager
    def context(self) -> Iterator[LlamaContext]:
        """The context between two steps. Raises `BackendError` after closing."""
        with self._alone:
            if self._closed:
                raise BackendError("The engine is closed.")
            yield self._context

    def compute(self, work: Work, cancelled: Callable[[], bool] = lambda: False) -> torch.Tensor:
        """The next-token logits `(R, V)` behind `work`. Raises `Cancelled` between two steps of it once `cancelled()`; `work.done` then
        tells how far it got. Raises `BackendError` when there is no room or the engine is closed."""
        work.cancelled = cancelled
        with self._arrived:
            if self._closed:
                raise BackendError("The engine is closed.")
            self._queue.append(work)
            self._arrived.notify()
        try:
            work.finished.wait()
        except BaseException:  # Ctrl-C: what is under way must not go on in sequences that get another owner
            work.cancelled = lambda: True
            work.finished.wait()
            raise
        if work.error is not None:
            raise work.error
        if work.done < work.length or cancelled():
            raise Cancelled
        return torch.stack(work.logits) if len(work.logits) > 1 else work.logits[0][None]

    def begin(self, work: Work) -> None:
        """Compute a `spare` work whenever there is nothing else to do, until it is withdrawn."""
        with self._arrived:
            if not self._closed:
                self._queue.append(work)
                self._arrived.notify()
                return
        work.finished.set()

    def withdraw(self, work: Work) -> None:
        """End a work that was begun, at the latest after the step that is under way. `work.done` then tells how far it got."""
        work.cancelled = lambda: True
        with self._arrived:
            if work in self._queue and not work.running:
                self._queue.remove(work)
                work.finished.set()
        work.finished.wait()

    def close(self) -> None:
        """Stop after the step that is under way; works that are waiting end with a `BackendError`. Frees the context."""
        with self._arrived:
            if self._closed:
                return
            self._closed = True
            self._arrived.notify()
        self._thread.join()
        with self._alone:
            self._context.close()

    def _run(self) -> None:
        expected, last_step_s = 0, 0.0
        while True:
            with self._arrived:
                self._wait()
                self._linger(expected, last_step_s)
                if self._closed:
                    for work in self._queue:
                        work.error = BackendError("The engine is closed.")
                        work.finished.set()
                    self._queue.clear()
                    return
                batches = self._compose()
            start = time.perf_counter()
            for batch in batches:
                self._compute(batch)
            last_step_s = time.perf_counter() - start
            expected = self._settle(batches)

    def _wait(self) -> None:
        """Until there is something to compute, or nothing but spare works and quiet."""
        while not self._closed and all(work.spare for work in self._queue):
            arrived = self._arrived.wait(_QUIET_S if self._queue else None)
            if not arrived and self._queue:
                return

    def _linger(self, expected: int, last_step_s: float) -> None:
        """Wait for as many works as were answered in the last step, but not for long."""
        until = time.perf_counter() + min(_LINGER_S, _LINGER_STEPS * last_step_s)
        while len(self._queue) < expected and not self._closed:
            left = until - time.perf_counter()
            if left <= 0 or not self._arrived.wait(left):
                return

    def _compose(self) -> list[_Batch]:
        """What the next step computes: everybody's token, and of the prompts the oldest first.

        A few tokens gain nothing by sharing a step (`TOGETHER_FROM`): then it is the oldest one's, and who gets it samples meanwhile.
        """
        for work in [work for work in self._queue if work.cancelled()]:
            self._queue.remove(work)
            work.finished.set()
        tokens, embeddings = _Batch(), _Batch()
        left = PROMPT_POSITIONS
        asked = [work for work in self._queue if not work.spare]
        if not asked:
            asked, left = self._queue[:1], _SPARE_POSITIONS
        elif not any(work.is_prompt for work in asked) and sum(len(work.sequences) for work in asked) < TOGETHER_FROM:
            asked = asked[:1]
        for work in sorted(asked, key=lambda work: work.is_prompt):
            rows = len(work.sequences)
            if work.is_prompt and left < rows:
                continue
            part, count = work.next_part(left // rows if work.is_prompt else 1)
            (embeddings if isinstance(part[0], np.ndarray) else tokens).add(work, part, count)
            left -= count * rows if work.is_prompt else 0
            work.running = True
        return [batch for batch in (tokens, embeddings) if batch.works]

    def _compute(self, batch: _Batch) -> None:
        """One call of llama.cpp. Where there is no room even without what nobody uses, the youngest work gives up."""
        while batch.works:
            try:
                with self._alone:
                    self._forget_tails(batch)
                    logits = self._decode(batch)
                break
            except CellsFull:
                if batch.works[0][0].spare:
                    batch.works[0][0].cancelled = lambda: True
                    return
                if not self._make_room():
                    batch = self._without_youngest(batch)
            except Exception as error:  # whatever it is: the thread goes on for the others
                for work, _ in batch.works:
                    work.error = BackendError(f"{error} Ask again; if it stays, start with --engine torch.")
                return
        for work, count in batch.works:
            work.done += count
            if work.done == work.length:
                work.logits, logits = logits[: len(work.sequences)], logits[len(work.sequences) :]

    def _forget_tails(self, batch: _Batch) -> None:
        for work, _ in batch.works:
            if work.crop and not work.done:
                for sequence in work.sequences:
                    self._context.forget(sequence, work.start)

    def _decode(self, batch: _Batch) -> list[torch.Tensor]:
        if isinstance(batch.inputs[0], np.ndarray):
            inputs: np.ndarray | list[int] = np.concatenate(batch.inputs)
        else:
            inputs = [token for row in batch.inputs for token in row]
        return self._context.decode(inputs, batch.positions, batch.sequences, batch.wanted())

    @staticmethod
    def _without_youngest(batch: _Batch) -> _Batch:
        youngest = next((work for work, _ in reversed(batch.works) if work.is_prompt), batch.works[-1][0])
        youngest.error = BackendError("Too many long conversations are being answered at once: ask again in a moment.")
        smaller = _Batch()
        for work, count in batch.works:
            if work is not youngest:
                smaller.add(work, work.next_part(count)[0], count)
        return smaller

    def _settle(self, batches: list[_Batch]) -> int:
        """Tell those who are done; how many of them will be back with a token."""
        answered = 0
        with self._arrived:
            for work in [work for work in self._queue if work.running]:
                work.running = False
                left_alone = work.spare and work.cancelled()
                if work.error is not None or work.done == work.length or left_alone:
                    self._queue.remove(work)
                    work.finished.set()
                    answered += work.error is None and not work.spare
        return answered
