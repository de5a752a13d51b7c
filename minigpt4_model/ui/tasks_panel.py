"""Tasks: examples of what can be asked, one click each. Only what the preset that answers can honestly do is shown.

A click begins a conversation of its own, since a question about a new picture is answered best alone; where the browser keeps no history
it is asked in the conversation that is open, so that nothing gets lost.
"""

import html
from itertools import groupby

import gradio as gr

from ..presets import PRESETS
from .actions import Shown
from .demo_questions import DemoQuestion
from .panel import PageParts
from .texts import text_html

# Fills in the last of the values whether the browser keeps a history; on a narrow screen the panel makes room for the answer.
_BEFORE = """(...values) => {
  if (!matchMedia("(min-width: 1000px)").matches) window.minigpt4?.openPanel("");
  values[values.length - 1] = Boolean(window.minigpt4History?.keeps());
  return values;
}"""


def build(page: PageParts) -> None:
    kept = gr.Checkbox(False, visible="hidden", label="History is kept")
    for task, examples in groupby(page.examples, lambda example: example.task):
        gr.HTML(f"<h3>{text_html('task.' + task)}</h3>", elem_classes="task-title")
        with gr.Row(elem_classes="task-cards"):
            for example in examples:
                button = gr.Button(example.question, icon=str(example.picture), elem_classes="task-card")
                button.click(_asking(page, example), [page.conversation, *page.controls, kept], js=_BEFORE, **page.answering)
    if missing := _tasks_of_larger_presets(page.backend.description.name):
        listed = ", ".join(text_html("task." + task) for task in missing)
        gr.HTML(
            f"<p>{text_html('tasks.larger')}</p><p>{listed}</p><p><code>{html.escape(_larger_preset_command())}</code></p>",
            elem_id="tasks-larger",
        )


def _asking(page: PageParts, example: DemoQuestion):
    def run(conversation_id, *values):
        *controls, kept = values
        before = page.find(conversation_id)
        if kept and before.exchanges:
            before.stop()
            begun = page.store.open()
            begun.language = before.language
            conversation_id = begun.id
            yield Shown(conversation_id)
        yield from page.actions.ask_example(conversation_id, example, *controls)

    return run


def _tasks_of_larger_presets(model: str) -> list[str]:
    """What other presets can be asked and this one cannot, in their order."""
    if model not in PRESETS:
        return []
    others = dict.fromkeys(task for preset in PRESETS.values() for task in preset.tasks)
    return [task for task in others if task not in PRESETS[model].tasks]


def _larger_preset_command() -> str:
    return f"python app.py --preset {max(PRESETS.values(), key=lambda preset: len(preset.tasks)).name}"
