"""From a conversation to what the page shows: chat messages and the status line.

Every picture is a message of its own before the text of its question: Gradio's Edit loses or breaks on any other layout.
Nothing that a visitor or the model wrote is rendered as HTML.
"""

from collections.abc import Sequence

import gradio as gr

from ..chat.backends.base import Answer
from .conversation import FAILED, STOPPED, WAITING, Exchange
from .html_as_text import answer_markdown, defuse
from .stored_pictures import StoredPicture


def chat_messages(exchanges: Sequence[Exchange]) -> list[dict]:
    """The chat's messages, in the order of `message_positions`."""
    messages = []
    for exchange in exchanges:
        count = len(exchange.pictures)
        messages += [
            {"role": "user", "content": picture_view(picture, number, count)} for number, picture in enumerate(exchange.pictures, start=1)
        ]
        messages.append({"role": "user", "content": _text(defuse(exchange.question))})
        shown = answer_markdown(exchange.answer)
        if exchange.state == WAITING and not shown:
            shown = "*Looking…*" if exchange.pictures else "*Thinking…*"
        elif exchange.state == STOPPED:
            shown = f"{shown}\n\n*Stopped.*" if shown else "*Stopped before the first word.*"
        elif exchange.state == FAILED:
            shown = f"{shown}\n\n*Broken off: {defuse(exchange.note)}*" if shown else f"*No answer: {defuse(exchange.note)}*"
        messages.append({"role": "assistant", "content": _text(shown or "*The answer is empty.*")})
    return messages


def message_positions(exchanges: Sequence[Exchange]) -> list[int]:
    """For each message of `chat_messages`, which exchange it belongs to."""
    positions = []
    for position, exchange in enumerate(exchanges):
        positions += [position] * (len(exchange.pictures) + 2)
    return positions


def picture_view(picture: StoredPicture, number: int, count: int) -> gr.Image:
    which = f"Picture {number} of {count}" if count > 1 else "Picture"
    return gr.Image(
        str(picture.view),
        alt_text=f"{which}, {picture.width} by {picture.height} pixels",
        label="Picture",
        show_label=False,
        container=False,
        interactive=False,
        buttons=["fullscreen"],
        render=False,
    )


def report(answer: Answer) -> str:
    """The status line about a finished answer: tokens, seconds, tokens per second, how it ended, notices."""
    tokens, timings = answer.usage.completion_tokens, answer.timings
    seconds = timings.ttft_s + timings.decode_s
    figures = f"{tokens} token{'s' if tokens != 1 else ''}"
    if seconds > 0:
        figures += f" in {seconds:.1f} s"
    if tokens > 1 and timings.decode_s > 0:
        figures += f", {(tokens - 1) / timings.decode_s:.1f} tokens/s"
    endings = {
        "length": "Cut at the longest answer allowed: raise “Longest answer” in the settings for more.",
        "cancelled": "Stopped.",
    }
    ending = endings.get(answer.finish_reason, "")
    return " · ".join(part for part in (figures, ending, *answer.notices) if part)


def _text(text: str) -> dict:
    return {"type": "text", "text": text}
