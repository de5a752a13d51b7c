"""The verb `ask` and the verb table, on the echo backend: one question, batches, resuming, interruption, exit codes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from minigpt4_model import __main__ as verbs
from minigpt4_model.chat import ask, batch
from minigpt4_model.chat.backends import BACKENDS, open_backend
from minigpt4_model.chat.backends.base import BackendError
from minigpt4_model.chat.backends.echo import EchoBackend

ROOT = Path(__file__).parents[1]
FIELDS = {"id", "answer", "token_ids", "finish_reason", "usage", "timings"}
USAGE = {"image_tokens", "prompt_tokens", "reused_tokens", "completion_tokens"}


class Recorder(EchoBackend):
    """Echo that keeps what it was asked, and can be told to fail."""

    def __init__(self):
        super().__init__()
        self.asked, self.closed, self.fail_on = [], 0, {}

    def stream(self, messages, settings=None):
        self.asked.append((messages, settings))
        for text, failure in self.fail_on.items():
            if messages and messages[-1]["content"][-1] == {"type": "text", "text": text}:
                raise failure
        return super().stream(messages, settings)

    def close(self):
        self.closed += 1


@pytest.fixture
def backend(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(ask, "open_backend", lambda name, **options: recorder)
    return recorder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory with two pictures."""
    monkeypatch.chdir(tmp_path)
    PIL.Image.new("RGB", (16, 24), "red").save("red.png")
    PIL.Image.new("RGB", (400, 100), "blue").save("long.png")
    return tmp_path


def write_lines(path: str, *lines: dict | str, end: str = "\n") -> None:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + end for line in lines)
    Path(path).write_bytes(text.encode("utf-8", "surrogatepass"))


def read_lines(path: str) -> list[dict]:
    data = Path(path).read_bytes()
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def run_batch(*flags: str) -> int:
    return ask.main(["--batch", "in.jsonl", "--output", "out.jsonl", *flags])


def python(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment, **options)


# One question


def test_the_answer_goes_to_stdout_and_notices_to_stderr(here, capsys):
    assert ask.main(["--backend", "echo", "--image", "red.png", "--image", "long.png", "What is this?"]) == 0
    out, err = capsys.readouterr()
    assert out == "I received 2 pictures (16x24, 400x100) and 0 earlier questions. You said: What is this?\n"
    assert err.count("long.png is 4 times") == 1


def test_the_answer_is_streamed(here, monkeypatch, backend):
    written = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: written.append(words))
    assert ask.main(["one two"]) == 0
    assert len(written) > 5 and "".join(word for (word,) in written).endswith("You said: one two")


def test_json_prints_one_record(here, capsys):
    assert ask.main(["--backend", "echo", "--json", "--image", "red.png", "Grüße\u2028你好"]) == 0
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) == 1
    record = json.loads(out)
    assert set(record) == FIELDS and set(record["usage"]) == USAGE and set(record["timings"]) == {"encode_s", "ttft_s", "decode_s"}
    assert record["answer"].endswith("Grüße\u2028你好") and record["finish_reason"] == "stop" and record["usage"]["image_tokens"] == 32
    assert len(record["token_ids"]) == record["usage"]["completion_tokens"]


def test_settings_flags_reach_the_backend(here, backend):
    assert ask.main(["--max-new-tokens", "3", "--top-p", "0.5", "--seed", "7", "hi"]) == 0
    ((_, settings),) = backend.asked
    assert (settings.max_new_tokens, settings.top_p, settings.seed) == (3, 0.5, 7)
    assert settings.temperature == backend.description.settings.temperature and backend.closed == 1


def test_greedy_is_temperature_zero(here, backend):
    assert ask.main(["--greedy", "hi"]) == 0
    assert backend.asked[0][1].temperature == 0 and backend.asked[0][1].greedy


def test_length_is_said_in_the_record(here, capsys):
    assert ask.main(["--backend", "echo", "--json", "--max-new-tokens", "3", "hi"]) == 0
    assert json.loads(capsys.readouterr().out)["finish_reason"] == "length"


def test_the_system_text_comes_first(here, backend):
    assert ask.main(["--system", "Be brief.", "hi"]) == 0
    assert [message["role"] for message in backend.asked[0][0]] == ["system", "user"]


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_a_bad_picture_is_one_sentence_and_exit_1(here, capsys, backend, json_flag):
    assert ask.main([*json_flag, "--image", "gone.png", "hi"]) == 1
    out, err = capsys.readouterr()
    assert err == "error: There is no file gone.png.\n" and not backend.asked
    assert (json.loads(out) == {"id": None, "error": "There is no file gone.png."}) if json_flag else out == ""


def test_an_empty_question_is_refused(here, capsys):
    assert ask.main(["--backend", "echo", " "]) == 1
    assert "last message is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "give a QUESTION"),
        (["--image", "red.png"], "give a QUESTION"),
        (["--batch", "in.jsonl"], "needs --output"),
        (["--batch", "in.jsonl", "--output", "o", "hi"], "neither QUESTION nor --image"),
        (["--batch", "in.jsonl", "--output", "o", "--image", "a.png"], "neither QUESTION nor --image"),
        (["--output", "o", "hi"], "belong to --batch"),
        (["--resume", "hi"], "belong to --batch"),
        (["--greedy", "--temperature", "1", "hi"], "give one of the two"),
        (["--preset", "pocket", "--model", "d", "hi"], "not allowed with"),
        (["--load-in-8bit", "--load-in-4bit", "hi"], "not allowed with"),
        (["--preset", "nothing", "hi"], "invalid choice"),
        (["--top-p", "3", "hi"], "top_p must be between"),
        (["--temp", "1", "hi"], "unrecognized"),
    ],
)
def test_wrong_flags_exit_2_and_start_nothing(here, capsys, backend, flags, words):
    with pytest.raises(SystemExit) as caught:
        ask.main(flags)
    assert caught.value.code == 2 and words in capsys.readouterr().err and not backend.asked


def test_a_backend_that_cannot_open_is_one_sentence(here, capsys):
    assert ask.main(["--backend", "openai", "hi"]) == 1
    assert "--backend openai" in capsys.readouterr().err


def test_interrupting_an_answer_closes_it(here, capsys, backend):
    backend.fail_on = {"hi": KeyboardInterrupt()}
    assert ask.main(["hi"]) == 130
    assert backend.closed == 1 and "Interrupted" in capsys.readouterr().err


def test_a_closed_pipe_is_no_traceback(here):
    command = f'"{sys.executable}" -m minigpt4_model ask --backend echo "{"word " * 20000}" | head -c 10'
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.stdout == "I received" and run.stderr == ""


# Batches


def test_batch_answers_every_line_in_order(here, capsys, backend):
    write_lines(
        "in.jsonl",
        {"id": "a", "images": ["red.png"], "question": "What?"},
        {"id": 2, "question": "No picture?"},
        {"id": "c", "messages": [{"role": "user", "content": [{"type": "image", "image": "red.png"}, {"type": "text", "text": "And?"}]}]},
        {"id": "d", "images": ["red.png", "long.png"], "question": "Two?"},
    )
    assert run_batch() == 0
    records = read_lines("out.jsonl")
    assert [record["id"] for record in records] == ["a", 2, "c", "d"]
    assert all(set(record) == FIELDS for record in records)
    assert [record["usage"]["image_tokens"] for record in records] == [32, 0, 32, 64]
    assert [record["answer"].split("You said: ")[1] for record in records] == ["What?", "No picture?", "And?", "Two?"]
    assert backend.closed == 1
    out, err = capsys.readouterr()
    assert out == "" and "note: line 4: long.png is 4 times" in err and "4 answered, 0 failed, 0 kept" in err


def test_bad_lines_never_stop_the_others(here, backend):
    Path("notes.png").write_text("no picture")
    backend.fail_on = {"explode": RuntimeError("out of memory"), "refuse": BackendError("Too long.")}
    write_lines(
        "in.jsonl",
        "{not json",
        {"question": "no id"},
        {"id": "gone", "images": ["gone.png"], "question": "?"},
        {"id": "text", "images": ["notes.png"], "question": "?"},
        {"id": "empty", "messages": []},
        {"id": "role", "messages": [{"role": "robot", "content": "hi"}]},
        {"id": "number", "images": [3], "question": "?"},
        {"id": "single", "image": "red.png", "question": "?"},
        {"id": "string", "images": "red.png", "question": "?"},
        {"id": "nothing"},
        {"id": "both", "question": "?", "messages": []},
        {"id": "setting", "question": "?", "settings": {"temprature": 1}},
        {"id": "range", "question": "?", "settings": {"top_p": 5}},
        {"id": "list", "question": "?", "settings": [1]},
        {"id": "boom", "question": "explode"},
        {"id": "no", "question": "refuse"},
        "[1, 2]",
        {"id": "good", "question": "fine?"},
        {"id": "good", "question": "again?"},
        {"id": {"deep": 1}, "question": "?"},
    )
    assert run_batch() == 1
    records = read_lines("out.jsonl")
    assert [set(record) for record in records if record["id"] != "good"] == [{"id", "error"}] * 18
    words = [
        (None, "line 1 is not JSON"),
        (None, 'line 2 has no "id"'),
        ("gone", "no file gone.png"),
        ("text", "notes.png is not a picture"),
        ("empty", "at least one message"),
        ("role", '"role" must be one of'),
        ("number", "by its path"),
        ("single", '"images": ["a.jpg"]'),
        ("string", '"images": ["a.jpg"]'),
        ("nothing", 'no "question"'),
        ("both", "not both"),
        ("setting", "no setting called temprature"),
        ("range", "top_p must be between"),
        ("list", '"settings" must be an object'),
        ("boom", "out of memory"),
        ("no", "Too long."),
        (None, "line 17 must be an object"),
        ("good", None),
        ("good", "line 19 has the id of line 18"),
        (None, 'line 20 has no "id"'),
    ]
    assert [record["id"] for record in records] == [id_ for id_, _ in words]
    for record, (_, sentence) in zip(records, words, strict=True):
        assert "answer" in record if sentence is None else sentence in record["error"]


def test_byte_order_mark_blank_lines_and_crlf(here, backend):
    write_lines("in.jsonl", '\ufeff{"id": 1, "question": "a\u2028b"}', "", "   ", '{"id": 2, "question": "c"}', end="\r\n")
    assert run_batch() == 0
    assert [record["id"] for record in read_lines("out.jsonl")] == [1, 2]
    assert len(Path("out.jsonl").read_text("utf-8").splitlines()) == 2  # also for readers that end lines at U+2028
    assert read_lines("out.jsonl")[0]["answer"].endswith("a\u2028b")


def test_text_that_is_not_unicode(here, backend):
    Path("in.jsonl").write_bytes(b'{"id": 1, "question": "\xff"}\n{"id": "\\ud800", "question": "half \\udfff"}\n')
    assert run_batch() == 1
    bad, half = read_lines("out.jsonl")
    assert "line 1 is not UTF-8" in bad["error"]
    assert half["id"] == "\ud800" and half["answer"].endswith("half \ufffd")
    assert run_batch("--resume") == 1 and len(backend.asked) == 1


def test_relative_pictures_are_beside_the_batch_file_or_here(here, backend):
    (here / "set").mkdir()
    PIL.Image.new("RGB", (50, 50)).save(here / "set" / "red.png")
    write_lines(
        "set/in.jsonl", *({"id": name, "images": [name], "question": "?"} for name in ("red.png", "long.png", str(here / "red.png")))
    )
    assert ask.main(["--batch", "set/in.jsonl", "--output", "out.jsonl"]) == 0
    assert [record["answer"].split("(")[1].split(")")[0] for record in read_lines("out.jsonl")] == ["50x50", "400x100", "16x24"]


def test_settings_and_system_of_a_line(here, backend):
    own = [{"role": "system", "content": "mine"}, {"role": "user", "content": "b"}]
    write_lines("in.jsonl", {"id": 1, "question": "a", "settings": {"temperature": 1.5, "seed": 3}}, {"id": 2, "messages": own})
    assert run_batch("--greedy", "--top-p", "0.5", "--system", "flag") == 0
    (first, settings), (second, plain) = backend.asked
    assert (settings.temperature, settings.seed, settings.top_p) == (1.5, 3, 0.5) and (plain.temperature, plain.seed) == (0, None)
    assert [message["content"] for message in second] == ["mine", "b"] and first[0]["content"][0]["text"] == "flag"


def test_an_existing_output_is_not_overwritten(here, capsys, backend):
    write_lines("in.jsonl", {"id": 1, "question": "a"})
    Path("out.jsonl").write_text("precious\n")
    assert run_batch() == 2
    assert "add --resume" in capsys.readouterr().err
    assert run_batch("--resume") == 2
    assert "line 1 is not an answer record" in capsys.readouterr().err
    Path("out.jsonl").write_text("precious")
    assert run_batch("--resume") == 2
    assert Path("out.jsonl").read_text() == "precious" and not backend.asked


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--batch", "gone.jsonl", "--output", "o"], "--batch gone.jsonl cannot be read"),
        (["--batch", "in.jsonl", "--output", "no/such/o"], "no folder"),
        (["--batch", "in.jsonl", "--output", "."], "not an ordinary file"),
        (["--batch", "in.jsonl", "--output", "/dev/null"], "not an ordinary file"),
        (["--batch", "in.jsonl", "--output", "in.jsonl", "--resume"], "the --batch file itself"),
    ],
)
def test_files_that_cannot_be_used(here, capsys, backend, flags, words):
    write_lines("in.jsonl", {"id": 1, "question": "a"})
    before = Path("in.jsonl").read_bytes()
    assert ask.main(flags) == 2
    assert words in capsys.readouterr().err and not backend.asked and Path("in.jsonl").read_bytes() == before


def test_resume_asks_only_what_is_missing_and_keeps_the_order(here, capsys, backend):
    lines = [{"id": number, "question": f"question {number}"} for number in range(6)]
    backend.fail_on = {"question 1": BackendError("Busy."), "question 4": BackendError("Busy.")}
    write_lines("in.jsonl", *lines[:5])
    assert run_batch() == 1
    kept = read_lines("out.jsonl")[0]
    backend.asked.clear()
    backend.fail_on = {"question 4": BackendError("Still busy.")}
    write_lines("in.jsonl", *lines)
    assert run_batch("--resume") == 1
    assert [messages[-1]["content"][-1]["text"] for messages, _ in backend.asked] == ["question 1", "question 4", "question 5"]
    records = read_lines("out.jsonl")
    assert [record["id"] for record in records] == list(range(6)) and records[0] == kept
    assert [record["id"] for record in records if "error" in record] == [4] and records[4]["error"] == "Still busy."
    assert "2 answered, 1 failed, 3 kept" in capsys.readouterr().err
    backend.fail_on = {}
    assert run_batch("--resume") == 0 and not [record for record in read_lines("out.jsonl") if "error" in record]


def test_resume_without_anything_left_opens_no_model(here, monkeypatch, backend):
    write_lines("in.jsonl", {"id": 1, "question": "a"})
    assert run_batch() == 0
    before = Path("out.jsonl").stat()
    monkeypatch.setattr(ask, "open_backend", lambda *_, **__: pytest.fail("opened"))
    assert run_batch("--resume") == 0
    assert Path("out.jsonl").stat().st_ino == before.st_ino and Path("out.jsonl").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_resume_drops_a_torn_last_line(here, capsys, backend, cut):
    write_lines("in.jsonl", *({"id": number, "question": f"question {number}"} for number in range(3)))
    assert run_batch() == 0
    whole = Path("out.jsonl").read_bytes()
    Path("out.jsonl").write_bytes(whole[:-cut])
    backend.asked.clear()
    assert run_batch("--resume") == 0
    assert [record["id"] for record in read_lines("out.jsonl")] == [0, 1, 2]
    assert len(backend.asked) == (0 if cut == 1 else 1)  # without its newline alone a record is still whole
    assert ("cut off" in capsys.readouterr().err) == (cut > 1)


def test_resume_refuses_answers_to_other_questions(here, capsys, backend):
    write_lines("in.jsonl", {"id": 1, "question": "a"}, {"id": 2, "question": "b"})
    assert run_batch() == 0
    before = Path("out.jsonl").read_bytes()
    write_lines("in.jsonl", {"id": 2, "question": "b"})
    assert run_batch("--resume") == 2
    assert "1 answers to ids that in.jsonl does not have (1)" in capsys.readouterr().err and Path("out.jsonl").read_bytes() == before


def test_interrupting_a_batch_leaves_whole_lines_in_order(here, backend):
    write_lines("in.jsonl", *({"id": number, "question": f"question {number}"} for number in range(4)))
    backend.fail_on = {"question 0": BackendError("Busy.")}
    assert run_batch() == 1
    Path("out.jsonl").write_text("".join(Path("out.jsonl").read_text().splitlines(keepends=True)[:2]))  # an error, an answer
    backend.fail_on = {"question 2": KeyboardInterrupt()}
    assert run_batch("--resume") == 130
    assert [record["id"] for record in read_lines("out.jsonl")] == [0, 1] and backend.closed == 2
    assert sorted(path.name for path in here.iterdir()) == ["in.jsonl", "long.png", "out.jsonl", "red.png"]


def test_a_full_disk_keeps_what_was_answered(here, capsys, monkeypatch, backend):
    write_lines("in.jsonl", {"id": 1, "question": "a"}, {"id": 2, "question": "b"})
    dump = batch.dump_record

    def full(record):
        if record["id"] == 2:
            raise OSError(28, "No space left on device")
        return dump(record)

    monkeypatch.setattr(batch, "dump_record", full)
    assert run_batch() == 1
    assert "No space left" in capsys.readouterr().err and [record["id"] for record in read_lines("out.jsonl")] == [1]


SLOW = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from minigpt4_model.chat import ask
from minigpt4_model.chat.backends.echo import EchoBackend
ask.open_backend = lambda *_, **__: EchoBackend(seconds_per_word=0.01)
sys.exit(ask.main(["--batch", "in.jsonl", "--output", "out.jsonl", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("sent, code", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_killed_batch_resumes_to_the_same_answers(here, sent, code):
    write_lines("in.jsonl", *({"id": number, "question": f"question {number}"} for number in range(12)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([sys.executable, "-c", SLOW], cwd=here, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (Path("out.jsonl").exists() and Path("out.jsonl").read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    running.send_signal(sent)
    assert running.wait(timeout=30) == code
    before = read_lines("out.jsonl")
    assert 3 <= len(before) < 12
    assert python("-c", SLOW, "--resume", cwd=here).returncode == 0
    after = read_lines("out.jsonl")
    assert [record["id"] for record in after] == list(range(12)) and after[: len(before)] == before


def test_a_progress_bar_only_for_people(here, capsys, monkeypatch, backend):
    write_lines("in.jsonl", {"id": 1, "question": "a"})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run_batch() == 0
    assert "1/1" in capsys.readouterr().err


# The verb table and the backend table


def test_help_lists_the_verbs(capsys):
    assert verbs.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out and line in out for verb, (_, line) in verbs.VERBS.items())


@pytest.mark.parametrize("argv", [[], ["sing"], ["--loud"]])
def test_an_unknown_verb_exits_2_with_the_list(capsys, argv):
    assert verbs.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and all(verb in err for verb in verbs.VERBS)


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_verb_s_module_is_there(verb):
    assert importlib.util.find_spec(verbs.VERBS[verb][0]) is not None


def test_ask_from_the_command_line(here):
    run = python("-m", "minigpt4_model", "ask", "--backend", "echo", "--image", "red.png", "Wie geht's? 你好", cwd=here)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "I received 1 picture (16x24) and 0 earlier questions. You said: Wie geht's? 你好\n"


@pytest.mark.parametrize("name", ["torch", "minigpt4_model.nothing"])
def test_a_package_that_is_not_there_is_one_sentence_but_a_fault_of_ours_is_not(monkeypatch, capsys, name):
    def main(argv):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(ask, "main", main)
    if name == "torch":
        assert verbs.main(["ask", "hi"]) == 1
        told = capsys.readouterr().err
        assert "has no package torch" in told and ".venv/bin/python" in told and told.count("\n") == 1
    else:
        with pytest.raises(ModuleNotFoundError):
            verbs.main(["ask", "hi"])


def test_backends_open_by_name():
    assert isinstance(open_backend("echo", preset=None, model=None), EchoBackend)
    with pytest.raises(BackendError, match="http://127.0.0.1:1 cannot be reached"):
        open_backend("openai", base_url="http://127.0.0.1:1")
    with pytest.raises(BackendError) as caught:
        open_backend("telepathy")
    assert all(name in str(caught.value) for name in BACKENDS)
    with pytest.raises(BackendError, match="no such preset"):
        open_backend("torch", preset="nothing")


@pytest.mark.parametrize(
    ("fault", "options", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried 2 GiB"), {}, "does not fit into the memory: try --load-in-8bit or --load-in-4bit"),
        (MemoryError(), {"load_in_8bit": True}, "try --load-in-4bit"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), {"device": "cpu"}, "of --device cpu"),
        (RuntimeError("CUDA driver error\nfar below"), {"device": "cuda:0"}, "with --device cuda:0: CUDA driver error\nTry --device cpu"),
        (ImportError("bitsandbytes is too old"), {"load_in_4bit": True}, "with --load-in-4bit: bitsandbytes is too old\n"),
        (RuntimeError(), {}, "could not be loaded: RuntimeError"),
    ],
)
def test_what_a_device_says_becomes_a_sentence_with_a_flag(monkeypatch, fault, options, words):
    from minigpt4_model.chat import load

    def load_engine(*arguments, **keywords):
        raise fault

    monkeypatch.setattr(load, "load_engine", load_engine)
    with pytest.raises(BackendError) as caught:
        open_backend("torch", **options)
    assert words in str(caught.value)


def test_a_folder_named_like_a_preset_is_a_model_only_by_its_flag(here, monkeypatch):
    from minigpt4_model.chat import load

    opened = []
    monkeypatch.setattr(load, "load_engine", lambda source, **options: opened.append(source))
    open_backend("torch", preset="pocket")
    open_backend("torch", model="pocket")
    assert opened == ["pocket", Path("pocket")]


@pytest.mark.parametrize("flag", ["--load-in-8bit", "--load-in-4bit"])
def test_fewer_bits_reach_the_backend(monkeypatch, flag):
    opened = []
    monkeypatch.setattr(ask, "open_backend", lambda name, **options: opened.append(options) or Recorder())
    assert ask.main(["hi"]) == ask.main([flag, "hi"]) == 0
    assert opened[1] == {**opened[0], flag[2:].replace("-", "_"): True} != opened[0]
