"""What a panel beside the chat is, and what it may use of the page.

A panel is one file with a function `build(page: PageParts) -> None` that lays out its components and wires their events; its row in
`page.PANELS` gives it a button at the top of the page. Knows nothing of any panel.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..chat.backends.base import Backend
from .actions import Actions
from .conversation import Conversation, ConversationExpired, ConversationStore
from .demo_questions import DemoQuestion

# Answers being written or in line for it (`waiting_line.py`); those who come later wait in Gradio's own queue.
MAX_ANSWERS = 32
# What events make the model do, as Gradio's `concurrency_id`: the gate counts both.
ANSWER, LOOK = "answer", "look"


@dataclass(frozen=True)
class PageParts:
    """The page's parts that a panel may read, listen to or write. Components are Gradio's."""

    backend: Backend
    models: Mapping[str, Backend]  # all that can be asked, by the names that the command line knows; `backend` is the first
    store: ConversationStore
    actions: Actions
    examples: Sequence[DemoQuestion]
    conversation: gr.State  # the id of this tab's conversation in `store`
    chat: gr.Chatbot
    box: gr.MultimodalTextbox
    given: gr.MultimodalTextbox  # a question for the box, which `draft.js` puts in front of what is there
    status: gr.HTML
    settled: gr.State  # changes whenever the conversation is at rest in a new state; `on_settled` listens to it
    receipt: gr.Textbox  # what became of the last question that was sent from the box, see `chat_panel`
    controls: Sequence[gr.components.Component]  # of the settings, in the order of `GenerationSettings`' fields

    @property
    def model_name(self) -> str:
        """What the model of the chat is called on the command line: a preset or a folder."""
        return next(iter(self.models))

    @property
    def shown(self) -> list[gr.components.Component]:
        """What an action's `Shown` fills, in its order."""
        return [self.conversation, self.chat, self.box, self.status, self.settled, self.receipt, self.given]

    @property
    def quick(self) -> dict[str, Any]:
        """How to wire an event that is over at once."""
        return {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

    @property
    def answering(self) -> dict[str, Any]:
        """How to wire an event that writes an answer into the chat."""
        return {
            "outputs": self.shown,
            "api_visibility": "private",
            "show_progress": "minimal",
            "show_progress_on": self.chat,
            "concurrency_limit": MAX_ANSWERS,
            "concurrency_id": ANSWER,
        }

    def ask_on(self, event: Callable, question: Callable[..., tuple[str, Sequence[str]]], inputs: Sequence = ()):
        """When `event` (such as `button.click`) comes, send a question as if it had been typed, with the settings as they are.

        `question(*values of inputs)` gives its text and its pictures' paths, which Gradio or this server stored. Returns the event's
        dependency, for `.then`. A question that is refused is told in the status line and put into the box.
        """

        def send(conversation_id, *values):
            given, controls = values[: len(inputs)], values[len(inputs) :]
            text, files = question(*given)
            yield from self.actions.ask_aside(conversation_id, text, files, *controls)

        return event(send, [self.conversation, *inputs, *self.controls], **self.answering)

    def on_settled(self, show: Callable[..., Any], inputs: Sequence, outputs: Sequence):
        """After every answer, stop, retry, undo, edit, clear and reload: `show(conversation, *values of inputs)` fills `outputs`.

        `conversation` is a `Conversation`: its last exchange has the question, pictures, answer, settings and figures. Returns the
        event's dependency.
        """

        def call(conversation_id, *values):
            return show(self.find(conversation_id), *values)

        return self.settled.change(call, [self.conversation, *inputs], list(outputs), **self.quick)

    def find(self, conversation_id: str | None) -> Conversation:
        """The conversation with that id; an empty one if it is no longer kept."""
        try:
            return self.store.get(conversation_id)
        except ConversationExpired:
            return Conversation()


@dataclass(frozen=True)
class Panel:
    """A row of `page.PANELS`. `texts/en.json` has its title as `panel.NAME`; `icon` is one of `icons`.

    A wide panel takes more than half of a wide screen.
    """

    name: str
    icon: str
    build: Callable[[PageParts], None]
    wide: bool = dataclasses.field(default=False, kw_only=True)


def open_panel(name: str) -> str:
    """The `js` of an event that shows the panel `name`: `button.click(None, js=open_panel("html"))`. Without a name none is shown.

    HTML may say the same with an attribute: `<button data-panel="html">`.
    """
    return f"() => window.minigpt4.openPanel({name!r})"
