"""The verb: asking, going on after a kill, judging, and the reports. On the echo backend and a tiny model."""

import json
import re
import shlex
from contextlib import closing
from pathlib import Path

import PIL.Image
import pytest

from minigpt4_model.__main__ import main
from minigpt4_model.evaluation import answering, corpus, evaluate
from minigpt4_model.evaluation.items import Figure, Item, Judged, Task, Verdict
from minigpt4_model.evaluation.report import Report, TaskReport, chance_levels, is_certain, shown, table, verdict_on
from minigpt4_model.evaluation.report_page import render_page
from minigpt4_model.evaluation.statistics import share_right
from minigpt4_model.evaluation.suites import build_tasks
from minigpt4_model.evaluation.tasks import photographs

# The echo backend answers: I received 1 picture (20x10) and 0 earlier questions. You said: <question>
LINES = [
    {"id": "a", "question": "Is there a dog? Say <b>yes</b> & no more.", "images": ["red.png"], "expected": ["picture"], "task": "heard"},
    {"id": "b", "question": "What is this?", "images": ["red.png"], "expected": ["cat", "kitten"], "task": "heard"},
    {"id": "c", "question": "How many?", "expected": 0, "task": "counted"},
    {"id": 4, "messages": [{"role": "user", "content": "Say apple."}], 
     "expected": "I received 0 pictures and 0 earlier questions. You said: Say apple",
     "judge": "exact", "task": "whole"},
]  # fmt: skip


@pytest.fixture
def suite(tmp_path) -> Path:
    PIL.Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return file


def run(suite: Path, *flags: str) -> int:
    return main(["evaluate", "--backend", "echo", "--suite", str(suite), "--output", str(suite.parent / "out"), *flags])


def report(suite: Path) -> dict:
    return json.loads((suite.parent / "out" / "report.json").read_text("utf-8"))


def test_questions_of_ones_own_are_asked_and_judged(suite, capsys):
    assert run(suite) == 0
    tasks = {task["task"]: task for task in report(suite)["tasks"]}
    assert [item["right"] for item in tasks["heard"]["items"]] == [True, False]
    assert tasks["heard"]["figures"][0]["value"] == 0.5 and tasks["heard"]["figures"][0]["count"] == 2
    assert tasks["whole"]["items"][0]["right"] is True
    out = capsys.readouterr().out
    assert re.search(r"right +50\.0 % +9\.5 % to 90\.5 % +2", out)


def test_a_killed_run_goes_on_where_it_was(suite, monkeypatch):
    assert run(suite) == 0
    answers = suite.parent / "out" / "answers.jsonl"
    whole = answers.read_bytes()
    lines = whole.splitlines(keepends=True)
    answers.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # as a kill in mid-line leaves it
    asked = []
    ask = answering._ask
    monkeypatch.setattr(answering, "_ask", lambda backend, item, settings: asked.append(item.id) or ask(backend, item, settings))
    assert run(suite, "--resume") == 0
    assert asked == ["c", "4"]
    again = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [(one["id"], one["answer"]) for one in again] == [(one["id"], one["answer"]) for one in map(json.loads, lines)]


def test_an_answer_to_another_question_is_no_answer(suite):
    assert run(suite) == 0
    suite.write_text(suite.read_text().replace("What is this?", "Is it a cat?"))
    PIL.Image.new("RGB", (30, 30), "blue").save(suite.parent / "red.png")  # both questions about it are new ones
    assert run(suite, "--resume") == 0
    answers = [json.loads(line) for line in (suite.parent / "out" / "answers.jsonl").read_text().splitlines()]
    assert [one["id"] for one in answers] == ["a", "b", "c", "4", "a", "b"]
    items = {item["id"]: item for task in report(suite)["tasks"] for item in task["items"]}
    assert items["b"]["answer"].startswith("I received 1 picture (30x30)") and "Is it a cat?" in items["b"]["answer"]
    assert len(items) == 4


def test_a_finished_run_is_judged_again_without_a_model(suite, monkeypatch):
    assert run(suite) == 0
    monkeypatch.setattr(evaluate, "open_backend", lambda *args, **options: pytest.fail("a model was opened"))
    assert run(suite, "--resume") == 0


def test_another_run_is_not_mixed_with_this_one(suite, capsys):
    assert run(suite) == 0
    assert run(suite) == 2
    assert "add --resume" in capsys.readouterr().err
    other = suite.with_name("other.jsonl")
    other.write_text(json.dumps(LINES[2]) + "\n")
    before = (suite.parent / "out" / "answers.jsonl").read_bytes()
    assert main(["evaluate", "--backend", "echo", "--suite", str(other), "--output", str(suite.parent / "out"), "--resume"]) == 2
    assert "suite was" in capsys.readouterr().err
    assert (suite.parent / "out" / "answers.jsonl").read_bytes() == before


def test_what_cannot_be_asked_stops_nothing_and_is_told(suite, capsys):
    (suite.parent / "red.png").write_bytes(b"no picture")
    assert run(suite) == 1
    assert "2 items could not be asked" in capsys.readouterr().out
    tasks = {task["task"]: task for task in report(suite)["tasks"]}
    assert set(tasks["heard"]["unanswered"]) == {"a", "b"} and len(tasks["counted"]["items"]) == 1
    PIL.Image.new("RGB", (20, 10), "red").save(suite.parent / "red.png")
    assert run(suite, "--resume") == 0  # what failed is asked again


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 1, "question": "x"}', "it lacks 'expected'"),
        ('{"id": 1, "question": "x", "expected": [], "judge": "taste"}', "no judge 'taste'; there are names"),
        ('{"id": 1, "question": "x", "expected": "beige", "judge": "colour"}', "'beige' is none of red"),
        ("[1]", "line 2"),
        ("{", "line 2"),
        ('{"id": "a", "question": "x", "expected": []}', "the id 'a' comes twice"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_asked(line, message, suite, capsys):
    suite.write_text(json.dumps(LINES[0]) + "\n" + line + "\n")
    assert run(suite) == 2
    assert message in capsys.readouterr().err
    assert not (suite.parent / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--suite", "nonsense"], "there is no such suite or file"),
        (["--suite", "missing.jsonl"], "missing.jsonl"),
        (["--suite", "coco"], "needs one --annotations file"),
    ],
)
def test_unknown_suites_are_named(flags, message, capsys, tmp_path):
    assert main(["evaluate", "--backend", "echo", "--output", str(tmp_path / "out"), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--list"], ["--limit", "1"]])
def test_a_missing_corpus_is_named_with_its_command(flags, monkeypatch, tmp_path, capsys):
    for cached in (corpus.bank, corpus.ranked_concepts, corpus.common_concepts):
        cached.cache_clear()
    monkeypatch.setenv("MINIGPT4_HOME", str(tmp_path))
    monkeypatch.setattr(photographs, "_wheel", lambda package: None)
    assert main(["evaluate", "--backend", "echo", "--output", str(tmp_path / "out"), *flags]) == 1
    assert "minigpt4_model.training.pocket.build" in capsys.readouterr().err


def test_tasks_can_be_chosen_and_listed(suite, capsys):
    assert run(suite, "--list") == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["heard", "2"], ["counted", "1"], ["whole", "1"]]
    assert run(suite, "--tasks", "heard", "--limit", "1") == 0
    assert [item["id"] for task in report(suite)["tasks"] for item in task["items"]] == ["a"]
    assert run(suite, "--tasks", "nothing") == 2
    assert "There are: heard, counted, whole" in capsys.readouterr().err


def test_the_page_stands_alone_and_shows_texts_as_texts(suite):
    assert run(suite) == 0
    page = (suite.parent / "out" / "report.html").read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert page.count("data:image/jpeg;base64,") == 2
    assert "Say &lt;b&gt;yes&lt;/b&gt; &amp; no more." in page and "<b>yes" not in page
    assert [page.count(f'data-verdict="{verdict}"') for verdict in ("right", "wrong")] == [3, 1]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_filters(suite, scheme, chromium):
    assert run(suite) == 0
    faults = []
    with closing(chromium.new_page(color_scheme=scheme)) as page:
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((suite.parent / "out" / "report.html").as_uri())
        cards = page.locator(".card:visible")
        assert cards.count() == 4
        page.get_by_label("wrong").check()
        assert cards.count() == 1 and "What is this?" in cards.inner_text()
        page.get_by_label("all", exact=True).check()
        page.get_by_label("Task").select_option("heard")
        assert cards.count() == 2 and page.locator("#shown").inner_text() == "2 of 4"
        page.get_by_label("Words").fill("zebra")
        assert cards.count() == 0 and page.locator("#none").is_visible()
        page.goto((suite.parent / "out" / "report.html").as_uri() + "#task=counted")
        page.reload()
        assert cards.count() == 1
    assert faults == []


def test_a_tiny_model_answers_through_the_engine(suite, monkeypatch):
    from minigpt4_model.chat import engine, load
    from tests.tiny_chat import build_chatml_model

    built = build_chatml_model()
    monkeypatch.setattr(load, "load_engine", lambda *args, **kwargs: engine.Engine(*built))
    model = suite.parent / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    settings = [line | {"settings": {"max_new_tokens": 5}} for line in LINES]
    suite.write_text("".join(json.dumps(line) + "\n" for line in settings))
    assert main(["evaluate", "--model", str(model), "--suite", str(suite), "--output", str(suite.parent / "out")]) == 0
    first = (suite.parent / "out" / "answers.jsonl").read_text()
    assert [json.loads(line)["completion_tokens"] <= 5 for line in first.splitlines()] == [True] * 4
    assert main(["evaluate", "--model", str(model), "--suite", str(suite), "--output", str(suite.parent / "again")]) == 0
    answers = [
        [json.loads(line)["answer"] for line in text.splitlines()]
        for text in (first, (suite.parent / "again" / "answers.jsonl").read_text())
    ]
    assert answers[0] == answers[1]  # greedy
    (model / "config.json").write_text('{"other": "weights"}')
    assert main(["evaluate", "--model", str(model), "--suite", str(suite), "--output", str(suite.parent / "out"), "--resume"]) == 2


def test_chance_judges_answers_against_other_items():
    items = [Item(str(place), "t", [], {"word": word}) for place, word in enumerate(["a", "b", "c", "d"] * 3)]
    task = Task("t", "t", lambda: items, lambda item, answer: Verdict(answer == item.expected["word"]), share_right("right"))

    def chance(answers):
        judged = [Judged(item, said, task.judge(item, said)) for item, said in zip(items, answers, strict=True)]
        return chance_levels(task, judged, task.figures(judged))

    assert 0 < chance([item.expected["word"] for item in items])[0] < 0.4  # two of the eleven others expect the same word
    assert chance(["a"] * 12)[0] == pytest.approx(0.25, abs=0.05)
    assert chance(["e"] * 12) == [0.0]


@pytest.mark.parametrize(
    ("value", "less", "goals", "verdict"),
    [
        (0.6, False, (0.3, 0.55), "aim"),
        (0.3, False, (0.3, 0.55), "least"),
        (0.29, False, (0.3, 0.55), "below"),
        (0.0, True, (0.02, 0.0), "aim"),
        (0.01, True, (0.02, 0.0), "least"),
        (0.02, True, (0.02, 0.0), "below"),
        (0.5, False, (None, None), ""),
        (float("nan"), False, (0.3, 0.5), ""),
    ],
)
def test_figures_are_held_against_what_is_asked(value, less, goals, verdict):
    assert verdict_on(Figure("f", value, 1, 0, 1, least=goals[0], aim=goals[1], less_is_better=less)) == verdict


@pytest.mark.parametrize(
    ("value", "low", "high", "less", "goals", "certain"),
    [
        (0.6, 0.35, 0.8, False, (0.3, 0.55), True),
        (1.0, 0.29, 1.0, False, (0.3, 0.55), False),  # three of three
        (0.1, 0.05, 0.29, False, (0.3, 0.55), True),
        (0.1, 0.05, 0.3, False, (0.3, 0.55), False),
        (0.0, 0.0, 0.019, True, (0.02, 0.0), True),
        (0.0, 0.0, 0.56, True, (0.02, 0.0), False),
        (0.1, 0.02, 0.3, True, (0.02, 0.0), True),
        (0.1, 0.01, 0.3, True, (0.02, 0.0), False),
        (0.5, 0.4, 0.6, False, (None, None), False),
    ],
)
def test_a_verdict_is_certain_where_the_interval_decides(value, low, high, less, goals, certain):
    assert is_certain(Figure("f", value, 9, low, high, least=goals[0], aim=goals[1], less_is_better=less)) == certain


def test_few_answers_prove_nothing_in_the_table_and_have_no_colour():
    figures = [Figure("few", 1.0, 3, 0.29, 1.0, least=0.3, aim=0.55), Figure("many", 0.4, 900, 0.37, 0.43, least=0.3, aim=0.55)]
    about = {"model": "m", "suite": "s", "device": "cpu", "time": "2026-01-01T00:00:00"}
    report = Report(about, [TaskReport(Task("t", "T", list, None, None), [], figures, {})])
    rows = table(report).splitlines()
    assert rows[2].endswith("aim reached, not certain") and rows[3].endswith("  reached")
    last = "Goals reached: 2 of 2. Aims reached: 1 of 2. Not certain (the interval reaches beyond the goal): 1 of 2."
    assert rows[-1] == last
    page = render_page(report)
    assert re.findall(r'<tr class="(\w*)"[^>]*><th scope="row">(few|many)<', page) == [("", "few"), ("least", "many")] and last in page


def test_values_are_shown_as_people_read_them():
    assert [shown(0.123), shown(1.5, "number"), shown(float("nan")), shown(None)] == ["12.3 %", "1.500", "–", "–"]


DOCUMENT = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_the_documents_commands_are_commands():
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines() if " evaluate" in line]
    assert len(lines) == 9
    for line in lines:
        evaluate.build_parser().parse_args(shlex.split(line, comments=True)[4:])


def test_the_documents_questions_can_be_read(tmp_path):
    (lines,) = blocks("json")
    (tmp_path / "mine.jsonl").write_text(lines)
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "cat.png")
    tasks = build_tasks(str(tmp_path / "mine.jsonl"))
    assert sum(1 for task in tasks for _ in task.items()) == 5


def test_the_documents_task_is_one():
    from minigpt4_model.chat.messages import question
    from minigpt4_model.evaluation.statistics import share_right
    from minigpt4_model.training.pocket.judge import says

    (source,) = blocks("python")
    names = {
        "Task": Task,
        "Item": Item,
        "Verdict": Verdict,
        "question": question,
        "says": says,
        "share_right": share_right,
        "DOGS": {"a": "a.png"},
    }
    exec(source, names)
    task = names["barking"]()
    (item,) = task.items()
    assert task.judge(item, "Woof!").right and task.figures([Judged(item, "Woof!", task.judge(item, "Woof!"))])[0].value == 1.0


def test_every_task_of_the_pocket_suite_is_documented():
    from minigpt4_model.evaluation.suites import pocket_tasks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "_wheel", lambda package: None)
        assert [task.name for task in pocket_tasks() if f"`{task.name}`" not in DOCUMENT] == []


def test_own_questions_may_hold_every_sign_that_json_allows(tmp_path):
    from minigpt4_model.evaluation.tasks.own_file import read_tasks

    file = tmp_path / "mine.jsonl"
    row = {"id": "1", "question": "Say\u2028it\x85now.", "expected": "yes"}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    (task,) = read_tasks(file)
    (item,) = task.items()
    assert item.messages[0]["content"][-1]["text"] == row["question"]
