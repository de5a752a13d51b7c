"""Thumbs under the answers, and a line to say why. Only on a page whose operator keeps feedback (`--feedback-file`)."""

import logging
import secrets

import gradio as gr

from .feedback import FeedbackFile
from .panel import PageParts
from .texts import label, say, text_html
from .view import message_positions

logger = logging.getLogger(__name__)

LONGEST_COMMENT = 2000
# As Gradio's chat wants them named for its thumbs.
OPTIONS = ("Like", "Dislike")


def build_feedback_panel() -> tuple[gr.Column, gr.Textbox, gr.Button, gr.State]:
    """The row for a comment, hidden until there is a vote, and the state that remembers which vote."""
    vote = gr.State(None)
    with gr.Column(visible=False, elem_id="feedback") as row:
        gr.HTML(f"<p>{text_html('feedback.kept')}</p>")
        with gr.Row():
            comment = gr.Textbox(
                label=label("feedback.comment"),
                placeholder=label("feedback.comment"),
                show_label=False,
                max_length=LONGEST_COMMENT,
                scale=4,
            )
            send = gr.Button(label("feedback.send"), scale=1, min_width=120)
    return row, comment, send, vote


def wire_feedback(page: PageParts, file: FeedbackFile, parts: tuple[gr.Column, gr.Textbox, gr.Button, gr.State]) -> None:
    row, comment, send, vote = parts

    def rate(conversation_id, event: gr.LikeData):
        rating = {True: "good", False: "bad"}.get(event.liked, "")
        vote = (secrets.token_urlsafe(8), event.index, rating)
        kept = _keep(page, file, conversation_id, vote)
        return gr.Column(visible=kept and bool(rating)), "", vote

    def explain(conversation_id, text, given):
        if given and text.strip() and _keep(page, file, conversation_id, given, text.strip()):
            gr.Info(say(page.find(conversation_id).language, "feedback.thanks"))
        return gr.Column(visible=False), "", None

    page.chat.like(rate, [page.conversation], [row, comment, vote], **page.quick)
    for event in (send.click, comment.submit):
        event(explain, [page.conversation, comment, vote], [row, comment, vote], **page.quick)
    page.settled.change(lambda: gr.Column(visible=False), None, [row], **page.quick)


def _keep(page: PageParts, file: FeedbackFile, conversation_id: str | None, vote: tuple[str, int, str], comment: str = "") -> bool:
    """Whether the vote was written: not if its answer is gone, or the file is at fault."""
    identity, message, rating = vote
    conversation = page.find(conversation_id)
    try:
        exchange = conversation.exchanges[message_positions(conversation.exchanges)[message]]
        file.add(identity, page.backend.description.name, exchange, rating, comment)
    except IndexError:
        return False
    except OSError:
        logger.exception("--feedback-file: a vote could not be written.")
        gr.Warning(say(conversation.language, "feedback.lost"))
        return False
    return True
