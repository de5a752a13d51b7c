"""The engine whose language half is llama.cpp's, on the CPU: pictures are read by torch, everything behind them by a GGUF model.

It is `Engine` in all but where logits come from: the same prompts, sampling, guards and texts, slots that keep what conversations have
in common, and the visual contrast. Answers share the steps of one context (`batching.py`). Beam search and looking back at an answer it
leaves to the torch engine, which is loaded when somebody first asks for them.

While a person reads an answer, what every next turn begins with is read already: the answer's end and the opening of a question; and
while one is written about a picture (`prepare_picture`), the picture.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
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
from ..messages import Turn
from ..pictures import LoadedPicture
from ..settings import GenerationSettings
from ..turnstile import Seats
from .batching import PROMPT_POSITIONS, ContinuousBatching, Work
from .binding import LlamaContext, load_library
from .sequences import SequenceNumbers, SequenceSlot
from .word_rows import WordRows

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
        self._words = WordRows(gguf, context.vocabulary, context.width)
        self._slots = ConversationSlots(_CONVERSATIONS, context.cells, lambda: SequenceSlot(numbers))
        self._numbers = numbers
        self._batching = numbers.batching = ContinuousBatching(context, self._make_room)
        self._pages = context.cells // _PAGE
        self._seats = Seats(self._pages)
        between_turns = self.template.answer_end + self.template.assistant[1] + self.template.user[0]
        self._between_turns: list[int] = self.tokenizer(between_turns, add_special_tokens=False).input_ids
        self._reading_ahead: deque[SequenceSlot] = deque()
        self._reading_lock = threading.Lock()
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
        self._stop_reading_ahead()
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

    def _seated(self, asked: Asked, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
        self._stop_reading_ahead()
        yield from super()._seated(asked, answer, cancelled)

    def _decode(self, asked: Asked, slot: SequenceSlot, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
        yield from super()._decode(asked, slot, answer, cancelled)
        ended = answer.finish_reason == "stop" and answer.token_ids[-1] in self._stop_rules.end_tokens
        fits = len(slot.keys) + len(self._between_turns) < self.description.context_length
        if ended and fits and self.reuse_kv and not asked.contrasted:
            self._read_ahead(slot, self._between_turns, [self._between_turns])

    def _give_back(self, slot: SequenceSlot) -> None:
        if slot.ahead is None:
            self._slots.give_back(slot)
        else:
            self._reading_ahead.append(slot)

    def prepare_picture(self, picture: LoadedPicture) -> None:
        """Encode the picture, and read a conversation that begins with it up to its last image token, when nobody asks for anything."""
        features = self.encode_image(picture).features
        rendered = self.render([Turn("user", (picture, "?"))])
        end = 1 + max(place for place, key in enumerate(rendered.keys) if key < 0)
        keys = rendered.keys[:end]
        if not self.reuse_kv or self._slots.holds(keys):
            return
        slot = SequenceSlot(self._numbers)
        slot.widen(1)
        self._read_ahead(slot, keys, self._parts(rendered.input_ids[:end], features))
        self._give_back(slot)

    def _read_ahead(self, slot: SequenceSlot, keys: list[int], row: list) -> None:
        """Begin to compute `row`, whose positions are named `keys`, behind what the slot holds."""
        work = Work(slot.sequences, len(slot.keys), [row], spare=True)
        slot.ahead = work, keys
        self._batching.begin(work)

    def _stop_reading_ahead(self) -> None:
        """Gives the slots back behind which something was read ahead, with as much of it as is there."""
        with self._reading_lock:
            while self._reading_ahead:
                slot = self._reading_ahead.popleft()
                work, keys = slot.ahead
                self._batching.withdraw(work)
                slot.keys += keys[: work.done]
                slot.sound &= work.error is None
                slot.ahead = None
                self._slots.give_back(slot)

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
        """Ids as they are where there is no picture among them; else one run of embeddings, the pictures' and the words'."""
        if features is None:
            return [ids]
        is_image = np.array(ids) == self._config.image_token_id
        rows = np.empty((len(ids), features.shape[1]), np.float32)
        rows[is_image] = features.float().cpu().numpy()
        rows[~is_image] = self._words.read([id_ for id_ in ids if id_ != self._config.image_token_id])
        return [rows]

    def _compute(self, slot: SequenceSlot, keys: list[int], work: Work, cancelled: Callable[[], bool]) -> torch.Tensor:
        slot.sound = False
        try:
            return self._batching.compute(work, cancelled)
        finally:
            slot.keys += keys[: work.done]
            slot.sound = work.finished.is_set() and work.error is None

    def _make_room(self) -> bool:
        """Called when there is no cell left: drops the conversation that nobody has gone on with for longest."""
        self._stop_reading_ahead()
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
