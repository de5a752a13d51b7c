"""What an OpenAI-compatible server is sent: conversations as messages with data URLs, and as many of the settings as it knows.

A dialect is what kind of server it is: this project's own (`minigpt4`) knows every setting, vLLM (`vllm`) more than OpenAI's names, others
(`openai`) those alone.
"""

import base64
import dataclasses
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ..messages import Picture, Turn
from ..settings import GenerationSettings

MINIGPT4, VLLM, OPENAI = "minigpt4", "vllm", "openai"
_REMEMBERED = 16  # pictures whose data URL is kept, each at most a few MB

# Setting -> the value that does nothing, and what people call it. Neither vLLM nor others have these.
_OURS_ALONE = {"num_beams": (1, "Beams"), "visual_contrast": (0.0, "Visual contrast")}
_VLLMS = {"top_k": (0, "Top-k"), "repetition_penalty": (1.0, "Repetition penalty")}
# What `serving/vllm/penalty.py` calls the repetition penalty that does not look at the prompt.
_PENALTY = "answer_repetition_penalty"


def dialect_of(owned_by: object) -> str:
    """The dialect of a server whose models are `owned_by` that."""
    return owned_by if owned_by in (MINIGPT4, VLLM) else OPENAI


def settings_fields(
    settings: GenerationSettings, dialect: str, host: str = "", stop_texts: Sequence[str] = (), knows_penalty: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """The fields of a request that say `settings`, and a sentence for each setting that the server does not know and that was in use.

    Of vLLM's: it must be told the template's `stop_texts`, and `knows_penalty` says that it has this project's repetition penalty.
    """
    # OpenAI's newer models know the new name only, other servers the old one.
    longest = "max_completion_tokens" if host.endswith("openai.com") else "max_tokens"
    fields: dict[str, Any] = {longest: settings.max_new_tokens, "temperature": settings.temperature, "top_p": settings.top_p}
    if settings.greedy:
        fields["temperature"] = 0.0
    if settings.seed is not None:
        fields["seed"] = settings.seed
    if dialect == MINIGPT4:
        named = ("max_new_tokens", "temperature", "top_p", "seed")
        fields |= {name: value for name, value in dataclasses.asdict(settings).items() if name not in named}
        return fields, []
    unknown = dict(_OURS_ALONE)
    if dialect == VLLM:
        fields |= {"top_k": settings.top_k, "return_token_ids": True}
        if stop_texts:
            fields["stop"] = list(stop_texts)
        if knows_penalty:
            fields |= {"repetition_penalty": 1.0, "vllm_xargs": {_PENALTY: settings.repetition_penalty}}
        else:
            fields["repetition_penalty"] = settings.repetition_penalty
    else:
        unknown |= _VLLMS
    used = [label for name, (neutral, label) in unknown.items() if getattr(settings, name) != neutral]
    return fields, [f"{label}: this server does not know the setting, it was left out." for label in used]


def penalty_probe(model: str) -> dict[str, Any]:
    """A request that vLLM refuses (400) only where it has this project's repetition penalty; elsewhere it costs one token."""
    question = [{"role": "user", "content": "Hello"}]
    return {"model": model, "messages": question, "max_tokens": 1, "vllm_xargs": {_PENALTY: "is it there?"}}


class MessageWriter:
    """Turns as OpenAI's messages. Remembers the data URLs of the last pictures: each turn of a conversation sends them again."""

    def __init__(self):
        self._urls: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """One message a turn: a text where there is no picture, else parts in their order."""
        return [{"role": turn.role, "content": [self._part(part) for part in turn.parts] if turn.pictures else turn.text} for turn in turns]

    def _part(self, part: str | Picture) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return {"type": "image_url", "image_url": {"url": self._url(part)}}

    def _url(self, picture: Picture) -> str:
        """A data URL with exactly the picture's pixels, by which the server may know it again."""
        with self._lock:
            known = self._urls.get(picture.digest)
        if known is None:
            data = io.BytesIO()
            picture.image.save(data, "PNG", compress_level=1)
            known = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
        with self._lock:
            self._urls[picture.digest] = known
            self._urls.move_to_end(picture.digest)
            while len(self._urls) > _REMEMBERED:
                self._urls.popitem(last=False)
        return known
