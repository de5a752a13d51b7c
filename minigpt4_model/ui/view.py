"""From a conversation to what the page shows: chat messages and the status line.

Every picture is a message of its own before the text of its question: Gradio's Edit loses or breaks on any other layout.
Nothing that a visitor or the model wrote is rendered as HTML.
"""

from collections.abc import Sequence

import gradio as gr

from ..chat.backends.base import Answer
from .conversation import FAILED, STOPPED, WAITING, Exchange
from .html_as_text import answer_markdown, close_code, defuse
from .stored_pictures import StoredPicture
from .texts import ENGLISH, say
from .told import tell


def chat_messages(exchanges: Sequence[Exchange], language: str = ENGLISH) -> list[dict]:
    """The chat's messages, in the order of `message_positions`."""
    messages = []
    for exchange in exchanges:
        count = len(exchange.pictures)
        messages += [
            {"role": "user", "content": picture_view(picture, number, count, language)}
            for number, picture in enumerate(exchange.pictures, start=1)
        ]
        messages.append({"role": "user", "content": _text(defuse(exchange.question))})
        shown = answer_markdown(exchange.answer)
        if exchange.state == WAITING and not shown:
            shown = f"*{say(language, 'chat.looking' if exchange.pictures else 'chat.thinking')}*"
        elif exchange.state == STOPPED:
            shown = f"{close_code(shown)}\n\n*{say(language, 'chat.stopped')}*" if shown else f"*{say(language, 'chat.stopped_early')}*"
        elif exchange.state == FAILED:
            reason = defuse(exchange.note)
            broken, none = say(language, "chat.broken_off", reason=reason), say(language, "chat.no_answer", reason=reason)
            shown = f"{close_code(shown)}\n\n*{broken}*" if shown else f"*{none}*"
        messages.append({"role": "assistant", "content": _text(shown or f"*{say(language, 'chat.empty')}*")})
    return messages


def message_positions(exchanges: Sequence[Exchange]) -> list[int]:
    """For each message of `chat_messages`, which exchange it belongs to."""
    positions = []
    for position, exchange in enumerate(exchanges):
        positions += [position] * (len(exchange.pictures) + 2)
    return positions


def picture_view(picture: StoredPicture, number: int, count: int, language: str = ENGLISH) -> gr.Image:
    key = "chat.picture_of" if count > 1 else "chat.picture"
    return gr.Image(
        str(picture.view),
        alt_text=say(language, key, number=number, count=count, width=picture.width, height=picture.height),
        label="Picture",
        show_label=False,
        container=False,
        interactive=False,
        buttons=[],  # a press shows it large: `pictures.js`
        render=False,
    )


def report(answer: Answer, language: str = ENGLISH) -> str:
    """The status line about a finished answer: tokens, seconds, tokens per second, how it ended, notices."""
    endings = {"length": "status.cut", "cancelled": "status.stopped"}
    ending = say(language, endings[answer.finish_reason]) if answer.finish_reason in endings else ""
    return " · ".join(part for part in (figures(answer, language), ending, *(tell(language, notice) for notice in answer.notices)) if part)


def figures(answer: Answer, language: str = ENGLISH) -> str:
    """Tokens, seconds and tokens per second of an answer, as far as they are known."""
    tokens, timings = answer.usage.completion_tokens, answer.timings
    seconds = timings.ttft_s + timings.decode_s
    shown = say(language, "status.token" if tokens == 1 else "status.tokens", count=tokens)
    if seconds > 0:
        shown = say(language, "status.in", tokens=shown, seconds=seconds)
    if tokens > 1 and timings.decode_s > 0:
        shown = say(language, "status.rate", figures=shown, rate=(tokens - 1) / timings.decode_s)
    return shown


def _text(text: str) -> dict:
    return {"type": "text", "text": text}
