"""The sub-verbs as a person types them: describe, refine, clean, status; killed, interrupted and run again."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minigpt4_model.chat.backends.base import Answer, Usage
from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.curation import describe
from minigpt4_model.curation.cost import Prices, estimate_cost, estimate_tokens
from minigpt4_model.curation.curate import main
from minigpt4_model.curation.describers import BackendDescriber, Said
from minigpt4_model.curation.pictures import take_pictures
from minigpt4_model.curation.project import Project, add_text
from minigpt4_model.curation.prompts import read_describe_prompts, read_questions, read_refine_prompt
from tests.curation_project import build_project, description, write_pictures
from tests.openai_endpoint import KEY, content, serving, status
from tests.tiny_chat import build_chatml_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def quick_attempts(monkeypatch):
    """Waits between attempts are the endpoint's business and tested there."""
    from minigpt4_model.curation import endpoint

    monkeypatch.setattr(endpoint, "_LONGEST_WAIT_S", 0.01)


def texts(project: Path, step: str) -> list[str]:
    return [row["text"] for row in Project(project).rows("SELECT text FROM texts WHERE step = ? ORDER BY item_id, id", step)]


# --- describe


def test_an_endpoint_describes_and_is_asked_to_continue(server, tmp_path, capsys):
    pictures = write_pictures(tmp_path / "pictures", 3)
    command = ["describe", str(pictures), "--project", str(tmp_path / "p"), "--base-url", server.base_url, "--temperature", "0.2"]
    assert main(command) == 0
    assert texts(tmp_path / "p", "describe")[0] == "A picture of 40 by 30 pixels. There is more."
    questions = [request["messages"][-1]["text"] for request in server.requests]
    assert questions.count("Continue") == 3 and questions[0].startswith("Describe this image in detail. Give as many")
    assert all(request["temperature"] == 0.2 and "max_tokens" not in request for request in server.requests)
    assert [message["role"] for message in server.requests[-1]["messages"]] == ["user", "assistant", "user"]
    row = Project(tmp_path / "p").row("SELECT author, details FROM texts")
    assert row["author"] == "mender" and json.loads(row["details"]) == {"tokens": [7, 3], "finish_reason": "stop", "continued": True}
    capsys.readouterr()
    assert main(command) == 0 and len(server.requests) == 6
    assert "Every picture has its description" in capsys.readouterr().out


def test_long_answers_are_not_continued(server, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 1)
    assert main(["describe", str(pictures), "--project", str(tmp_path / "p"), "--base-url", server.base_url, "--min-tokens", "7"]) == 0
    assert texts(tmp_path / "p", "describe") == ["A picture of 40 by 30 pixels."]


def test_what_could_not_be_described_is_told_and_tried_again(server, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", 3)
    server.troubles += [status(400, "unsafe"), content("")]
    command = ["describe", str(pictures), "--project", str(tmp_path / "p"), "--base-url", server.base_url, "--batch-size", "1"]
    assert main(command) == 1
    failures = [tuple(row) for row in Project(tmp_path / "p").rows("SELECT item_id, problem FROM failures ORDER BY item_id")]
    assert failures == [(1, "HTTP 400: unsafe"), (2, "The answer is empty.")]
    assert main(command) == 0 and len(texts(tmp_path / "p", "describe")) == 3


def test_a_server_that_dies_leaves_what_was_described(tmp_path, capsys):
    pictures = write_pictures(tmp_path / "pictures", 4)
    with serving() as server:
        flags = [
            "--project",
            str(tmp_path / "p"),
            "--base-url",
            server.base_url,
            "--attempts",
            "2",
            "--batch-size",
            "2",
            "--min-tokens",
            "0",
        ]
        assert main(["describe", str(pictures), *flags, "--limit", "2"]) == 0
    assert main(["describe", *flags]) == 1
    assert "did not answer in 2 attempts" in capsys.readouterr().err
    with serving() as server:
        flags[flags.index("--base-url") + 1] = server.base_url
        assert main(["describe", *flags]) == 0
    assert len(texts(tmp_path / "p", "describe")) == 4


def test_the_engine_describes_in_batches(tmp_path):
    project = Project(tmp_path / "p", create=True)
    take_pictures(project, str(write_pictures(tmp_path / "pictures", 5)))
    engine = Engine(*build_chatml_model())
    settings = GenerationSettings(temperature=0, repetition_penalty=1.3, max_new_tokens=12)
    describer = BackendDescriber(engine, "tiny", settings, batch_size=2)
    items = [(row["id"], project.picture_file(row["digest"])) for row in project.rows("SELECT id, digest FROM items ORDER BY id")]
    prompts = read_describe_prompts()
    assert describe.describe_pictures(project, describer, items, prompts, 0, {"seed": None}) == 0
    from minigpt4_model.chat.messages import question

    alone = [engine.generate([question(prompts.question, [picture])], settings).strip() for _, picture in items]
    assert texts(project.folder, "describe") == alone and len(set(alone)) > 1
    run = project.row("SELECT settings, summary FROM runs")
    assert json.loads(run["summary"]) == {"described": 5, "failed": 0, "continued": 0}
    told = json.loads(run["settings"])
    assert (told["author"], told["engine"], told["question"]) == ("tiny", "torch", prompts.question)


def test_batches_of_a_seed_differ():
    class Backend:
        def __init__(self):
            self.seeds = []

        def answer_all(self, conversations, settings):
            self.seeds += [settings.seed + number for number in range(len(conversations))]
            return [Answer("x", finish_reason="stop", usage=Usage(completion_tokens=1)) for _ in conversations]

    backend = Backend()
    describer = BackendDescriber(backend, "x", GenerationSettings(seed=7), 2)
    assert [describer.ask([[]] * 2) for _ in range(2)] == [[Said("x", 1, "stop")] * 2] * 2
    assert len(set(backend.seeds)) == 4


def test_the_record_of_a_run_tells_the_settings(tmp_path):
    pictures, folder = write_pictures(tmp_path / "pictures", 1), tmp_path / "p"
    flags = ["--backend", "echo", "--min-tokens", "0", "--no-leak-guard", "--visual-contrast", "0.5", "--seed", "3"]
    assert main(["describe", str(pictures), "--project", str(folder), *flags]) == 0
    told = json.loads(Project(folder).row("SELECT settings FROM runs")["settings"])
    assert (told["leak_guard"], told["visual_contrast"], told["seed"], told["batch_size"]) == (False, 0.5, 3, 8)
    assert not {"load_in_8bit", "temperature", "loop_guard", "engine"} & set(told)  # the echo computes no LLM


def test_the_echo_describes_and_given_captions_ask_nobody(tmp_path, capsys):
    pictures = write_pictures(tmp_path / "pictures", 2)
    assert main(["describe", str(pictures), "--project", str(tmp_path / "p"), "--backend", "echo", "--min-tokens", "0"]) == 0
    assert texts(tmp_path / "p", "describe")[1].startswith("I received 1 picture (41x30)")
    assert main(["describe", "--project", str(tmp_path / "p"), "--backend", "echo", "--again"]) == 0
    assert "Every picture" in capsys.readouterr().out
    (pictures / "captions.csv").write_text("image,caption\n000.png,A thing.\n001.png,Another.\n")
    assert main(["describe", str(pictures), "--project", str(tmp_path / "q"), "--use-captions"]) == 0
    assert texts(tmp_path / "q", "given") == ["A thing.", "Another."]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["describe", "--project", "{p}"], "no curation.db"),
        (["describe", "nowhere", "--project", "{p}"], "nothing at this path"),
        (["refine", "--project", "{p}", "--rules-only"], "no curation.db"),
        (["clean", "--project", "{p}"], "no curation.db"),
        (["describe", "x", "--project", "{p}", "--prompts", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_anything(tmp_path, capsys, command, told):
    assert main([word.format(p=tmp_path / "p") for word in command]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["describe", "--batch-size", "0"],
        ["describe", "--temperature", "9"],
        ["describe", "--again", "--base-url", "http://x/v1"],
        ["describe", "--base-url", "localhost:8000"],
        ["describe", "x", "--base-url", "http://x/v1", "--visual-contrast", "1"],
        ["refine"],
        ["refine", "--rules-only", "--base-url", "http://x/v1"],
        ["refine", "--base-url", "http://x/v1", "--max-cost", "1"],
        ["refine", "--base-url", "http://x/v1", "--requests-per-minute", "0"],
        ["clean", "--similarity", "1.5"],
        ["export", "--output", "x", "--held-out", "1"],
        ["annotate", "--overlap", "2"],
        ["export"],
        [],
    ],
)
def test_flags_that_cannot_be_meant(command):
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2


# --- refine


def corrupted(tmp_path, count=4) -> Project:
    """Descriptions in which a sentence comes twice."""
    project = build_project(tmp_path, count)
    with project.writing() as connection:
        for item in range(1, count + 1):
            text = description(item)
            add_text(connection, item, "describe", "describer", f"{text} {text.split('. ')[0]}.")
    return project


def test_an_endpoint_corrects_each_text(server, tmp_path, capsys):
    project = corrupted(tmp_path)
    flags = ["refine", "--project", str(project.folder), "--base-url", server.base_url]
    assert main([*flags, "--yes", "--input-price", "1", "--output-price", "2"]) == 0
    told = capsys.readouterr().out
    assert "4 requests, about" in told and "at the given prices" in told and "4 texts corrected, 4 of them changed" in told
    assert texts(project.folder, "refine") == [description(number) for number in range(1, 5)]
    assert server.requests[0]["messages"][0]["text"].startswith("Fix the error in the given paragraph.")
    rows = project.rows("SELECT t.parent_id, p.step FROM texts t JOIN texts p ON p.id = t.parent_id WHERE t.step = 'refine'")
    assert {row["step"] for row in rows} == {"describe"}
    assert main([*flags, "--yes"]) == 0 and len(server.requests) == 4  # nothing is corrected twice
    assert main([*flags, "--yes", "--again", "--limit", "1"]) == 0 and len(server.requests) == 5


def test_nothing_is_sent_without_a_yes(server, tmp_path, capsys, monkeypatch):
    project = corrupted(tmp_path)
    flags = ["refine", "--project", str(project.folder), "--base-url", server.base_url]
    assert main(flags) == 2 and "say --yes" in capsys.readouterr().err
    assert main([*flags, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "no prices given" in told and "Nothing was sent" in told and description(1) in told and "Fix the error" in told
    assert server.times == [] and texts(project.folder, "refine") == []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda asked: "y")
    assert main(flags) == 0 and len(server.requests) == 4


def test_refused_texts_keep_their_old_version(server, tmp_path):
    project = corrupted(tmp_path)
    server.troubles += [status(400, "too long"), content(""), lambda handler: handler.answer(200, {"choices": [cut]})]
    cut = {"message": {"content": "A half"}, "finish_reason": "length"}
    flags = ["refine", "--project", str(project.folder), "--base-url", server.base_url, "--yes", "--concurrency", "1"]
    assert main(flags) == 1
    assert len(texts(project.folder, "refine")) == 1
    assert [row["problem"] for row in project.rows("SELECT problem FROM failures ORDER BY item_id")] == [
        "HTTP 400: too long",
        "The answer is empty.",
        "The answer was cut off by the server's limit.",
    ]
    assert main(flags) == 0 and len(texts(project.folder, "refine")) == 4


def test_a_limit_on_what_it_may_cost(server, tmp_path, capsys):
    project = corrupted(tmp_path, 6)
    prices = ["--input-price", "1000000", "--output-price", "0", "--max-cost", "150"]
    flags = ["refine", "--project", str(project.folder), "--base-url", server.base_url, "--yes", "--concurrency", "1"]
    assert main([*flags, *prices]) == 1
    stored = len(texts(project.folder, "refine"))
    assert 1 <= stored < 6 and len(server.requests) <= stored + 1
    assert "--max-cost 150 is reached" in capsys.readouterr().err
    assert main(flags) == 0 and len(texts(project.folder, "refine")) == 6


def test_keys_come_from_the_environment(tmp_path, monkeypatch, capsys):
    project = corrupted(tmp_path, 1)
    with serving(key=KEY) as server:
        flags = ["refine", "--project", str(project.folder), "--base-url", server.base_url, "--served-model", "mender", "--yes"]
        assert main(flags) == 1 and "401" in capsys.readouterr().err
        monkeypatch.setenv("MY_KEY", KEY)
        assert main([*flags, "--api-key-env", "MY_KEY"]) == 0
    assert KEY.encode() not in (project.folder / "curation.db").read_bytes()
    assert not any(KEY.encode() in file.read_bytes() for file in project.folder.glob("curation.db*"))


def test_killed_in_mid_run_nothing_is_lost(tmp_path):
    project = corrupted(tmp_path, 8)
    with serving(seconds=0.15) as server:
        command = [sys.executable, "-m", "minigpt4_model", "curate", "refine", "--project", str(project.folder)]
        command += ["--base-url", server.base_url, "--yes", "--concurrency", "1"]
        run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while len(server.requests) < 4:
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        stored = len(texts(project.folder, "refine"))
        assert stored in (3, 4)  # the one under way may be lost
        assert main(["refine", "--project", str(project.folder), "--base-url", server.base_url, "--yes"]) == 0
        assert texts(project.folder, "refine") == [description(number) for number in range(1, 9)]
        assert len(server.requests) == 8 + (4 - stored)


def test_ctrl_c_ends_at_once_and_keeps_what_came(tmp_path):
    project = corrupted(tmp_path, 4)
    with serving() as server:
        server.troubles += [lambda handler: handler.answer(503, {}, {"Retry-After": "60"})] * 2
        command = [sys.executable, "-m", "minigpt4_model", "curate", "refine", "--project", str(project.folder)]
        command += ["--base-url", server.base_url, "--served-model", "mender", "--yes", "--concurrency", "2"]
        # A shell starts what runs in the background deaf to Ctrl-C, and children inherit it; a terminal's are not.
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)
        run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, heard)
        watchdog = threading.Timer(60, run.kill)
        watchdog.start()
        while len(server.times) < 2:
            assert run.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        began = time.monotonic()
        run.send_signal(signal.SIGINT)
        _, told = run.communicate()
        watchdog.cancel()
    assert run.returncode == 130 and "the same command goes on" in told and "Traceback" not in told
    assert time.monotonic() - began < 20


def test_rules_correct_without_any_endpoint(tmp_path, capsys):
    project = corrupted(tmp_path)
    flags = ["refine", "--project", str(project.folder), "--rules-only"]
    assert main([*flags, "--dry-run"]) == 0
    assert "would change 4 of 4" in capsys.readouterr().out and texts(project.folder, "refine") == []
    assert main(flags) == 0 and "looked at 4 texts and changed 4" in capsys.readouterr().out
    assert texts(project.folder, "refine") == [description(number) for number in range(1, 5)]
    details = json.loads(project.value("SELECT details FROM texts WHERE step = 'refine'"))
    assert details == {"done": ["took out sentences said before"]}


def test_only_marked_texts_can_be_corrected(server, tmp_path):
    project = build_project(tmp_path, 3)
    with project.writing() as connection:
        add_text(connection, 2, "describe", "describer", description(2) + " I'm sorry.")
    assert main(["clean", "--project", str(project.folder)]) == 0
    assert main(["refine", "--project", str(project.folder), "--base-url", server.base_url, "--yes", "--only-marked"]) == 0
    assert [row["item_id"] for row in project.rows("SELECT item_id FROM texts WHERE step = 'refine'")] == [2]


def test_estimates():
    assert estimate_tokens("abcd" * 10) == 10 and estimate_tokens("你好") == 2
    estimate = estimate_cost("p" * 40, ["a" * 400] * 100, Prices(2.0, 10.0), requests_per_minute=20)
    assert (estimate.requests, estimate.prompt_tokens, estimate.completion_tokens) == (100, 12_000, 11_000)
    assert estimate.cost == pytest.approx(0.024 + 0.11) and estimate.minutes == 5
    assert Prices().cost(1, 1) is None and "no prices" in str(estimate_cost("", ["a"], Prices()))


# --- prompts


def test_the_papers_prompts(tmp_path):
    prompts = read_describe_prompts()
    assert prompts.question == "Describe this image in detail. Give as many details as possible. Say everything you see."
    assert prompts.continuation == "Continue"
    assert "Return directly the input paragraph if it is already correct" in read_refine_prompt()
    assert read_refine_prompt().endswith("\n\n{text}")
    (tmp_path / "own.txt").write_text("# a remark\nMend this.\n")
    assert read_refine_prompt(tmp_path / "own.txt") == "Mend this.\n\n{text}"
    assert all("<" not in question for question in read_questions()) and len(read_questions()) == 4
    (tmp_path / "empty.txt").write_text("# nothing\n")
    for read in (read_describe_prompts, read_refine_prompt, read_questions):
        with pytest.raises(ValueError, match="empty.txt"):
            read(tmp_path / "empty.txt")


# --- clean and status


def test_cleaning_marks_and_reports_and_changes_no_text(tmp_path, capsys):
    project = build_project(tmp_path, 5)
    with project.writing() as connection:
        add_text(connection, 2, "describe", "describer", description(2) + " I'm sorry, <b>I</b> made a mistake")
        add_text(connection, 4, "describe", "describer", description(3).replace("morning", "evening"))
    before = [tuple(row) for row in project.rows("SELECT * FROM texts")]
    assert main(["clean", "--project", str(project.folder)]) == 0
    table = capsys.readouterr().out
    marks = {(row["item_id"], row["rule"]): row["detail"] for row in project.rows("SELECT * FROM marks JOIN current ON id = text_id")}
    assert marks[2, "apologises"] == "I'm sorry" and marks[2, "markup"] == "<b>" and marks[4, "near-duplicate"] == "of item 3"
    assert {rule for item, rule in marks if item == 2} == {"apologises", "markup", "unfinished"} and {item for item, _ in marks} == {2, 4}
    assert "2 of 5 texts are marked, 3 are not" in table and "apologises" in table
    page = (project.folder / "clean.html").read_text()
    assert "<mark>I&#x27;m sorry</mark>" in page and "item 2" in page and "&lt;b&gt;I&lt;/b&gt;" in page and "<b>I</b>" not in page
    assert [tuple(row) for row in project.rows("SELECT * FROM texts")] == before
    assert main(["clean", "--project", str(project.folder), "--skip-rule", "markup", "--min-words", "200"]) == 0
    marked = {row["rule"] for row in project.rows("SELECT rule FROM marks")}
    assert "markup" not in marked and "too-short" in marked


def test_status_tells_everything(tmp_path, capsys):
    project = build_project(tmp_path, 3)
    assert main(["status", "--project", str(project.folder)]) == 0
    told = capsys.readouterr().out
    assert "3 pictures, 3 with a text" in told and "3 from colours (CC0-1.0)" in told and "3 open" in told and "curate clean" in told


def test_pictures_without_a_text_are_not_to_be_judged(tmp_path, capsys):
    pictures, folder = write_pictures(tmp_path / "pictures", 2), str(tmp_path / "p")
    (pictures / "broken.jpg").write_text("no picture")
    assert main(["describe", str(pictures), "--project", folder, "--take-only"]) == 1
    assert "  broken.jpg is not a picture" in capsys.readouterr().err
    assert main(["describe", "--project", folder, "--backend", "echo", "--min-tokens", "0", "--limit", "1"]) == 0
    assert main(["clean", "--project", folder, "--min-words", "999"]) == 0
    assert main(["status", "--project", folder]) == 0
    told = capsys.readouterr().out
    assert "2 pictures, 1 with a text" in told and "1 text is marked:" in told and "Judged: 1 open, 0 kept" in told


def test_a_second_command_waits_for_the_first_ones_change(tmp_path):
    project = build_project(tmp_path, 2)
    done = []
    with project.writing():
        other = threading.Thread(target=lambda: done.append(main(["refine", "--project", str(project.folder), "--rules-only"])))
        other.start()
        time.sleep(0.3)
        assert not done
    other.join(30)
    assert done == [0]
