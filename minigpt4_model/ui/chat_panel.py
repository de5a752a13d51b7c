"""The chat itself and the box to write in. What is in the box is the visitor's: the server never writes there.

`sending.js` empties it when its question is sent, and gives back what was refused; `draft.js` puts what the server gives in front of
what is there, and keeps all of it over a reload.
"""

import json
import time
from collections.abc import Sequence

import gradio as gr

from .demo_questions import DemoQuestion
from .texts import label

# Longer pasted text would become an attachment, which is no picture.
LONGEST_PASTED_TEXT = 20_000


def build_chat(examples: Sequence[DemoQuestion], feedback: Sequence[str] | None = None) -> gr.Chatbot:
    """`feedback` are the names of the thumbs under an answer; without them there are none."""
    return gr.Chatbot(
        label=label("chat.label"),
        show_label=False,
        elem_id="chat",
        height="100%",
        layout="bubble",
        editable="user",
        group_consecutive_messages=False,
        buttons=["copy"],
        feedback_options=feedback,
        like_user_message=False,
        allow_tags=False,
        placeholder=label("chat.welcome"),
        examples=[
            {"text": example.question, "display_text": example.question, "icon": str(example.picture), "files": [str(example.picture)]}
            for example in examples
        ],
    )


def build_box() -> gr.MultimodalTextbox:
    return gr.MultimodalTextbox(
        label=label("box.label"),
        show_label=False,
        elem_id="box",
        placeholder=label("box.placeholder"),
        sources=["upload"],
        file_types=["image"],
        file_count="multiple",
        max_lines=8,
        max_plain_text_length=LONGEST_PASTED_TEXT,
        autofocus=True,
    )


def box_idle() -> gr.MultimodalTextbox:
    """The box keeps what is in it and offers Send."""
    return gr.MultimodalTextbox(submit_btn=True, stop_btn=False)


def box_answering() -> gr.MultimodalTextbox:
    """The box keeps what is in it and offers Stop."""
    return gr.MultimodalTextbox(submit_btn=False, stop_btn=True)


def build_given() -> gr.MultimodalTextbox:
    """Where the server lays a question for the box: one that is taken back or refused, or that a link brings."""
    return gr.MultimodalTextbox(visible="hidden", label="For the box", show_label=False, elem_id="given")


def given(text: str, files: Sequence[str]) -> gr.MultimodalTextbox:
    return gr.MultimodalTextbox(value={"text": text, "files": list(files)})


def receipt(returned: Sequence[int] | None = None) -> str:
    """What the server says of a question from the box: that it is asked, or that it comes back with the pictures at these positions.

    No two are the same, so that the browser sees whether the server said anything.
    """
    return json.dumps([str(time.monotonic_ns()), returned])
