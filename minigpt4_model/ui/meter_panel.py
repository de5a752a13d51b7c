"""Below the box: how much of the model's memory the conversation takes, and a warning before questions are left out.

The figures are the backend's own counts of the last answer; `meter.js` adds what is in the box and not yet sent, whose text it can
only guess at. The same component tells the browser, as a style, the figures that stand below each answer.
"""

import html

import gradio as gr

from ..chat.backends.base import Answer, BackendDescription
from .conversation import Conversation
from .texts import say
from .view import figures


def build_meter_panel() -> gr.HTML:
    return gr.HTML("", elem_id="meter")


def meter_html(conversation: Conversation, about: BackendDescription) -> str:
    """The meter, empty until there is a figure, and the figures of all answers."""
    answers = [exchange.details for exchange in conversation.exchanges]
    settings = next((exchange.settings for exchange in reversed(conversation.exchanges) if exchange.settings), about.settings)
    used, pictures = memory_used(answers)
    length, language = about.context_length, conversation.language
    # What the engine keeps free for the answer: `render.fit_to_context`.
    room = length - min(settings.max_new_tokens, length // 4)
    words = {
        "used": say(language, "meter.used", used="{used}", length=f"{length:,}"),
        "pictures": say(language, "meter.pictures", pictures="{pictures}"),
        "over": say(language, "meter.over"),
    }
    given = {"used": used, "pictures": pictures, "room": room, "length": length, "image-tokens": about.image_tokens}
    data = " ".join(f'data-{name}="{value}"' for name, value in given.items())
    data += " " + " ".join(f'data-say-{name}="{html.escape(text)}"' for name, text in words.items())
    bar = '<span class="bar" aria-hidden="true"><span class="fill"></span></span>'
    return f'<div class="meter" {data} hidden>{bar}<span class="amount"></span></div>{figures_style(answers, language)}'


def memory_used(answers: list[Answer | None]) -> tuple[int, int]:
    """Tokens that the conversation takes, and how many of them are pictures, as the backend counted them for the last answer it gave."""
    counted = [answer.usage for answer in answers if answer is not None and answer.usage.prompt_tokens]
    if not counted:
        return 0, 0
    return counted[-1].prompt_tokens + counted[-1].completion_tokens, counted[-1].image_tokens


def figures_style(answers: list[Answer | None], language: str) -> str:
    """A style that writes tokens and seconds below each answer: there they are seen and read out, and not copied with the answer.

    Not below the last one, whose figures are the status line.
    """
    rules = [
        f'#chat .bot-row:nth-child({number} of .bot-row) .message::after {{ content: "{figures(answer, language)}"; }}'
        for number, answer in enumerate(answers[:-1], start=1)
        if answer is not None and answer.usage.completion_tokens
    ]
    return f"<style>{' '.join(rules)}</style>" if rules else ""
