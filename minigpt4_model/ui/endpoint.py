"""The page's one endpoint for programs that speak Gradio, /ask: `gradio_client` asks one question at a time, with the model's own settings.

Conversations and settings are the API's at /v1. People never see what is laid out here.
"""

from collections.abc import Iterator, Sequence

import gradio as gr

from ..chat.backends.base import Backend, BackendError
from ..chat.messages import MessageError, question, text_message
from ..chat.pictures import PictureError
from ..chat.settings import SettingsError
from .panel import ANSWER, MAX_ANSWERS


def add_ask_endpoint(backend: Backend) -> None:
    """Add `/ask` to the page that is being laid out; it answers with `backend`."""

    def ask(text: str, pictures: Sequence[str] | None, system: str) -> Iterator[str]:
        messages = [text_message("system", system)] if system else []
        written = ""
        try:
            with backend.stream([*messages, question(text, list(pictures or ()))]) as stream:
                for piece in stream:
                    written += piece
                    yield written
        except (BackendError, MessageError, PictureError, SettingsError) as fault:
            raise gr.Error(str(fault), print_exception=False) from fault

    text = gr.Textbox(visible=False, label="question")
    pictures = gr.File(visible=False, label="pictures", file_count="multiple", type="filepath")
    system = gr.Textbox(visible=False, label="system text")
    answer = gr.Textbox(visible=False, label="answer")
    gr.Button(visible=False).click(
        ask,
        [text, pictures, system],
        answer,
        api_name="ask",
        api_description="Ask a question about pictures, which are files; the answer is a text that grows.",
        concurrency_limit=MAX_ANSWERS,
        concurrency_id=ANSWER,
        show_progress="hidden",
    )
