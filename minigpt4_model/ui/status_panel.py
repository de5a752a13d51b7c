"""The line under the chat: figures of the last answer, notices, and why something was refused."""

import html

import gradio as gr


def build_status_panel() -> gr.HTML:
    return gr.HTML(status_html(""), elem_id="status")


def status_html(note: str, warning: bool = False) -> str:
    """`note` as a line that screen readers announce; a warning interrupts them."""
    if warning and note:
        return f'<p role="alert" class="warning">{html.escape(note)}</p>'
    return f'<p role="status">{html.escape(note)}</p>'
