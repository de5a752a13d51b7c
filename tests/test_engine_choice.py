"""Which engine is taken, and that what llama.cpp can't do here is told instead of tried."""

import importlib.metadata

import pytest

from minigpt4_model.weights import engine_choice, llama_cpp_library
from minigpt4_model.weights.engine_choice import choose_engine
from minigpt4_model.weights.errors import WeightsError


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(engine_choice, "find_library", lambda: "a library")


POCKET_ON_CPU = {"frozen_parts": "pocket", "device": "cpu"}


def test_a_gguf_preset_on_a_cpu_takes_llama_cpp(there):
    for wanted in (None, "auto", "llama.cpp"):
        assert choose_engine(wanted, **POCKET_ON_CPU).name == "llama.cpp"
    assert choose_engine("torch", **POCKET_ON_CPU).name == "torch"


@pytest.mark.parametrize(
    "other, words",
    [
        ({"device": "cuda:1"}, "runs on cuda:1"),
        ({"device": "mps"}, "runs on mps"),
        ({"dtype": "float32"}, "--dtype float32"),
        ({"bits": 4}, "--load-in-4bit"),
        ({"frozen_parts": None}, "as a GGUF"),
        ({"frozen_parts": "vicuna-7b"}, "as a GGUF"),
    ],
)
def test_everything_else_takes_torch_and_says_why(there, other, words):
    choice = choose_engine("auto", **{**POCKET_ON_CPU, **other})
    assert choice.name == "torch" and words in choice.why
    with pytest.raises(WeightsError, match="--engine llama.cpp: .*" + words):
        choose_engine("llama.cpp", **{**POCKET_ON_CPU, **other})


def test_no_library_means_torch(monkeypatch):
    def missing():
        raise WeightsError("It is not there.")

    monkeypatch.setattr(engine_choice, "find_library", missing)
    assert choose_engine("auto", **POCKET_ON_CPU) == engine_choice.EngineChoice("torch", "It is not there.")
    with pytest.raises(WeightsError, match="not there"):
        choose_engine("llama.cpp", **POCKET_ON_CPU)


def test_an_unknown_name_is_refused():
    with pytest.raises(WeightsError, match="--engine tensorrt: choose one of auto, torch, llama.cpp"):
        choose_engine("tensorrt", **POCKET_ON_CPU)


@pytest.mark.parametrize(
    "patch, words",
    [
        (lambda patch: patch.setattr(llama_cpp_library.sys, "platform", "win32"), "this is win32"),
        (lambda patch: patch.setattr(llama_cpp_library.platform, "machine", lambda: "aarch64"), "with aarch64"),
        (lambda patch: patch.setattr(llama_cpp_library, "cpu_flags", lambda: ["sse2", "avx2", "fma"]), "f16c, bmi2"),
        (lambda patch: patch.setattr(importlib.metadata, "version", lambda name: "2020.1"), "2020.1 is installed, and only"),
        (lambda patch: patch.setattr(llama_cpp_library, "PACKAGE", "no-such-package"), "not installed. Install it: .*pip install"),
        (lambda patch: patch.setattr(llama_cpp_library.importlib.util, "find_spec", lambda name: None), "no shared object"),
    ],
)
def test_a_library_that_can_not_run_is_told(monkeypatch, patch, words):
    monkeypatch.setattr(llama_cpp_library.sys, "platform", "linux")
    monkeypatch.setattr(llama_cpp_library.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(llama_cpp_library, "cpu_flags", lambda: ["avx2", "fma", "f16c", "bmi2"])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found(name))

    def found(name):
        if name == llama_cpp_library.PACKAGE and name != "no-such-package":
            return llama_cpp_library.VERSION
        raise importlib.metadata.PackageNotFoundError

    patch(monkeypatch)
    with pytest.raises(WeightsError, match=words):
        llama_cpp_library.find_library()


def test_another_layout_is_refused_before_anything_is_called(monkeypatch):
    try:
        llama_cpp_library.find_library()
    except WeightsError as error:
        pytest.skip(str(error))
    from minigpt4_model.chat.llama_cpp import binding

    binding.load_library()
    monkeypatch.setitem(binding._KNOWN_CONTEXT, "n_batch", 4096)
    with pytest.raises(WeightsError, match=r"in another way \(n_batch\)"):
        binding.load_library.__wrapped__()


def test_what_stops_torch_too_is_told_once(monkeypatch, caplog):
    from minigpt4_model.chat import load

    monkeypatch.setattr(load, "choose_engine", lambda *_, **__: engine_choice.EngineChoice("llama.cpp", "made up"))
    with pytest.raises(WeightsError, match="'cpu=much' is no amount of a device"):
        load.load_engine("pocket", device="cpu", max_memory="cpu=much")
    assert "llama.cpp can't be used" not in caplog.text
