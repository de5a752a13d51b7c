"""Votes in a browser: thumbs only where the operator keeps them, a comment if the visitor likes."""

import json
import sys

import pytest
from playwright.sync_api import expect

from .chat import Chat, png
from .conftest import running

pytestmark = pytest.mark.browser


def test_without_a_file_there_are_no_thumbs(visit, echo_url):
    chat = Chat(visit(echo_url))
    chat.ask("hello")
    expect(chat.page.locator("#chat").get_by_role("button", name="Like", exact=True)).to_have_count(0)
    expect(chat.page.locator("#feedback")).to_have_count(0)


def test_a_vote_and_a_comment_are_kept(visit, tmp_path):
    kept = tmp_path / "votes.jsonl"
    with running([sys.executable, "-m", "tests.browser.echo_app", "0.02", str(kept)], tmp_path) as url:
        chat = Chat(visit(url))
        chat.ask("hello", png(64, 48))
        chat.ask("again")
        chat.press("Dislike")
        row = chat.page.locator("#feedback")
        expect(row).to_contain_text("kept on this server")
        assert row.bounding_box()["height"] < 200  # it leaves room for what it is about
        row.locator("input, textarea").fill("It only repeats me.")
        row.get_by_role("button", name="Send comment").click()
        expect(row).to_be_hidden()
        expect(chat.page.get_by_test_id("toast-body")).to_contain_text("your comment is kept")
    first, last = [json.loads(line) for line in kept.read_text().splitlines()]
    assert (first["rating"], first["comment"], first["question"]) == ("bad", "", "again")
    assert last == {**first, "time": last["time"], "comment": "It only repeats me."}
    assert last["answer"].endswith("You said: again") and last["preset"] == "echo"
