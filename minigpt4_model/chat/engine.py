"""The engine: answers conversations with the model in this process.

    engine = load_engine("pocket")
    for piece in engine.stream([question("What is this?", ["cat.jpg"])]): ...

A picture is encoded once, a turn computes only what its conversation's slot does not hold, and an answer stops within one
token of being cancelled. As many answers as there are slots run at once and take turns, step by step, on the one model; later ones
wait. Knows nothing of where weights come from (`weights/`), how text is written (`templates.py`, `render.py`), sampled
(`decoding.py`) or guarded (`guards.py`). For the visual contrast a conversation is read twice in one batch, the second time with a blank
in place of each picture; both rows share a slot.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..presets import PRESETS
from .asked import Asked
from .backends.base import Answer, AnswerStream, BackendDescription, BackendError
from .beams import finish_answer, search_beams
from .blank import blank_picture
from .closer_look import look_closer, what_was_read
from .contrast import contrast_keys
from .decoding import AnswerWriter, StopRules, TextAssembler, TokenSampler
from .guards import GuardFactory
from .inspection import Inspection, Weights
from .inspector import inspect_answer, weigh_image_tokens
from .kv_cache import ConversationSlots, Slot
from .logprobs import LogprobReader
from .messages import MessageError, Turn, load_conversation
from .pictures import LoadedPicture
from .render import Rendered, fit_to_context, render
from .settings import GenerationSettings, SettingsError
from .templates import get_template
from .turnstile import Cancelled, Seats, Turnstile

PREFILL_CHUNK = 256  # positions per step of reading a prompt: cancelling waits for one step
ENCODED_IMAGES = 256  # pictures remembered, a few hundred kB each


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture as the LLM sees it: `features` `(T, D)`. Every question about the picture reuses it."""

    features: torch.Tensor
    digest: str


class Engine:
    """A `Backend` over a loaded model. Safe to call from several threads."""

    shares_steps = False  # whether answers asked for side by side are computed together

    def __init__(
        self,
        model: MiniGPT4ForConditionalGeneration,
        processor: MiniGPT4Processor,
        *,
        description: BackendDescription | None = None,
        kv_slots: int = 8,
        reuse_kv: bool = True,
    ):
        """`kv_slots` conversations have a key-value cache at a time, those being answered included.

        `reuse_kv=False` computes every prompt from its first token, for comparison; answers are the same.
        """
        self.description = description or describe_model(model.config, str(model.device))
        self.reuse_kv = reuse_kv
        self.template = get_template(model.config.chat_template_name)
        self.tokenizer = processor.tokenizer
        self._config = model.config
        self._model: MiniGPT4ForConditionalGeneration | None = model
        self._device = model.device
        self._processor = processor
        self._stop_rules = StopRules.from_template(self.template, self.tokenizer)
        self._guards = GuardFactory(self.template, self.tokenizer, self._stop_rules.end_tokens)
        self._penalized_first = [self.tokenizer.bos_token_id] if self.template.penalty_sees_bos else []
        # With those being answered no more than `kv_slots` full conversations, which for a 7B model bounds the caches to a few GB.
        self._slots = ConversationSlots(kv_slots, self.description.context_length * max(2, kv_slots // 2))
        self._encoded: OrderedDict[str, EncodedImage] = OrderedDict()
        self._encoded_lock = threading.Lock()
        self._seats = Seats(kv_slots)
        self._turnstile = Turnstile()

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, top_logprobs: int | None = None) -> AnswerStream:
        """Start an answer; see `Backend.stream`. Bad messages, pictures and overlong questions raise here, at once."""
        asked = self.ask(messages, settings, top_logprobs)
        stream = AnswerStream(lambda answer, cancelled: self._answer(asked, answer, cancelled))
        asked.open(stream.answer)
        return stream

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        return self.stream(messages, settings).join()

    def computed_by(self, settings: GenerationSettings) -> str:
        """What computes the LLM for an answer with these settings, by the name that --engine gives it."""
        return "torch"

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        return self.answer(messages, settings).text

    def answer_all(self, conversations: Sequence[list[dict]], settings: GenerationSettings | None = None) -> list[Answer]:
        """The answers to several conversations, computed side by side; see `together.answer_together`."""
        from .together import answer_together

        return answer_together(self, conversations, settings)

    def ask(self, messages: list[dict], settings: GenerationSettings | None = None, top_logprobs: int | None = None) -> Asked:
        """What an answer is made from, nothing computed yet. Raises what `stream` raises."""
        start = time.perf_counter()
        settings = settings or self.description.settings
        if top_logprobs is not None and settings.num_beams > 1:
            raise SettingsError("Log-probabilities are there without beams only: leave num_beams at 1, or logprobs out.")
        turns = load_conversation(messages)
        kept, notice, rendered = self.fit(turns, settings)
        guards = self._guards.build(settings, kept, look_closer(kept, settings))
        shown = turns[-1].pictures
        notices = [notice, *(picture.notice for picture in shown)]
        if settings.read_text and shown:
            notices.append(what_was_read(shown))
        if settings.visual_contrast and settings.num_beams > 1 and any(turn.pictures for turn in kept):
            notices.append("Visual contrast works without beams only: it is left out.")
        return Asked(rendered, settings, guards, start, tuple(filter(None, notices)), top_logprobs)

    def inspect(
        self, messages: list[dict], text: str, token_ids: Sequence[int] = (), settings: GenerationSettings | None = None
    ) -> Inspection:
        return inspect_answer(self, messages, text, token_ids, settings or self.description.settings)

    def weigh(
        self,
        messages: list[dict],
        text: str,
        first: int,
        end: int,
        token_ids: Sequence[int] = (),
        settings: GenerationSettings | None = None,
    ) -> Weights:
        return weigh_image_tokens(self, messages, text, range(first, end), token_ids, settings or self.description.settings)

    def fit(self, turns: list[Turn], settings: GenerationSettings) -> tuple[list[Turn], str, Rendered]:
        """The turns that the model has room for, a sentence for the person if some were left out, and the prompt they make.

        Raises `MessageError` when the last question is too long by itself.
        """
        context = self.description.context_length
        last: tuple[list[Turn], Rendered] | None = None  # nearly always what is kept: nothing is rendered twice

        def render_closer(turns: list[Turn]) -> Rendered:
            nonlocal last
            last = turns, self.render(look_closer(turns, settings))
            return last[1]

        try:
            kept, notice = fit_to_context(turns, render_closer, context - min(settings.max_new_tokens, context // 4))
        except MessageError as error:
            raise MessageError(f"{error} Or leave --image-crops off." if settings.image_crops else str(error)) from error
        return kept, notice, last[1] if last and last[0] is kept else render_closer(kept)

    def render(self, turns: list[Turn]) -> Rendered:
        """The prompt of a conversation as this model reads it."""
        config = self._config
        return render(
            turns,
            self.template,
            self.tokenizer,
            image_token_id=config.image_token_id,
            num_image_tokens=config.num_image_tokens,
            blank=blank_picture() if config.blank_picture else None,
        )

    def encode_image(self, picture: LoadedPicture, cancelled: Callable[[], bool] = lambda: False) -> EncodedImage:
        """The picture's image tokens, computed the first time and remembered by the picture's content."""
        encoded = self._remembered(picture.digest)
        if encoded is not None:
            return encoded
        pixel_values = self._processor.image_processor([picture.image], return_tensors="pt")["pixel_values"]
        with self.computing(cancelled) as model:
            encoded = self._remembered(picture.digest)  # another answer may have encoded it while this one waited
            if encoded is None:
                features = model.get_image_features(pixel_values.to(model.device)).pooler_output[0]
                encoded = EncodedImage(features, picture.digest)
        with self._encoded_lock:
            self._encoded[picture.digest] = encoded
            while len(self._encoded) > ENCODED_IMAGES:
                self._encoded.popitem(last=False)
        return encoded

    def prepare_picture(self, picture: LoadedPicture) -> None:
        """Do what can be done of an answer about a picture before the question is there."""
        self.encode_image(picture)

    def image_features(
        self, asked: Asked, answer: Answer, reused: int = 0, cancelled: Callable[[], bool] = lambda: False
    ) -> list[torch.Tensor | None]:
        """The image tokens behind the first `reused` positions of a prompt, `(n, D)` or None without any; new pictures are encoded.

        One tensor, or two for the visual contrast, the second of blanks.
        """
        start = time.perf_counter()
        rendered = asked.rendered
        first, inside = divmod(sum(key < 0 for key in rendered.keys[:reused]), self._config.num_image_tokens)
        pictures = rendered.pictures[first:]
        rows = [[self.encode_image(picture, cancelled).features for picture in pictures]]
        if asked.contrasted:
            blank = self.encode_image(blank_picture(), cancelled).features if pictures else None
            rows.append([blank for _ in pictures])
        answer.timings.encode_s = time.perf_counter() - start if pictures else 0.0
        return [torch.cat(row)[inside:] if row else None for row in rows]

    def embed(self, asked: Asked, answer: Answer, reused: int = 0, cancelled: Callable[[], bool] = lambda: False) -> torch.Tensor:
        """The prompt behind its first `reused` positions as embeddings `(R, L - reused, D)`; R is 2 for the visual contrast, else 1."""
        rows = self.image_features(asked, answer, reused, cancelled)
        with self.computing(cancelled) as model:
            ids = torch.tensor([asked.rendered.input_ids[reused:]], device=model.device)
            return torch.cat([model.embed_prompt(ids, None if row is None else row[None]) for row in rows])

    def build_writer(self, asked: Asked, answer: Answer) -> AnswerWriter:
        """What turns logits into `answer`, which `asked` has opened."""
        return AnswerWriter(
            answer,
            TokenSampler(asked.settings, _seed(asked.settings), self._penalized_first, asked.guards),
            TextAssembler(self.tokenizer, self.template, asked.guards),
            self._stop_rules,
            asked.guards,
            self._limit(asked.settings, answer),
            on_token=lambda: _note_time(answer, asked.start),
            logprobs=LogprobReader(self.tokenizer, asked.top_logprobs) if asked.top_logprobs is not None else None,
        )

    @contextmanager
    def computing(self, cancelled: Callable[[], bool] = lambda: False) -> Iterator[MiniGPT4ForConditionalGeneration]:
        """The model, for one step. Raises `Cancelled` when the reader has gone, also while waiting for the turn."""
        with self._turnstile.turn(cancelled):
            if cancelled():
                raise Cancelled
            if self._model is None:
                raise BackendError("The engine is closed.")
            try:
                with torch.inference_mode():
                    yield self._model
            except torch.OutOfMemoryError as error:
                raise BackendError(
                    "The device ran out of memory. Start a shorter conversation, or run with --load-in-8bit or --load-in-4bit."
                ) from error

    def forget(self) -> None:
        """Drop all remembered pictures and caches; the next answers compute everything anew."""
        self._slots.clear()
        with self._encoded_lock:
            self._encoded.clear()

    def close(self) -> None:
        """Free the model and what is remembered; answers still running end with a `BackendError`."""
        with self._turnstile.turn():
            self._model = None
        self.forget()

    def _remembered(self, digest: str) -> EncodedImage | None:
        with self._encoded_lock:
            if digest in self._encoded:
                self._encoded.move_to_end(digest)
            return self._encoded.get(digest)

    def _answer(self, asked: Asked, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
        """The pieces of one answer; fills `answer` as it goes. Runs in the reader's thread."""
        pieces = self._seated(asked, answer, cancelled)
        with self._seats.seat(lambda: cancelled() or self._model is None, self._places(asked)) as seat, closing(pieces):
            if cancelled():
                answer.finish_reason = "cancelled"
                return
            for piece in pieces:
                with seat.reading():
                    yield piece

    def _seated(self, asked: Asked, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
        """The pieces, with a slot of the answer's own."""
        reuse = self.reuse_kv and asked.settings.num_beams == 1
        slot = self._slots.take(asked.keys if reuse else [])
        answer.usage.reused_tokens = len(slot.keys)
        try:
            if asked.settings.num_beams > 1:
                yield self._search_beams(asked, answer, cancelled)
            else:
                yield from self._decode(asked, slot, answer, cancelled)
        except Cancelled:
            answer.finish_reason = "cancelled"
        finally:
            slot.sound &= reuse  # nothing is kept of the others
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        """Called when an answer ends, also from a finalizer."""
        self._slots.give_back(slot)

    def _forward(self, slot: Slot, keys: list[int], cancelled: Callable[[], bool], **inputs: torch.Tensor) -> torch.Tensor:
        """One step: appends the positions of `inputs`, named by `keys`, to the slot. Next-token logits `(R, V)`."""
        with self.computing(cancelled) as model:
            slot.sound = False
            logits = model(**inputs, past_key_values=slot.cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            slot.keys += keys
            slot.sound = True
        return logits

    def _read(self, asked: Asked, slot: Slot, answer: Answer, cancelled: Callable[[], bool]) -> torch.Tensor:
        """What the slot does not hold of the prompt, computed into it. The logits behind it, `(R, V)`."""
        for chunk in self.embed(asked, answer, len(slot.keys), cancelled).split(PREFILL_CHUNK, dim=1):
            done = len(slot.keys)
            logits = self._forward(slot, asked.keys[done : done + chunk.shape[1]], cancelled, inputs_embeds=chunk)
        return logits

    def _advance(self, asked: Asked, slot: Slot, token: int, cancelled: Callable[[], bool]) -> torch.Tensor:
        """One more token. The logits behind it, `(R, V)`."""
        rows, key = (2, contrast_keys([token])) if asked.contrasted else (1, [token])
        return self._forward(slot, key, cancelled, input_ids=torch.tensor([[token]] * rows, device=self._device))

    def _decode(self, asked: Asked, slot: Slot, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
        """Token by token. The last token of an answer is never computed on, so the slot does not hold it."""
        logits = self._read(asked, slot, answer, cancelled)
        yield from self.build_writer(asked, answer).write(logits, lambda token: self._advance(asked, slot, token, cancelled))

    def _search_beams(self, asked: Asked, answer: Answer, cancelled: Callable[[], bool]) -> str:
        """The whole answer at once, the model held to the end."""
        embeds = self.embed(asked, answer, 0, cancelled)
        with self.computing(cancelled) as model:
            ids = search_beams(
                model,
                embeds,
                asked.settings,
                _seed(asked.settings),
                max_new_tokens=self._limit(asked.settings, answer),
                first_ids=self._penalized_first,
                rules=self._stop_rules,
                guards=asked.guards,
                decode=self.tokenizer.decode,
                cancelled=cancelled,
            )
        if cancelled():
            raise Cancelled
        _note_time(answer, asked.start)
        return finish_answer(answer, ids, self.tokenizer, self.template, self._stop_rules, asked.guards)

    def _places(self, asked: Asked) -> int:
        """How many of the seats an answer takes."""
        return 2 if asked.contrasted else 1

    def _limit(self, settings: GenerationSettings, answer: Answer) -> int:
        """How many tokens the answer may have: what was asked for, within the context."""
        return min(settings.max_new_tokens, self.description.context_length - answer.usage.prompt_tokens)


def _seed(settings: GenerationSettings) -> int:
    return settings.seed if settings.seed is not None else int.from_bytes(os.urandom(8), "big") >> 1


def _note_time(answer: Answer, start: float) -> None:
    """Called after each token: the first sets the time to it, the others extend the time of decoding."""
    elapsed = time.perf_counter() - start
    if not answer.timings.ttft_s:
        answer.timings.ttft_s = elapsed
    answer.timings.decode_s = elapsed - answer.timings.ttft_s


def describe_model(config: MiniGPT4Config, device: str, source: str | Path = "") -> BackendDescription:
    """What people are told of a model: its preset's row where it is one, else what its configuration says."""
    preset = PRESETS.get(source) or PRESETS.get(config.frozen_parts or "")
    longest = config.text_config.max_position_embeddings
    return BackendDescription(
        name=preset.name if preset else Path(source).name or config.model_type,
        title=preset.title if preset else "MiniGPT-4",
        good_for=preset.good_for if preset else "chatting about pictures",
        device=device,
        context_length=min(longest, preset.context_length) if preset else longest,
        image_tokens=config.num_image_tokens,
        settings=GenerationSettings.from_mapping(preset.settings) if preset else GenerationSettings(),
    )
