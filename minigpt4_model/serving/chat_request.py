"""From a request's fields to what a backend takes: messages with loaded pictures, settings, stop texts.

What OpenAI's API has and this server has not is refused with the field's name, so that nobody takes a constraint for kept that is not.
"""

import base64
import binascii
import dataclasses
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from ..chat.pictures import LoadedPicture, load_picture
from ..chat.settings import GenerationSettings
from .errors import ApiError
from .schema import NAMED_BY_OPENAI, ChatRequest, ImagePart, Message

MAX_PICTURES = 50
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<parameters>(?:;[\w.+-]+=[\w.+-]+)*)(?P<base64>;base64)?,", re.IGNORECASE)
_LEAST_TOP_P = next(option for option in dataclasses.fields(GenerationSettings) if option.name == "top_p").metadata["minimum"]

# Fields of OpenAI's that would change the answer, and the values that ask for nothing.
_NOTHING_ASKED = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "store": (None, False),
}
_INSTEAD = {"frequency_penalty": "repetition_penalty", "presence_penalty": "repetition_penalty"}

FetchPicture = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True)
class Asked:
    """A request as a backend takes it. `top_logprobs` is None when no log-probabilities are wanted."""

    messages: list[dict]
    settings: GenerationSettings
    stop: tuple[str, ...]
    top_logprobs: int | None
    choices: int


def read_settings(chat: ChatRequest, defaults: GenerationSettings) -> GenerationSettings:
    """The settings that a request asks for, over the model's `defaults`. Raises `ApiError` or `SettingsError`."""
    if chat.max_tokens and chat.max_completion_tokens and chat.max_tokens != chat.max_completion_tokens:
        raise ApiError(400, "max_tokens is the old name of max_completion_tokens: give one of them.", param="max_tokens")
    longest = chat.max_completion_tokens or chat.max_tokens
    given = {
        "max_new_tokens": longest,
        "temperature": chat.temperature,
        # No probability at all, as OpenAI's 0 says, leaves the likeliest word: so does the least there is.
        "top_p": max(chat.top_p, _LEAST_TOP_P) if chat.top_p is not None else None,
        "seed": chat.seed & (2**63 - 1) if chat.seed is not None else None,
    }
    own = [option.name for option in dataclasses.fields(GenerationSettings) if option.name not in NAMED_BY_OPENAI]
    return GenerationSettings.from_mapping({**given, **{name: getattr(chat, name) for name in own}}, defaults)


def check_request(chat: ChatRequest) -> None:
    """Raises `ApiError` for fields that ask for what this server cannot do, and for those that contradict each other."""
    for name, nothing in _NOTHING_ASKED.items():
        if getattr(chat, name) not in nothing:
            instead = f" Use {_INSTEAD[name]}." if name in _INSTEAD else ""
            raise ApiError(400, f"{name} is not supported by this model.{instead}", param=name, code="unsupported_parameter")
    if chat.top_logprobs is not None and not chat.logprobs:
        raise ApiError(400, "top_logprobs is allowed when logprobs is true.", param="top_logprobs")
    if chat.stream_options is not None and not chat.stream:
        raise ApiError(400, "stream_options is allowed when stream is true.", param="stream_options")
    pictures = sum(isinstance(part, ImagePart) for message in chat.messages for part in _parts(message))
    if pictures > MAX_PICTURES:
        raise ApiError(400, f"A conversation takes at most {MAX_PICTURES} pictures; these are {pictures}.", param="messages")


async def read_request(chat: ChatRequest, defaults: GenerationSettings, fetch: FetchPicture | None) -> Asked:
    """Everything of a checked request, pictures loaded; `fetch` gets those at web addresses, which are refused without it.

    Raises `ApiError`, `SettingsError` or `PictureError`.
    """
    stops = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    return Asked(
        messages=[await _read_message(message, index, fetch) for index, message in enumerate(chat.messages)],
        settings=read_settings(chat, defaults),
        stop=tuple(stop for stop in stops if stop),
        top_logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
        choices=chat.n or 1,
    )


async def read_picture(url: str, where: str, fetch: FetchPicture | None) -> LoadedPicture:
    """The picture of a data URL, or what `fetch` gets from a web address. `where` names the field. Raises `ApiError` or `PictureError`."""
    return await anyio.to_thread.run_sync(load_picture, await _read_url(url, where, fetch))


def _parts(message: Message) -> list:
    return message.content if isinstance(message.content, list) else []


async def _read_message(message: Message, index: int, fetch: FetchPicture | None) -> dict:
    role = "system" if message.role == "developer" else message.role
    if message.content is None:
        if role != "assistant":
            raise ApiError(400, "Only an assistant's message may be without content.", param=f"messages[{index}].content")
        return {"role": role, "content": message.refusal or ""}
    if isinstance(message.content, str):
        return {"role": role, "content": message.content}
    parts = []
    for number, part in enumerate(message.content):
        if isinstance(part, ImagePart):
            where = f"messages[{index}].content[{number}].image_url.url"
            parts.append({"type": "image", "image": await read_picture(part.image_url.url, where, fetch)})
        else:
            parts.append({"type": "text", "text": part.text})
    return {"role": role, "content": parts}


async def _read_url(url: str, where: str, fetch: FetchPicture | None) -> bytes:
    if url[:5].lower() == "data:":
        return _read_data_url(url, where)
    if url[:7].lower() != "http://" and url[:8].lower() != "https://":
        raise ApiError(400, "A picture must be a data URL: data:image/png;base64,…", param=where, code="invalid_image_url")
    if fetch is None:
        told = "This server fetches no pictures from the web: send the picture as a data URL (data:image/png;base64,…)."
        raise ApiError(400, told, param=where, code="image_urls_not_allowed")
    return await fetch(url)


def _read_data_url(url: str, where: str) -> bytes:
    head = _DATA_URL.match(url[:300])
    if not head or not head["base64"]:
        raise ApiError(400, "A data URL must begin with data:image/png;base64, or the like.", param=where, code="invalid_image_url")
    if not (head["type"] or "").lower().startswith(("image/", "application/octet-stream")):
        raise ApiError(400, f"A picture's data URL must be of a type image/…, not {head['type']}.", param=where, code="invalid_image_url")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, "The picture's data URL is not valid base64.", param=where, code="invalid_base64_image") from None
