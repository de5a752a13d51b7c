"""Answers from a process that borrows a GPU: what crosses to it and back. A stand-in for `spaces` forks and pickles as it does."""

import multiprocessing
import os
import pickle
import sys
import threading
import time
import types
from contextvars import ContextVar

import PIL.Image
import pytest

from minigpt4_model.chat.backends import zero_gpu
from minigpt4_model.chat.backends.base import AnswerStream, BackendError
from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.chat.messages import MessageError, question
from minigpt4_model.chat.pictures import PictureError
from minigpt4_model.chat.settings import GenerationSettings, SettingsError

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork")

visitor: ContextVar[str] = ContextVar("visitor", default="nobody")


class StandIn(types.ModuleType):
    """`spaces.GPU`: runs a generator function in a forked process; notes whose quota it takes and for how long."""

    def __init__(self):
        super().__init__("spaces")
        self.asked, self.started, self.workers = [], 0, []

    def GPU(self, duration):
        def decorate(task):
            def run(*args):
                self.asked.append((visitor.get(), duration(*args)))
                context = multiprocessing.get_context("fork")
                receive, send = context.Pipe(duplex=False)
                stop = context.Event()
                sent = pickle.dumps(args)
                worker = context.Process(target=_work, args=(task, sent, send, stop), daemon=True)
                worker.start()
                self.workers.append(worker)
                send.close()
                try:
                    while True:
                        try:
                            yield pickle.loads(receive.recv_bytes())
                        except EOFError:
                            return
                finally:
                    stop.set()
                    receive.close()
                    worker.join(30)

            return run

        return decorate


def _work(task, sent, send, stop) -> None:
    events = task(*pickle.loads(sent))
    for event in events:
        if stop.is_set():
            events.close()
            break
        try:
            send.send_bytes(pickle.dumps(event))
        except BrokenPipeError:
            break
    send.close()


@pytest.fixture
def spaces(monkeypatch):
    module = StandIn()
    zero = types.ModuleType("spaces.zero")
    zero.startup = lambda: setattr(module, "started", module.started + 1)
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setitem(sys.modules, "spaces.zero", zero)
    return module


class Elsewhere(EchoBackend):
    """An echo that says which process it is in, and holds a lock of its own while it answers."""

    def __init__(self, seconds_per_word: float = 0.0):
        super().__init__(seconds_per_word)
        self.lock = threading.Lock()

    def stream(self, messages, settings=None):
        assert self.lock.acquire(timeout=5)
        stream = super().stream(messages, settings)
        stream.answer.notices.append(str(os.getpid()))
        self.lock.release()
        return stream


def test_an_answer_is_the_same_and_comes_from_elsewhere(spaces):
    backend = zero_gpu.ZeroGpuBackend(Elsewhere())
    picture = PIL.Image.new("RGB", (31, 21))
    asked = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "what is it"}]}]
    here, there = EchoBackend().answer(asked), backend.answer(asked)
    assert spaces.started == 1
    assert (there.text, there.token_ids, there.usage, there.finish_reason) == (here.text, here.token_ids, here.usage, "stop")
    assert "31x21" in there.text and there.notices != [str(os.getpid())]
    assert backend.generate([question("and again")]).endswith("and again")


def test_a_lock_that_is_held_here_is_none_there(spaces):
    """The engine in this process never answers, so its locks are free when a worker is forked; and the other way round."""
    engine = Elsewhere(0.05)
    backend = zero_gpu.ZeroGpuBackend(engine)
    first = backend.stream([question("one two three four five")])
    next(first)
    assert not engine.lock.locked()
    assert backend.generate([question("beside it")]).endswith("beside it")
    assert first.join().text.endswith("five")


def test_notices_come_before_the_first_word_and_closing_stops_the_worker(spaces):
    backend = zero_gpu.ZeroGpuBackend(Elsewhere(0.05))
    stream = backend.stream([question("word " * 2000)])
    next(stream)
    assert len(stream.answer.notices) == 1
    begun = time.monotonic()
    stream.close()
    assert stream.answer.finish_reason == "cancelled"
    (worker,) = spaces.workers
    worker.join(10)
    assert not worker.is_alive() and time.monotonic() - begun < 10


def test_a_cancelled_answer_ends(spaces):
    backend = zero_gpu.ZeroGpuBackend(Elsewhere(0.05))
    stream = backend.stream([question("word " * 2000)])
    next(stream)
    stream.cancel()
    assert len(list(stream)) <= 1 and stream.answer.finish_reason == "cancelled"


def test_the_quota_is_that_of_who_asks_whatever_thread_reads(spaces):
    backend = zero_gpu.ZeroGpuBackend(EchoBackend())
    visitor.set("alice")
    stream = backend.stream([question("hello")], GenerationSettings(max_new_tokens=100))
    reader = threading.Thread(target=stream.join)
    reader.start()
    reader.join(30)
    assert spaces.asked == [("alice", 23)]


def test_a_gpu_is_asked_for_as_long_as_the_answer_may_take():
    def seconds(**changed) -> int:
        return zero_gpu.seconds_for([], GenerationSettings(**changed), {})

    assert 15 < seconds(max_new_tokens=50) < seconds(max_new_tokens=300) < seconds(max_new_tokens=300, num_beams=2)
    assert seconds(max_new_tokens=4096) == zero_gpu.LONGEST_S


class Faulty(EchoBackend):
    def __init__(self, fault: Exception):
        super().__init__()
        self.fault = fault

    def stream(self, messages, settings=None):
        def run(answer, cancelled):
            yield "half"
            raise self.fault

        return AnswerStream(run)


@pytest.mark.parametrize("kind", [BackendError, MessageError, PictureError, SettingsError])
def test_a_fault_arrives_as_what_it_is(spaces, kind):
    stream = zero_gpu.ZeroGpuBackend(Faulty(kind("in words"))).stream([question("hello")])
    assert next(stream) == "half"
    with pytest.raises(kind, match="in words"):
        next(stream)


def test_what_zero_gpu_has_to_say_is_told_in_its_words(spaces, monkeypatch):
    import gradio as gr

    def exhausted(duration):
        def decorate(task):
            def run(*args):
                raise gr.Error("You have exceeded your GPU quota.", title="ZeroGPU quota exceeded")
                yield

            return run

        return decorate

    monkeypatch.setattr(spaces, "GPU", exhausted)
    with pytest.raises(BackendError, match="quota exceeded: .*exceeded your GPU quota"):
        zero_gpu.ZeroGpuBackend(EchoBackend()).generate([question("hello")])


def test_bad_messages_are_refused_at_once(spaces):
    backend = zero_gpu.ZeroGpuBackend(EchoBackend())
    with pytest.raises(MessageError):
        backend.stream([])
    with pytest.raises(PictureError):
        backend.stream([question("what", ["nowhere.png"])])
    assert spaces.asked == []


@pytest.mark.parametrize(("value", "there"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_a_space_tells_whether_it_has_zero_gpu(monkeypatch, value, there):
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert zero_gpu.on_zero_gpu() is there


def test_the_model_is_loaded_in_one_thread(spaces, monkeypatch):
    """`spaces` has its stand-in for a GPU in the thread that imported it; transformers' other threads would find none."""
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "")
    zero_gpu.prepare()
    assert os.environ["HF_DEACTIVATE_ASYNC_LOAD"] == "1"
