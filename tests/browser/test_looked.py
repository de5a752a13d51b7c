"""The panel that looks back, on a backend that only passes messages on."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_backend_that_cannot_look_back_says_so(visit, echo_url):
    page = visit(echo_url)
    page.locator("#header [data-panel=looked]").click()
    expect(page.locator("#panel-looked")).to_contain_text("does not tell where it looked")
    expect(page.locator("#looked-look")).to_have_count(0)
