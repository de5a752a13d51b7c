"""The backend that asks an OpenAI-compatible server: vLLM, this project's own `serve`, or any other. Needs no torch.

What the server cannot do is done here where text and pictures suffice: guards, parts of pictures, reading text, leaving out the oldest
turns of a conversation that is too long for it. What needs the model itself (beams, visual contrast) is left out with a notice.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from ...presets import PRESETS, Preset
from ..blank import blank_picture
from ..closer_look import look_closer, what_was_read
from ..guards import Guards, guards_of_text
from ..messages import Turn, load_conversation
from ..render import leave_out, with_blank
from ..settings import GenerationSettings, SettingsError
from ..shown_text import ShownText
from ..templates import get_template
from .base import Answer, AnswerStream, BackendDescription, BackendError, TokenLogprob
from .openai_client import OpenAIClient, RequestRefused
from .openai_request import MINIGPT4, VLLM, MessageWriter, dialect_of, penalty_probe, settings_fields

_TOO_LONG = ("context length", "context window", "maximum model length", "max_model_len", "outgrew", "has room for", "too long")


class OpenAIBackend:
    """A `Backend` over the server at `base_url`; `preset` says what is not known of its model. Safe to call from several threads."""

    def __init__(self, base_url: str, *, preset: Preset, served_model: str | None = None, api_key: str = ""):
        """Asks the server for its models. Raises `BackendError` that names the flag and the fix."""
        self._client = OpenAIClient(base_url, api_key)
        self._writer = MessageWriter()
        try:
            row = _choose(self._client.models(), served_model, base_url)
            self._model = row["id"]
            self._dialect = dialect_of(row.get("owned_by"))
            self._knows_penalty = self._dialect == VLLM and self._client.refuses(penalty_probe(self._model))
        except BackendError:
            self._client.close()
            raise
        own = PRESETS.get(_short(self._model))
        self._template = get_template((own or preset).chat_template)
        # This project's own server adds the blank picture itself; others would only be puzzled by it.
        self._blank = blank_picture() if self._dialect == VLLM and (own or preset).blank_picture else None
        self.description = _describe(row, own, own or preset, self._client.host)

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, top_logprobs: int | None = None) -> AnswerStream:
        """Start an answer; see `Backend.stream`. Bad messages and pictures raise here, the server's faults at the first piece."""
        settings = settings or self.description.settings
        turns = load_conversation(messages)
        fields, notices = settings_fields(settings, self._dialect, self._client.host, self._template.stop_texts, self._knows_penalty)
        sent = turns if self._dialect == MINIGPT4 else look_closer(turns, settings)
        body = {**fields, "model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        if top_logprobs is not None:
            if settings.num_beams > 1 and self._dialect == MINIGPT4:
                raise SettingsError("Log-probabilities are there without beams only: leave num_beams at 1, or logprobs out.")
            body |= {"logprobs": True, "top_logprobs": top_logprobs}
        guards = Guards() if self._dialect == MINIGPT4 else guards_of_text(settings, self._template, turns, sent)
        stream = AnswerStream(lambda answer, cancelled: self._answer(sent, body, guards, answer, cancelled))
        stream.answer.notices += [*notices, *(picture.notice for picture in turns[-1].pictures if picture.notice)]
        if self._dialect != MINIGPT4 and settings.read_text and turns[-1].pictures:
            stream.answer.notices.append(what_was_read(turns[-1].pictures))
        stream.answer.usage.image_tokens = sum(len(turn.pictures) for turn in self._shown(sent)) * self.description.image_tokens
        return stream

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        return self.stream(messages, settings).join()

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        return self.answer(messages, settings).text

    def close(self) -> None:
        self._client.close()

    def _answer(self, turns: Sequence[Turn], body: dict, guards: Guards, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
        """The pieces of one answer; fills `answer` as it goes."""
        text = ShownText(self._template, guards)
        start = time.perf_counter()
        units: list[int | str] = []  # what a loop is looked for in: tokens, or the pieces of a server that tells none
        with closing(self._events(list(turns), body, answer, cancelled)) as events:
            for chunk in events:
                _read_figures(chunk, answer)
                for choice in chunk.get("choices") or ():
                    piece = (choice.get("delta") or {}).get("content") or ""
                    ids = choice.get("token_ids") or []
                    answer.token_ids += ids
                    answer.logprobs += _logprobs(choice)
                    units += ids or ([piece] if piece else [])
                    if piece or ids:
                        elapsed = time.perf_counter() - start
                        answer.timings.ttft_s = answer.timings.ttft_s or elapsed
                        answer.timings.decode_s = elapsed - answer.timings.ttft_s
                    shown = text.push_text(piece)
                    if shown:
                        yield shown
                    _end(answer, choice, text, guards, units)
                if answer.finish_reason == "guard" and self._dialect != MINIGPT4:
                    break  # leaving closes the connection, and with it the computing
        answer.usage.completion_tokens = answer.usage.completion_tokens or len(units)
        if cancelled():
            answer.finish_reason = "cancelled"
            return
        answer.finish_reason = answer.finish_reason or "stop"
        if answer.finish_reason != "guard" and (rest := text.finish()):
            yield rest

    def _shown(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """`turns` as the server gets them."""
        return turns if self._blank is None else with_blank(list(turns), self._blank)

    def _events(self, turns: list[Turn], body: dict, answer: Answer, cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """The server's chunks; while it finds the conversation too long, the oldest quarter of the questions goes, with the answers."""
        left_out = 0
        while True:
            try:
                yield from self._client.events({**body, "messages": self._writer.write(self._shown(turns))}, cancelled)
                return
            except RequestRefused as refusal:
                questions = [index for index, turn in enumerate(turns) if turn.role == "user"]
                too_long = refusal.status == 400 and any(words in refusal.told for words in _TOO_LONG)
                if not too_long or len(questions) < 2:
                    raise
                count = max(1, len(questions) // 4)
                turns = leave_out(turns, questions[count])
                answer.notices[:] = [notice for notice in answer.notices if not notice.startswith(_OUTGREW)]
                left_out += count
                were = "question and its answer were" if left_out == 1 else f"{left_out} questions and their answers were"
                answer.notices.append(f"{_OUTGREW}: the oldest {were} left out. Pictures are kept.")


_OUTGREW = "The conversation outgrew the model's memory"


def _choose(rows: list[dict[str, Any]], wanted: str | None, base_url: str) -> dict[str, Any]:
    """The row of the model to ask. Raises `BackendError` that lists what there is."""
    found = [row for row in rows if wanted in (None, row["id"])]
    if len(found) == 1:
        return found[0]
    there = ", ".join(row["id"] for row in rows[:8]) + (" …" if len(rows) > 8 else "") or "none"
    if wanted:
        raise BackendError(f"--served-model {wanted}: the server at {base_url} does not have it. It has: {there}.")
    raise BackendError(f"Name the model of {base_url} with --served-model. It has: {there}.")


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2] or model


def _describe(row: dict[str, Any], own: Preset | None, preset: Preset, host: str) -> BackendDescription:
    """What people are told: what the server says of itself, else the preset of its model's name, else little."""

    def told(name: str, kind: type, otherwise):
        return row[name] if isinstance(row.get(name), kind) and row[name] else otherwise

    names = {option for option in GenerationSettings.__dataclass_fields__}
    given = {name: value for name, value in told("settings", dict, {}).items() if name in names}
    return BackendDescription(
        name=_short(row["id"]),
        title=told("title", str, own.title if own else _short(row["id"])),
        good_for=told("good_for", str, own.good_for if own else "chatting about pictures"),
        device=f"the server {host}",
        context_length=told("max_model_len", int, preset.context_length),
        image_tokens=told("image_tokens", int, preset.image_tokens),
        settings=GenerationSettings.from_mapping(given or preset.settings),
    )


def _read_figures(chunk: dict[str, Any], answer: Answer) -> None:
    """Counts, times and notices, where the chunk has them."""
    if usage := chunk.get("usage"):
        details = usage.get("prompt_tokens_details") or {}
        answer.usage.prompt_tokens = usage.get("prompt_tokens") or 0
        answer.usage.completion_tokens = usage.get("completion_tokens") or 0
        answer.usage.reused_tokens = details.get("cached_tokens") or 0
        answer.usage.image_tokens = details.get("image_tokens", answer.usage.image_tokens)
    if timings := chunk.get("timings"):
        answer.timings.encode_s = timings.get("encode_s") or 0.0
    answer.notices += [notice for notice in chunk.get("notices") or () if notice not in answer.notices]


def _end(answer: Answer, choice: dict[str, Any], text: ShownText, guards: Guards, units: list) -> None:
    """Whether this is the answer's end, by the server's word or by a guard's."""
    if answer.finish_reason == "guard":
        return
    guarded = text.stopped_by or guards.stopped_by(units, lambda _: answer.text)
    if guarded:
        answer.finish_reason = "guard"
        answer.notices.append(guarded)
    elif choice.get("finish_reason"):
        ended = "guard" if choice.get("stop_reason") == "guard" else choice["finish_reason"]
        answer.finish_reason = ended if ended in ("guard", "length") else "stop"


def _logprobs(choice: dict[str, Any]) -> list[TokenLogprob]:
    def read(told: dict[str, Any]) -> TokenLogprob:
        data = told.get("bytes")
        top = tuple(map(read, told.get("top_logprobs") or ()))
        return TokenLogprob(bytes(data) if data is not None else told["token"].encode(), told["logprob"], top)

    return [read(told) for told in (choice.get("logprobs") or {}).get("content") or ()]
