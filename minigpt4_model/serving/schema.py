"""What goes over the wire: OpenAI's chat completions as pydantic models, from which the OpenAPI description follows.

A request may hold what OpenAI's may and, beside that, every field of `GenerationSettings` that has no name of OpenAI's. What a client
asks for and this server cannot do is refused in `requests.py`, not ignored.
"""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from ..chat.settings import GenerationSettings

MAX_MESSAGES = 2000
MAX_STOPS = 4
LONGEST_STOP = 500  # characters
MAX_CHOICES = 8
MAX_TOP_LOGPROBS = 20
LONGEST_ANSWER = next(option for option in dataclasses.fields(GenerationSettings) if option.name == "max_new_tokens").metadata["maximum"]
# Settings that OpenAI has a name of its own for, or the same one.
NAMED_BY_OPENAI = ("max_new_tokens", "temperature", "top_p", "seed")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class ImageUrl(_Strict):
    """`url` is a data URL, or an http(s) address where the operator allows it. Each picture is read at one size, whatever `detail` says."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Strict):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    # Clients send back what they received.
    notices: list[str] | None = None


class StreamOptions(_Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _ChatRequest(_Strict):
    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=LONGEST_ANSWER)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=LONGEST_ANSWER)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: (
        Annotated[str, Field(max_length=LONGEST_STOP)]
        | Annotated[list[Annotated[str, Field(max_length=LONGEST_STOP)]], Field(max_length=MAX_STOPS)]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    return_token_ids: Annotated[bool | None, Field(description="as vLLM: the ids of the answer's tokens beside its text")] = None
    # Taken in the one form that asks for nothing.
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None
    store: bool | None = None
    # Without a meaning here, and without one for the answer.
    parallel_tool_calls: bool | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


def _own_settings() -> dict[str, Any]:
    """The fields of `GenerationSettings` that OpenAI has no name for."""
    fields = {}
    for option in dataclasses.fields(GenerationSettings):
        if option.name not in NAMED_BY_OPENAI:
            kind, about = type(option.default), option.metadata
            limits = {} if kind is bool else {"ge": about["minimum"], "le": about["maximum"]}
            fields[option.name] = (Annotated[kind, Field(description=about["info"], **limits)] | None, None)
    return fields


ChatRequest = create_model("ChatRequest", __base__=_ChatRequest, **_own_settings())


class TokenInfo(BaseModel):
    """`token` is its text, with U+FFFD for a part of a character; `bytes` are exact. -9999 stands for impossible."""

    token: str
    logprob: float
    bytes: list[int]


class TokenChoice(TokenInfo):
    top_logprobs: list[TokenInfo]


class ChoiceLogprobs(BaseModel):
    content: list[TokenChoice]
    refusal: None = None


class PromptDetails(BaseModel):
    """`cached_tokens` were computed for an earlier request; `image_tokens` stand for pictures."""

    cached_tokens: int
    image_tokens: int


class CompletionUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class AnswerTimings(BaseModel):
    """Seconds: encoding pictures, up to the first token, from the first token to the last."""

    encode_s: float
    ttft_s: float
    decode_s: float


class Reply(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


FinishReason = Literal["stop", "length"]


class Choice(BaseModel):
    """`stop_reason` is the text of `stop` that ended the answer, or "guard"."""

    index: int
    message: Reply
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason
    stop_reason: str | None = None
    token_ids: list[int] | None = None


class ChatCompletion(BaseModel):
    """`notices` tell what a person should know: that older turns were left out, that a guard ended the answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    timings: AnswerTimings
    notices: list[str]


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | None = None
    token_ids: list[int] | None = None


class ChatCompletionChunk(BaseModel):
    """One event of a stream. The last one of a choice has its `finish_reason`, `timings` and `notices`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    timings: AnswerTimings | None = None
    notices: list[str] | None = None


class Model(BaseModel):
    """`settings` are this model's defaults; `max_model_len` counts tokens, of which each picture takes `image_tokens`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    title: str
    good_for: str
    max_model_len: int
    image_tokens: int
    settings: dict[str, Any]


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
