"""The page as a person uses it: thin words over selectors, for the browser tests."""

import io
import re

import PIL.Image
from playwright.sync_api import Page, expect


def png(width: int, height: int, colour: str = "teal") -> dict:
    """An upload: a PNG of one colour, recognised by its size."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return {"name": f"{width}x{height}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


class Chat:
    def __init__(self, page: Page):
        self.page = page
        self.questions = page.locator("#chat [data-testid=user]:not(:has(img))")
        self.pictures = page.locator("#chat [data-testid=user] img")
        self.answers = page.locator("#chat [data-testid=bot]")
        self.status = page.locator("#status p")
        self.box = page.locator("#box textarea")
        self.attached = page.locator("#box .thumbnail-item")
        self.send_button = page.locator("#box .submit-button")
        self.stop_button = page.locator("#box .stop-button")

    def attach(self, *files: dict) -> None:
        there = self.attached.count()
        self.page.set_input_files("#box input[type=file]", list(files))
        expect(self.attached).to_have_count(there + len(files))

    def send(self, text: str = "") -> None:
        self.box.fill(text)
        self.send_button.click()

    def ask(self, text: str = "", *files: dict) -> str:
        """Send and wait for the whole answer."""
        before = self.answers.count()
        if files:
            self.attach(*files)
        self.send(text)
        expect(self.answers).to_have_count(before + 1)
        self.wait()
        return self.answers.last.inner_text()

    def wait(self) -> None:
        expect(self.status).to_contain_text("token")
        expect(self.send_button).to_be_visible()

    def begin_anew(self) -> None:
        self.page.locator("#header [data-press=new]").click()

    @staticmethod
    def url_of(name: str) -> re.Pattern:
        """The address of an upload that is called `name`."""
        return re.compile(rf"/{re.escape(name)}\.\w+$")

    def press(self, name: str) -> None:
        """The last button of that name in the chat: Retry, Undo, Edit."""
        self.page.locator("#chat").get_by_role("button", name=name, exact=True).last.click()
