"""The panel of an answer that holds HTML: its code, to be changed by hand, how it looks, and a request to mend it."""

import gradio as gr

from .conversation import Conversation
from .html_preview import find_html, fix_request, preview_frame
from .panel import PageParts
from .texts import label, language_of, say

# Where there is room beside the chat, a page that has just been written is shown; the cursor stays where it is.
_SHOW_NEW = """(written) => {
  if (!written || written === window.minigpt4.shownPage || !matchMedia('(min-width: 901px)').matches) return;
  window.minigpt4.shownPage = written;
  const focused = document.activeElement;
  window.minigpt4.openPanel('html');
  if (focused) focused.focus({preventScroll: true});
}"""
_LARGE = "() => document.querySelector('#html-preview iframe')?.requestFullscreen()"
_DOWNLOAD = """(code) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([code], {type: 'text/html'}));
  link.download = 'page.html';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}"""


def build(page: PageParts) -> None:
    empty = gr.HTML(f"<p>{label('html.empty')}</p>", elem_id="html-empty")
    with gr.Column(visible=False, elem_id="html-pane") as pane:
        preview = gr.HTML(elem_id="html-preview")
        with gr.Row():
            large = gr.Button(label("html.large"), size="sm")
            download = gr.Button(label("html.download"), size="sm", elem_id="html-download")
        gr.HTML(f"<p>{label('html.closed-off')}</p>", elem_classes="note")
        code = gr.Code(language="html", label=label("html.code"), interactive=True, lines=8, max_lines=24, elem_id="html-code")
        wish = gr.Textbox(label=label("html.wish"), placeholder=label("html.wish.placeholder"), lines=2, elem_id="html-wish")
        fix = gr.Button(label("html.fix"), variant="primary", elem_id="html-fix")
    written = gr.Textbox(visible="hidden", label="Page", elem_id="html-written")

    def show(conversation: Conversation):
        codes = [(number, find_html(exchange.answer)) for number, exchange in enumerate(conversation.exchanges)]
        found = [(number, held) for number, held in codes if held]
        if not found:
            return gr.HTML(visible=True), gr.Column(visible=False), "", ""
        number, held = found[-1]
        new = f"{number} {hash(held)}" if number == len(codes) - 1 else ""
        return gr.HTML(visible=False), gr.Column(visible=True), held, new

    def draw(held: str, request: gr.Request):
        return preview_frame(held or "", say(language_of(request), "html.preview"))

    page.on_settled(show, [], [empty, pane, code, written]).then(None, [written], None, js=_SHOW_NEW, **page.quick)
    code.change(draw, [code], [preview], **page.quick)
    large.click(None, js=_LARGE, **page.quick)
    download.click(None, [code], js=_DOWNLOAD, **page.quick)
    page.ask_on(fix.click, lambda held, wanted: (fix_request(held, wanted), ()), [code, wish]).then(lambda: "", None, [wish], **page.quick)
