"""Compare: one question, two answers side by side; by two models, or by one with two settings. Apart from the conversation."""

import dataclasses
import secrets
import threading
from collections.abc import Iterator, Sequence

import gradio as gr

from ..chat.backends.base import BackendDescription
from ..chat.messages import question
from ..chat.pictures import PictureError, load_picture
from ..chat.settings import GenerationSettings, SettingsError
from .comparison import Side, SideAnswer, agreement, compare
from .html_as_text import answer_markdown
from .panel import PageParts
from .settings_panel import build_control, settings_from_controls
from .status_panel import status_html
from .texts import ENGLISH, label, language_of, say, text_html
from .told import tell

_NAMES = ("A", "B")
MAX_QUESTION_CHARACTERS = 20_000


def build(page: PageParts) -> None:
    models = list(page.models)
    gr.HTML(f"<p>{text_html('compare.about')}</p>", elem_classes="explained")
    with gr.Row():
        picture = gr.Image(
            label=label("compare.picture"), type="filepath", image_mode=None, height=190, elem_id="compare-picture", buttons=["fullscreen"]
        )
        with gr.Column(min_width=220):
            asked = gr.Textbox(label=label("compare.question"), lines=3, max_lines=8, elem_id="compare-question")
            from_chat = gr.Button(label("compare.from-chat"), size="sm", elem_id="compare-from-chat")
    with gr.Row():
        # Neither grows, so that Stop does not appear where Ask has just been pressed.
        ask = gr.Button(label("compare.ask"), variant="primary", size="md", scale=0, min_width=140, elem_id="compare-ask")
        stop = gr.Button(label("compare.stop"), size="md", scale=0, min_width=140, visible=False, elem_id="compare-stop")
    verdict = gr.HTML(status_html(""), elem_id="compare-verdict")
    sides, shown = [], []
    with gr.Row():
        for position, name in enumerate(_NAMES):
            with gr.Column(min_width=240, elem_id=f"compare-{name.lower()}"):
                controls, answer, note = _build_side(page, name, models[position % len(models)], position == 1 and len(models) == 1)
                sides.append(controls)
                shown += [answer, note]
    count = len(sides[0])

    running: dict[str | None, threading.Event] = {}  # whose comparisons run, and whether they were stopped

    def run(request: gr.Request, file, text, *values) -> Iterator[list]:
        stop_running(request)
        stopped = running[request.session_hash] = threading.Event()
        try:
            for new in answer_both(page, file, text, [values[:count], values[count:]], language_of(request), stopped.is_set):
                if running.get(request.session_hash) is not stopped:  # Ask was pressed again
                    yield [gr.skip()] * len(new)  # and not what was shown last, which Gradio would show again
                    return
                yield new
        finally:
            if running.get(request.session_hash) is stopped:
                del running[request.session_hash]

    def stop_running(request: gr.Request) -> None:
        if request.session_hash in running:
            running[request.session_hash].set()

    answering = {**page.answering, "outputs": [*shown, verdict, stop], "show_progress_on": verdict}
    ask.click(run, [picture, asked, *sides[0], *sides[1]], trigger_mode="multiple", **answering)
    # Stop goes when it has worked; who pressed it by the keyboard finds the way back.
    stop.click(stop_running, None, None, js="() => document.getElementById('compare-ask').focus()", **page.quick)
    from_chat.click(lambda conversation_id: last_question(page, conversation_id), [page.conversation], [picture, asked], **page.quick)


def _build_side(page: PageParts, name: str, model: str, warmer: bool) -> tuple[list[gr.components.Component], gr.Markdown, gr.HTML]:
    """One side: the choice of its model with the controls of its settings, its answer, and what is told about that.

    Two models are compared with their defaults, one model with two temperatures: then the second side is `warmer`.
    """
    models = list(page.models)
    about = page.models[model].description
    defaults = about.settings.no_longer_than(about.longest_answer)
    if warmer:
        defaults = dataclasses.replace(defaults, temperature=min(2.0, defaults.temperature + 0.8))
    fields = {option.name: option for option in dataclasses.fields(GenerationSettings)}
    prefix = f"compare-{name.lower()}"
    choice = gr.Dropdown(models, value=model, label=name, interactive=len(models) > 1)
    first = build_control(fields["temperature"], defaults.temperature, about.longest_answer, prefix)
    answer = gr.Markdown("", elem_classes="compared", latex_delimiters=[], buttons=["copy"])
    note = gr.HTML("", elem_classes="compared-note")
    with gr.Accordion(label("compare.more"), open=False):
        rest = [
            first if name == "temperature" else build_control(option, getattr(defaults, name), about.longest_answer, prefix)
            for name, option in fields.items()
        ]
    longest = rest[list(fields).index("max_new_tokens")]
    choice.change(lambda model, tokens: _within(page.models[model].description, tokens), [choice, longest], [longest], **page.quick)
    return [choice, *rest], answer, note


def _within(about: BackendDescription, tokens: int) -> gr.Slider:
    """The control of the longest answer for the model that was chosen."""
    return gr.Slider(maximum=about.longest_answer, value=min(tokens, about.longest_answer))


def answer_both(
    page: PageParts, file: str | None, text: str | None, sides: Sequence[Sequence], language: str = ENGLISH, stopped=lambda: False
) -> Iterator[list]:
    """New values for answer and note of each side, the verdict and Stop, while both answers are written.

    `sides` are a model and its controls. Stop is there from the first value to the last.
    """
    if not (text or "").strip() and not file:
        yield _refused(say(language, "status.nothing"))
        return
    if len(text or "") > MAX_QUESTION_CHARACTERS:
        yield _refused(say(language, "status.long", count=len(text), most=MAX_QUESTION_CHARACTERS))
        return
    try:
        pictures = [load_picture(file)] if file else []
        both = [Side(model, settings_from_controls(controls)) for model, *controls in sides]
    except (PictureError, SettingsError) as refusal:
        yield _refused(tell(language, str(refusal)))
        return
    # Where neither side names a seed both get the same one, so that chance is no difference between them.
    drawn = secrets.randbelow(2**31)
    both = [dataclasses.replace(side, settings=_seeded(side.settings, drawn)) for side in both]
    messages = [question(text.strip() if text and text.strip() else say(language, "chat.describe"), pictures)]
    answers: list[SideAnswer] = []
    for answers in compare(page.models, messages, both, language, stopped):
        yield [*_shown(answers, language), status_html(""), gr.Button(visible=True)]
    if any(answer.fault for answer in answers):
        verdict = ""
    elif any(answer.stopped for answer in answers):
        verdict = say(language, "status.stopped")
    else:
        verdict = _verdict(*(answer.text for answer in answers), language)
    yield [*_shown(answers, language), status_html(verdict), gr.Button(visible=False)]


def last_question(page: PageParts, conversation_id: str | None) -> list:
    """The picture and the text of the chat's last question that had a picture, or else of its last."""
    exchanges = page.find(conversation_id).exchanges
    if not exchanges:
        return [gr.skip(), gr.skip()]
    last = next((exchange for exchange in reversed(exchanges) if exchange.pictures), exchanges[-1])
    return [str(last.pictures[0].path) if last.pictures else None, exchanges[-1].question]


def _verdict(one: str, other: str, language: str) -> str:
    share, first = agreement(one, other)
    return say(language, "compare.same") if one == other else say(language, "compare.differ", share=share, first=first)


def _seeded(settings: GenerationSettings, seed: int) -> GenerationSettings:
    return settings if settings.seed is not None else dataclasses.replace(settings, seed=seed)


def _refused(why: str) -> list:
    return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), status_html(why, warning=True), gr.Button(visible=False)]


def _shown(answers: Sequence[SideAnswer], language: str) -> list[str]:
    values = []
    for answer in answers:
        text = answer_markdown(answer.text)
        values += [
            text if text or not answer.note or answer.fault else f"*{say(language, 'chat.empty')}*",
            status_html(answer.note, warning=answer.fault),
        ]
    return values
