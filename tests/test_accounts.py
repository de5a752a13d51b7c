"""Accounts: what --auth takes, what it refuses in words, and what never appears anywhere. The login page behind it."""

import os

import httpx
import pytest

from minigpt4_model.serving.accounts import AccountsError, load_accounts

from .page_visitor import running_page

PASSWORD = "correct:horse"


def test_a_flag_and_a_file_give_accounts(tmp_path):
    file = tmp_path / "accounts"
    file.write_text(f"# who may come in\n\nalice:{PASSWORD}\nböb: spaced \n", "utf-8")
    file.chmod(0o600)
    accounts, warnings = load_accounts([str(file), "carol:c\ndave:d"])
    assert len(accounts) == 4 and warnings == []
    assert accounts.check("alice", PASSWORD) and accounts.check("böb", " spaced ") and accounts.check("dave", "d")
    assert not accounts.check("alice", "c") and not accounts.check("nobody", PASSWORD) and not accounts.check("", "")


def test_no_accounts_are_none():
    assert load_accounts([]) == (None, [])


@pytest.mark.parametrize("given", ["alice", "alice:", ":secret", "nowhere/accounts", "alice:secret\nbob"])
def test_what_is_no_account_is_told_without_the_password(given):
    with pytest.raises(AccountsError) as told:
        load_accounts([given])
    assert "--auth" in str(told.value) and "secret" not in str(told.value)


def test_an_empty_file_is_no_open_door(tmp_path):
    (tmp_path / "accounts").write_text("# nobody yet\n")
    with pytest.raises(AccountsError, match="no account"):
        load_accounts([str(tmp_path / "accounts")])


@pytest.mark.skipif(os.name != "posix", reason="there are no such permissions")
def test_a_file_that_others_can_read_is_told(tmp_path):
    file = tmp_path / "accounts"
    file.write_text("alice:secret\n")
    file.chmod(0o644)
    _, (warning,) = load_accounts([str(file)])
    assert f"chmod 600 {file}" in warning and "secret" not in warning


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    # As a Space's secret gives it.
    with running_page(tmp_path_factory.mktemp("uploads"), MINIGPT4_AUTH=f"alice:{PASSWORD}\nbob:builder") as page:
        yield page


def test_nothing_is_to_be_had_without_logging_in(served):
    url, _ = served
    with httpx.Client(base_url=url) as visitor:
        visitor.get("/").raise_for_status()  # the login page
        assert visitor.get("/config").status_code == 401
        assert visitor.get("/gradio_api/info").status_code == 401
        assert visitor.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "x"}).status_code == 401
        assert visitor.post("/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 401
        assert visitor.get("/healthz").status_code == 200


def test_who_has_an_account_comes_in(served):
    url, _ = served
    with httpx.Client(base_url=url) as visitor:
        assert visitor.post("/login", data={"username": "bob", "password": PASSWORD}).status_code == 400
        assert visitor.post("/login", data={"username": "bob", "password": "builder"}).status_code == 200
        assert visitor.get("/config").status_code == 200


def test_passwords_are_not_tried_without_end_and_never_logged(served):
    """The last test here: it uses up the attempts of this address."""
    url, written = served
    codes = [httpx.post(f"{url}/login", data={"username": "alice", "password": f"guess{n}"}).status_code for n in range(11)]
    assert codes[0] == 400 and codes[-1] == 429
    for words in (PASSWORD, "builder", "guess"):
        assert words not in "".join(written)
