"""Pages that runs leave behind: no word makes them wider than the screen, and they are dark where the visitor's screen is."""

import PIL.Image
import pytest

from minigpt4_model.chat.pictures import LoadedPicture
from minigpt4_model.training.objective import SampleAnswer
from minigpt4_model.training.run_report import write_report
from minigpt4_model.training.sample_page import add_samples
from minigpt4_model.training.sources.sample import Sample
from minigpt4_model.training.sources.sheet import write_sheet

pytestmark = pytest.mark.browser
LONG = "1" + "0" * 300


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    picture = PIL.Image.new("RGB", (400, 300), "red")
    for step in (0, 10, 20):
        add_samples(folder, step, [SampleAnswer(picture, LONG, LONG, LONG)])
    facts = {"steps": 20, "seconds": 61.0, "processes": 1, "device": "cpu", "settings": {"--data": LONG}, "notices": [LONG]}
    write_report(folder, facts)
    content = [{"type": "image", "image": LoadedPicture(picture, "0")}, {"type": "text", "text": LONG}]
    write_sheet(folder / "sheet.html", LONG, [Sample(LONG, [{"role": "user", "content": content}], LONG, 0)])
    return folder


@pytest.mark.parametrize("name", ["samples.html", "report.html", "sheet.html"])
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (390, "light"), (1280, "dark")])
def test_pages_fit_the_screen_and_its_colours(chromium, pages, name, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.goto((pages / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 28)") == (scheme == "dark")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth)") and not troubles
    # A cell's words end before the next cell begins.
    wide = "[...document.querySelectorAll('th, td, dd, p, li')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert page.evaluate(wide) == 0
    context.close()
