"""The engine: answers conversations with the model in this process.

    engine = load_engine("pocket")
    for piece in engine.stream([question("What is this?", ["cat.jpg"])]): ...

A picture is encoded once, a turn computes only what its conversation's slot does not hold, and an answer stops within one
token of being cancelled. As many answers as there are slots run at once and take turns, step by step, on the one model; later ones
wait. Knows nothing of where weights come from (`weights/`), how text is written (`templates.py`, `render.py`) or sampled
(`decoding.py`).
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..presets import DEFAULT_PRESET, PRESETS
from .backends.base import Answer, AnswerStream, BackendDescription, BackendError
from .blank import blank_picture
from .decoding import StopRules, StopWhen, TextAssembler, TokenSampler, build_logits_processors, is_looping
from .kv_cache import ConversationSlots, Slot
from .messages import Turn, load_conversation
from .pictures import LoadedPicture
from .render import Rendered, fit_to_context, render
from .settings import GenerationSettings
from .templates import get_template
from .turnstile import Seats, Turnstile

PREFILL_CHUNK = 256  # positions per step of reading a prompt: cancelling waits for one step
ENCODED_IMAGES = 256  # pictures remembered, a few hundred kB each


class _Cancelled(Exception):
    """The reader of this answer is gone."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture as the LLM sees it: `features` `(T, D)`. Every question about the picture reuses it."""

    features: torch.Tensor
    digest: str


class Engine:
    """A `Backend` over a loaded model. Safe to call from several threads."""

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
        self._processor = processor
        self._stop_rules = StopRules.from_template(self.template, self.tokenizer)
        self._penalized_first = [self.tokenizer.bos_token_id] if self.template.penalty_sees_bos else []
        # With those being answered no more than `kv_slots` full conversations, which for a 7B model bounds the caches to a few GB.
        self._slots = ConversationSlots(kv_slots, self.description.context_length * max(2, kv_slots // 2))
        self._encoded: OrderedDict[str, EncodedImage] = OrderedDict()
        self._encoded_lock = threading.Lock()
        self._seats = Seats(kv_slots)
        self._turnstile = Turnstile()

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None) -> AnswerStream:
        """Start an answer; see `Backend.stream`. Bad messages, pictures and overlong questions raise here, at once."""
        start = time.perf_counter()
        settings = settings or self.description.settings
        turns = load_conversation(messages)
        context = self.description.context_length
        turns, notice = fit_to_context(turns, self.render, context - min(settings.max_new_tokens, context // 4))
        rendered = self.render(turns)
        stream = AnswerStream(lambda answer, cancelled: self._answer(rendered, settings, start, answer, cancelled))
        stream.answer.notices += filter(None, [notice, *(picture.notice for picture in turns[-1].pictures)])
        return stream

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        return self.stream(messages, settings).join()

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        return self.answer(messages, settings).text

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
        with self._computing(cancelled) as model:
            encoded = self._remembered(picture.digest)  # another answer may have encoded it while this one waited
            if encoded is None:
                features = model.get_image_features(pixel_values.to(model.device)).pooler_output[0]
                encoded = EncodedImage(features, picture.digest)
        with self._encoded_lock:
            self._encoded[picture.digest] = encoded
            while len(self._encoded) > ENCODED_IMAGES:
                self._encoded.popitem(last=False)
        return encoded

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

    @contextmanager
    def _computing(self, cancelled: Callable[[], bool]) -> Iterator[MiniGPT4ForConditionalGeneration]:
        """The model, for one step. Raises `_Cancelled` when the reader has gone, also while waiting for the turn."""
        with self._turnstile.turn(cancelled):
            if cancelled():
                raise _Cancelled
            if self._model is None:
                raise BackendError("The engine is closed.")
            try:
                with torch.inference_mode():
                    yield self._model
            except torch.OutOfMemoryError as error:
                raise BackendError(
                    "The device ran out of memory. Start a shorter conversation, or run with --load-in-8bit or --load-in-4bit."
                ) from error

    def _answer(
        self, rendered: Rendered, settings: GenerationSettings, start: float, answer: Answer, cancelled: Callable[[], bool]
    ) -> Iterator[str]:
        """The pieces of one answer; fills `answer` as it goes. Runs in the reader's thread."""
        answer.usage.prompt_tokens = len(rendered.input_ids)
        answer.usage.image_tokens = sum(key < 0 for key in rendered.keys)
        pieces = self._seated(rendered, settings, start, answer, cancelled)
        with self._seats.seat(lambda: cancelled() or self._model is None) as seat, closing(pieces):
            if cancelled():
                answer.finish_reason = "cancelled"
                return
            for piece in pieces:
                with seat.reading():
                    yield piece

    def _seated(
        self, rendered: Rendered, settings: GenerationSettings, start: float, answer: Answer, cancelled: Callable[[], bool]
    ) -> Iterator[str]:
        """The pieces, with a slot of the answer's own."""
        reuse = self.reuse_kv and settings.num_beams == 1
        slot = self._slots.take(rendered.keys if reuse else [])
        answer.usage.reused_tokens = len(slot.keys)
        try:
            embeds = self._embed(rendered, len(slot.keys), answer, cancelled)
            if settings.num_beams > 1:
                yield self._search_beams(embeds, settings, start, answer, cancelled)
            else:
                yield from self._decode(rendered, embeds, slot, settings, start, answer, cancelled)
        except _Cancelled:
            answer.finish_reason = "cancelled"
        finally:
            slot.sound &= reuse  # nothing is kept of the others
            self._slots.give_back(slot)

    def _embed(self, rendered: Rendered, reused: int, answer: Answer, cancelled: Callable[[], bool]) -> torch.Tensor:
        """The prompt behind its first `reused` positions as embeddings `(1, L - reused, D)`, new pictures encoded."""
        start = time.perf_counter()
        per_picture = self._config.num_image_tokens
        first, inside = divmod(sum(key < 0 for key in rendered.keys[:reused]), per_picture)
        features = [self.encode_image(picture, cancelled).features for picture in rendered.pictures[first:]]
        answer.timings.encode_s = time.perf_counter() - start if features else 0.0
        with self._computing(cancelled) as model:
            ids = torch.tensor([rendered.input_ids[reused:]], device=model.device)
            return model.embed_prompt(ids, torch.cat(features)[None, inside:] if features else None)

    def _forward(self, slot: Slot, keys: list[int], cancelled: Callable[[], bool], **inputs: torch.Tensor) -> torch.Tensor:
        """One step: appends the positions of `inputs`, named by `keys`, to the slot. Next-token logits `(V,)`."""
        with self._computing(cancelled) as model:
            slot.sound = False
            logits = model(**inputs, past_key_values=slot.cache, use_cache=True, logits_to_keep=1).logits[0, -1]
            slot.keys += keys
            slot.sound = True
        return logits

    def _decode(
        self,
        rendered: Rendered,
        embeds: torch.Tensor,
        slot: Slot,
        settings: GenerationSettings,
        start: float,
        answer: Answer,
        cancelled: Callable[[], bool],
    ) -> Iterator[str]:
        """Token by token. The last token of an answer is never computed on, so the slot does not hold it."""
        for chunk in embeds.split(PREFILL_CHUNK, dim=1):
            done = len(slot.keys)
            logits = self._forward(slot, rendered.keys[done : done + chunk.shape[1]], cancelled, inputs_embeds=chunk)
        sampler = TokenSampler(settings, _seed(settings), self._penalized_first)
        text = TextAssembler(self.tokenizer, self.template)
        limit = self._limit(settings, answer)
        ids = answer.token_ids
        while not answer.finish_reason:
            token = sampler.sample(logits, ids)
            ids.append(token)
            answer.usage.completion_tokens = len(ids)
            _note_time(answer, start)
            if token in self._stop_rules.end_tokens:
                answer.finish_reason = "stop"
                break
            piece = text.push(token)
            if piece:
                yield piece
            if text.stopped or self._stop_rules.reached(ids):
                answer.finish_reason = "stop"
            elif is_looping(ids):
                answer.finish_reason = "guard"
            elif len(ids) >= limit:
                answer.finish_reason = "length"
            else:
                logits = self._forward(slot, [token], cancelled, input_ids=torch.tensor([[token]], device=embeds.device))
        if answer.finish_reason != "guard":  # what is held back of a loop is more of the loop
            rest = text.finish()
            if rest:
                yield rest

    def _search_beams(
        self, embeds: torch.Tensor, settings: GenerationSettings, start: float, answer: Answer, cancelled: Callable[[], bool]
    ) -> str:
        """Beam search, by transformers' `generate`: the whole answer at once, the model held to the end."""
        ends = sorted(self._stop_rules.end_tokens)
        config = GenerationConfig(
            max_new_tokens=self._limit(settings, answer),
            num_beams=settings.num_beams,
            do_sample=not settings.greedy,
            # All of `settings` is in the processors below.
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=ends,
            pad_token_id=ends[0],
        )
        with self._computing(cancelled) as model:
            gpus = [model.device] if model.device.type == "cuda" else []
            with torch.random.fork_rng(devices=gpus):
                torch.manual_seed(_seed(settings))
                rows = model.generate(
                    inputs_embeds=embeds,
                    generation_config=config,
                    logits_processor=build_logits_processors(settings, self._penalized_first),
                    stopping_criteria=StoppingCriteriaList([StopWhen(self._stop_rules, cancelled)]),
                )
        if cancelled():
            raise _Cancelled
        ids = rows[0].tolist()
        end = next((n for n in range(1, len(ids) + 1) if self._stop_rules.reached(ids[:n])), None)
        answer.token_ids += ids[:end]
        answer.usage.completion_tokens = len(answer.token_ids)
        _note_time(answer, start)
        answer.finish_reason = "length" if end is None else "stop"
        whole = self.tokenizer.decode(answer.token_ids, skip_special_tokens=True).replace("�", "")
        return self.template.cut_answer(whole)

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


def load_engine(
    source: str | Path = DEFAULT_PRESET,
    device: str | None = None,
    dtype: str | None = None,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    reuse_kv: bool = True,
    local_dir: str | Path | None = None,
) -> Engine:
    """An engine for a preset's name or a model's directory (a `Path` is always a directory).

    `local_dir` is a folder with files of a full-size preset, which then are not downloaded.

    Raises `WeightsError` that names the file or flag and the fix.
    """
    from ..weights.load import load_model

    model, processor = load_model(
        source, device=device, dtype=dtype, load_in_8bit=load_in_8bit, load_in_4bit=load_in_4bit, local_dir=local_dir
    )
    preset = PRESETS.get(source) or PRESETS.get(model.config.frozen_parts or "")
    return Engine(
        model,
        processor,
        description=describe_model(model.config, str(model.device), source),
        kv_slots=preset.kv_slots if preset else 2,
        reuse_kv=reuse_kv,
    )
