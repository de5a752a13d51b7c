"""What is deleted after a time, and what stays; whose requests are whose; what a browser is told."""

import time

import PIL.Image
import pytest

from minigpt4_model.chat.pictures import load_picture
from minigpt4_model.serving.headers import security_headers
from minigpt4_model.serving.health import room_for_uploads
from minigpt4_model.serving.visitors import Visitors, address_of
from minigpt4_model.ui.cleaning import Cleaner
from minigpt4_model.ui.conversation import ConversationStore
from minigpt4_model.ui.private_files import FileGrants
from tests.coroutines import run


def test_old_uploads_go_and_pictures_go_with_their_conversation(tmp_path):
    folder, kept = tmp_path / "uploads", tmp_path / "uploads" / "pictures"
    store = ConversationStore(kept, idle_seconds=0.2, fresh_seconds=0)
    conversation = store.open()
    stored = store.store_picture(load_picture(PIL.Image.new("RGB", (9, 9))), "a.png")
    conversation.ask("what", [stored])
    grants = FileGrants()
    upload, example = folder / "abc" / "upload.png", folder / "def" / "example.png"
    for path in (upload, example):
        path.parent.mkdir()
        path.write_bytes(b"x")
        grants.grant(str(path), "somebody")
    grants.publish(str(example))
    cleaner = Cleaner(folder, kept, store, grants, keep_seconds=0.2)
    cleaner.sweep()
    assert upload.exists() and stored.path.exists()
    time.sleep(0.3)
    fresh = folder / "ghi" / "fresh.png"
    fresh.parent.mkdir()
    fresh.write_bytes(b"x")
    cleaner.sweep()
    assert not upload.exists() and not grants.allows(str(upload), "somebody")
    assert not stored.path.exists() and len(store) == 0
    assert example.exists() and fresh.exists() and kept.exists()
    time.sleep(0.3)
    cleaner.sweep()
    assert not upload.parent.exists() and not fresh.exists()


def test_sweeping_goes_on_by_itself_until_it_is_stopped(tmp_path):
    store = ConversationStore(tmp_path / "pictures", idle_seconds=0.1)
    store.open()
    cleaner = Cleaner(tmp_path, tmp_path / "pictures", store, FileGrants(), keep_seconds=0.1)
    cleaner.start()
    deadline = time.monotonic() + 30
    while len(store) and time.monotonic() < deadline:
        time.sleep(0.02)
    cleaner.stop()
    assert len(store) == 0


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("203.0.113.7", 1), "203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("::ffff:203.0.113.7", 1), "203.0.113.7"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("testclient", 1), "testclient"),
        (None, "unknown"),
    ],
)
def test_an_address_is_one_visitors(client, address):
    assert address_of({"client": client}) == address


def cookie_of_a_page(scheme: str) -> str:
    """The cookie that a page brings to a new visitor."""
    sent = []

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html; charset=utf-8")]})

    async def send(message):
        sent.append(message)

    run(Visitors(page)({"type": "http", "scheme": scheme, "headers": [], "client": ("127.0.0.1", 1)}, None, send))
    return dict(sent[0]["headers"])[b"set-cookie"].decode()


def test_the_cookie_fits_where_the_page_is(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert "Secure" not in cookie_of_a_page("http") and "Secure" in cookie_of_a_page("https")
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert cookie_of_a_page("http").endswith("HttpOnly; Secure; SameSite=None; Partitioned")


def test_only_a_spaces_page_may_be_framed_by_the_hub(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert security_headers()["Content-Security-Policy"].endswith("frame-ancestors 'self'")
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert "frame-ancestors 'self' https://huggingface.co" in security_headers()["Content-Security-Policy"]


def test_a_full_or_missing_folder_is_told(tmp_path):
    assert room_for_uploads(tmp_path, 1)() == ""
    assert "room for" in room_for_uploads(tmp_path, 10**18)()
    assert "cannot be kept" in room_for_uploads(tmp_path / "gone", 1)()
