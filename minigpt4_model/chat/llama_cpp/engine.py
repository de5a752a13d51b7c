"""The engine whose language half is llama.cpp's, on the CPU: pictures are read by torch, everything behind them by a GGUF model.

It is `Engine` in all but where logits come from: the same prompts, sampling, guards and texts, slots that keep what conversations have
in common, and the visual contrast. Answers share the steps of one context (`batching.py`). Beam search and looking back at an answer it
leaves to the torch engine, which is loaded when somebody first asks for them.
"""

import threading
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ...weights.errors import WeightsError
from ...weights.pocket import ensure_gguf
from ..asked import Asked
from ..backends.base import Answer, AnswerStream, BackendDescription
from ..contrast import contrast_keys
from ..engine import Engine
from ..inspection import Inspection, Weights
from ..kv_cache import ConversationSlots
from ..settings import GenerationSettings
from ..turnstile import Seats
from .batching import PROMPT_POSITIONS, ContinuousBatching, Work
from .binding import LlamaContext, load_library
from .sequences import SequenceNumbers, SequenceSlot

ANSWERS = 16  # in progress at a time; more wait
_CONVERSATIONS = 48  # with a place in the cells, those being answered included
BEAMS_LOAD = "Beams are searched with PyTorch: its copy of the model was loaded for this answer, so it took longer; the next won't."
_PAGE = 64  # cells; seats are counted in pages, so that short answers leave room for more


class LlamaCppEngine(Engine):
    """`Engine` over a model's perception half and a GGUF file of its LLM. Safe to call from several threads."""

    shares_steps = True

    def __init__(
        self,
        model: MiniGPT4ForConditionalGeneration,
        processor: MiniGPT4Processor,
        gguf: Path,
        *,
        reference: Callable[[], Engine],
        description: BackendDescription | None = None,
        cells: int | None = None,
        threads: int | None = None,
        exact: bool = False,
        reuse_kv: bool = True,
    ):
        """`model` needs no LLM layers; `reference` loads the torch engine of the same model. `cells` are the key-value positions of all
        conversations together (default: four full ones), `threads` those that compute (default: torch's), `exact` as in `LlamaContext`.

        Raises `WeightsError` when llama.cpp or the file can't be used, or the file is another LLM's.
        """
        super().__init__(model, processor, description=description, reuse_kv=reuse_kv)
        text = model.config.text_config
        numbers = SequenceNumbers(2 * _CONVERSATIONS)
        context = LlamaContext(
            gguf,
            cells=cells or 4 * self.description.context_length,
            sequences=2 * _CONVERSATIONS,
            batch=PROMPT_POSITIONS + 2 * _CONVERSATIONS,
            threads=threads or torch.get_num_threads(),
            exact=exact,
        )
        if (context.width, context.vocabulary) != (text.hidden_size, text.vocab_size):
            context.close()
            raise WeightsError(f"{gguf} is not this model's LLM: {context.vocabulary} words of width {context.width}.")
        self._slots = ConversationSlots(_CONVERSATIONS, context.cells, lambda: SequenceSlot(numbers))
        self._numbers = numbers
        self._batching = numbers.batching = ContinuousBatching(context, self._make_room)
        self._pages = context.cells // _PAGE
        self._seats = Seats(self._pages)
        self._load_reference, self._reference = reference, None
        self._reference_lock = threading.Lock()

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, top_logprobs: int | None = None) -> AnswerStream:
        settings = settings or self.description.settings
        if self.computed_by(settings) == "llama.cpp" or top_logprobs is not None:
            return super().stream(messages, settings, top_logprobs)
        notice = "" if self._reference else BEAMS_LOAD
        stream = self.reference().stream(messages, settings, top_logprobs)
        stream.answer.notices += [notice] if notice else []
        return stream

    def computed_by(self, settings: GenerationSettings) -> str:
        return "llama.cpp" if settings.num_beams == 1 else "torch"

    def reference(self) -> Engine:
        """The torch engine of the same model, loaded the first time."""
        with self._reference_lock:
            if self._reference is None:
                self._reference = self._load_reference()
            return self._reference

    def inspect(self, *args: Any, **more: Any) -> Inspection:
        return self.reference().inspect(*args, **more)

    def weigh(self, *args: Any, **more: Any) -> Weights:
        return self.reference().weigh(*args, **more)

    def forget(self) -> None:
        super().forget()
        if self._reference is not None:
            self._reference.forget()

    def close(self) -> None:
        super().close()
        self._batching.close()
        if self._reference is not None:
            self._reference.close()

    def _places(self, asked: Asked) -> int:
        """In pages: all that the answer may come to need, and never so little that more than `ANSWERS` are in progress."""
        room = self.description.context_length - len(asked.keys)
        pages = -(-(len(asked.keys) + min(asked.settings.max_new_tokens, room)) // _PAGE)
        return max(pages, -(-self._pages // ANSWERS)) * (2 if asked.contrasted else 1)

    def _read(self, asked: Asked, slot: SequenceSlot, answer: Answer, cancelled: Callable[[], bool]) -> torch.Tensor:
        reused = len(slot.keys)
        rows = [
            self._parts(asked.rendered.input_ids[reused:], features) for features in self.image_features(asked, answer, reused, cancelled)
        ]
        slot.widen(len(rows))
        return self._compute(slot, asked.keys[reused:], Work(slot.sequences, reused, rows, crop=True), cancelled)

    def _advance(self, asked: Asked, slot: SequenceSlot, token: int, cancelled: Callable[[], bool]) -> torch.Tensor:
        keys = contrast_keys([token]) if asked.contrasted else [token]
        rows = [[[token]] for _ in slot.sequences]
        return self._compute(slot, keys, Work(slot.sequences, len(slot.keys), rows), cancelled)

    def _parts(self, ids: list[int], features: torch.Tensor | None) -> list[list[int] | np.ndarray]:
        """Ids as they are, and what stands in place of the image tokens among them as embeddings."""
        pictures = None if features is None else features.float().cpu().numpy()
        parts: list[list[int] | np.ndarray] = []
        taken = 0
        for is_image, run in groupby(ids, lambda id_: id_ == self._config.image_token_id):
            run = list(run)
            parts.append(pictures[taken : taken + len(run)] if is_image else run)
            taken += len(run) if is_image else 0
        return parts

    def _compute(self, slot: SequenceSlot, keys: list[int], work: Work, cancelled: Callable[[], bool]) -> torch.Tensor:
        slot.sound = False
        try:
            return self._batching.compute(work, cancelled)
        finally:
            slot.keys += keys[: work.done]
            slot.sound = work.finished.is_set() and work.error is None

    def _make_room(self) -> bool:
        """Called when there is no cell left: drops the conversation that nobody has gone on with for longest."""
        dropped = self._slots.drop_oldest()
        self._numbers.empty_returned()
        return dropped


def open_llama_cpp(
    load_perception: Callable[[], tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor, BackendDescription]],
    reference: Callable[[], Engine],
    reuse_kv: bool,
) -> LlamaCppEngine:
    """The engine of a model over the pocket preset's frozen parts. Raises `WeightsError` when llama.cpp or a file can't be used."""
    load_library()  # the quickest way to fail comes first
    gguf = ensure_gguf()
    model, processor, description = load_perception()
    return LlamaCppEngine(model, processor, gguf, reference=reference, description=description, reuse_kv=reuse_kv)
