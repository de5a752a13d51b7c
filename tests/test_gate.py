"""What visitors can do to each other and to the machine through the page's server: nothing. And how much they may ask."""

import http.client
import re
from types import SimpleNamespace

import httpx
import PIL.Image
import pytest
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse

from minigpt4_model.serving.limits import RateLimit
from minigpt4_model.serving.visitors import Visitors
from minigpt4_model.ui.gate import LOOKS_PER_QUESTION, Gate
from minigpt4_model.ui.panel import ANSWER, LOOK

from .page_visitor import PageVisitor, files_shown, png, running_page

QUESTIONS_PER_MINUTE = 12


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    flags = ["--questions-per-minute", str(QUESTIONS_PER_MINUTE), "--max-file-mb", "1", "--max-answer-tokens", "50"]
    with running_page(tmp_path_factory.mktemp("uploads"), *flags) as page:
        yield page


@pytest.fixture(scope="module")
def url(served):
    return served[0]


@pytest.fixture
def two(url):
    return PageVisitor(url).open(), PageVisitor(url).open()


def test_an_upload_is_its_visitors_own(two):
    mine, other = two
    path = mine.upload("secret.png", png(31, 21))
    assert (mine.file_status(path), other.file_status(path)) == (200, 404)
    unknown = other.http.get(f"/gradio_api/file={path}x")
    assert unknown.text == other.http.get(f"/gradio_api/file={path}").text  # nor is it told that there is such a file
    assert other.status(f"/gradio_api/file/{path}") == 404  # the old address
    assert PageVisitor(other.http.base_url).file_status(path) == 404  # nobody in particular


def test_the_same_picture_from_two_visitors_is_each_ones_own(two):
    mine, other = two
    path = mine.upload("same.png", png(32, 21))
    assert other.file_status(path) == 404
    assert other.upload("same.png", png(32, 21)) == path
    assert (mine.file_status(path), other.file_status(path)) == (200, 200)


def test_a_path_written_in_another_way_opens_nothing(two):
    mine, _ = two
    path = mine.upload("own.png", png(33, 21))
    folder, name = path.rsplit("/", 1)
    server = mine.http.base_url
    for other_way in (f"{folder}/./{name}", f"{folder}/../{folder.rsplit('/', 1)[1]}/{name}", f"/{path}"):
        # http.client sends an address as it is; others tidy it up.
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in mine.http.cookies.jar)
        connection.request("GET", f"/gradio_api/file={other_way}", headers={"Cookie": cookies})
        assert connection.getresponse().status == 404, other_way
        connection.close()


def test_what_a_conversation_shows_is_its_visitors_own(two):
    mine, other = two
    answer = mine.ask("what is it", [mine.upload("shown.png", png(34, 21))])
    assert "1 picture (34x21)" in answer
    shown = files_shown(answer)
    assert shown
    for path in shown:
        assert (mine.file_status(path), other.file_status(path)) == (200, 404)


def test_nobody_asks_about_anothers_picture(two):
    mine, other = two
    path = mine.upload("private.png", png(35, 21))
    refused = other.join("what is it", [path])
    assert refused.status_code == 403
    assert "yours" in refused.json()["detail"]


def test_nobody_asks_about_a_file_of_the_machine(two, tmp_path):
    PIL.Image.new("RGB", (36, 21)).save(tmp_path / "home.png")
    mine, _ = two
    for path in (str(tmp_path / "home.png"), "minigpt4_model/ui/screenshot.png", "http://127.0.0.1:9/x.png", "file:///etc/hostname"):
        assert mine.join("what is it", [path]).status_code == 403, path


def test_the_examples_are_everybodys(two):
    mine, other = two
    icons = files_shown(mine.http.get("/config").text)
    assert icons
    assert {visitor.file_status(path) for path in icons for visitor in (mine, other)} == {200}


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/vibe-code/",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/queue/status",
        "/gradio_api/openapi.json",
        "/gradio_api/runs",
        "/docs",
        "/openapi.json",
    ],
)
def test_doors_that_the_page_does_not_need_are_closed(url, path):
    assert httpx.get(url + path).status_code == 404


@pytest.mark.parametrize("path", ["/gradio_api/component_server", "/gradio_api/vibe-edit", "/gradio_api/process_recording"])
def test_nor_can_anything_be_sent_there(url, path):
    assert httpx.post(url + path, json={}).status_code == 404


def test_too_large_a_file_is_refused_in_words(two):
    mine, _ = two
    refused = mine.http.post("/gradio_api/upload", files={"files": ("large.png", b"x" * 1_100_000, "image/png")})
    assert refused.status_code == 413 and "maximum allowed size" in refused.text
    refused = mine.http.post("/gradio_api/upload", files=[("files", (f"{n}.png", b"x" * 900_000, "image/png")) for n in range(12)])
    assert refused.status_code == 413 and "together" in refused.text


def test_a_body_without_a_length_is_refused(two):
    mine, _ = two
    assert mine.http.post("/gradio_api/upload", content=iter([b"x"]), headers={"content-type": "multipart/form-data"}).status_code == 411


def test_a_body_that_is_no_json_is_refused(two):
    mine, _ = two
    assert mine.http.post("/gradio_api/queue/join", content=b"{", headers={"content-type": "application/json"}).status_code == 400


def test_nothing_is_uploaded_where_there_is_no_room():
    async def page(scope, receive, send):
        raise AssertionError("the upload went through")

    gate = Gate(page, None, RateLimit(0), 10**6, passes=lambda scope: False, checks=[lambda: "", lambda: "There is no room."])
    refused = TestClient(Visitors(gate)).post("/gradio_api/upload", files={"files": ("a.png", b"x")})
    assert (refused.status_code, refused.text) == (507, "There is no room.")


def test_looks_back_at_answers_have_a_rate_of_their_own():
    async def page(scope, receive, send):
        await PlainTextResponse("through")(scope, receive, send)

    parts = SimpleNamespace(
        fns={1: SimpleNamespace(concurrency_id=ANSWER), 2: SimpleNamespace(concurrency_id=LOOK), 3: SimpleNamespace(concurrency_id="3")}
    )
    gate = Gate(page, parts, RateLimit(2), 10**6, passes=lambda scope: False)
    client = TestClient(Visitors(gate), headers={"accept-language": "zh-CN"})

    def ask(number, times):
        replies = [client.post("/gradio_api/queue/join", json={"fn_index": number, "data": []}) for _ in range(times)]
        return [reply.status_code for reply in replies], replies[-1]

    assert ask(1, 3)[0] == [200, 200, 429]
    looks, refused = ask(2, 2 * LOOKS_PER_QUESTION + 1)
    assert looks == [200] * 2 * LOOKS_PER_QUESTION + [429]
    assert "每位访客每分钟最多回顾 4 次" in refused.json()["detail"]
    assert ask(3, 20)[0] == [200] * 20


def test_the_visitors_cookie_is_unreadable_to_scripts(url):
    (cookie,) = [value for value in httpx.get(url).headers.get_list("set-cookie") if value.startswith("minigpt4-visitor=")]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "set-cookie" not in httpx.get(f"{url}/healthz").headers


def test_a_visitor_without_cookies_has_their_uploads_too(url):
    mine, other = PageVisitor(url, **{"user-agent": "one"}), PageVisitor(url, **{"user-agent": "another"})
    path = mine.upload("bare.png", png(37, 21))
    assert (mine.file_status(path), other.file_status(path)) == (200, 404)


def test_metrics_are_this_machines(url):
    here = httpx.get(f"{url}/metrics")
    assert here.status_code == 200
    assert 'minigpt4_model_info{device="none",model="echo"} 1.0' in here.text
    assert re.search(r'minigpt4_answers_total\{ended="stop"\} [1-9]', here.text)
    assert "minigpt4_conversations " in here.text and "minigpt4_answers_in_progress 0.0" in here.text
    for header in ("x-forwarded-for", "forwarded", "x-real-ip"):
        assert httpx.get(f"{url}/metrics", headers={header: "203.0.113.5"}).status_code == 404


def test_the_longest_answer_bounds_the_slider(two):
    controls = {component["props"].get("elem_id"): component["props"] for component in two[0].config["components"]}
    for place in ("setting", "compare-a", "compare-b"):
        slider = controls[f"{place}-max_new_tokens"]
        assert (slider["maximum"], slider["value"]) == (50, 50)


def test_questions_beyond_the_limit_are_refused_in_words(two):
    """The last test here: it uses up what the address may ask."""
    mine, other = two
    answers = [mine.join("again") for _ in range(QUESTIONS_PER_MINUTE + 1)]
    refused = answers[-1]
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert re.fullmatch(r"Only 12 questions a minute are taken from one visitor\. Try again in \d+ s\.", refused.json()["detail"])
    assert other.join("a new cookie does not help").status_code == 429
    assert "process_completed" in PageVisitor(mine.http.base_url).open().begin()  # the page itself opens as before


def test_nothing_of_it_all_was_logged(served):
    written = "".join(served[1])
    for words in ("secret.png", "what is it", "private", "again", "home.png"):
        assert words not in written
