"""One headless Chromium for all tests: Playwright's synchronous interface allows one at a time in a thread."""

import os
import shutil

import pytest

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
# A camera that shows a test picture; whether a page may use it is each test's to say.
CAMERA = ["--use-fake-device-for-media-stream"]
MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", MAC_CHROME)
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium():
    path = find_chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("No Chromium: scripts/test.sh should have installed it.")
        pytest.skip("No Chromium or Chrome is installed.")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS + CAMERA)
        yield browser
        browser.close()
