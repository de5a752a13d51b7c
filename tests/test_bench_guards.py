"""`bench guards` on a tiny model: every way asked, compared with none, the printed-text task. It asserts no speed and no effect."""

import dataclasses
import json
import random

import numpy as np
import pytest

from minigpt4_model.chat.engine import Engine
from minigpt4_model.chat.settings import GenerationSettings
from minigpt4_model.evaluation import bench_guards
from minigpt4_model.evaluation.items import Item, Task, Verdict
from minigpt4_model.evaluation.statistics import share_right
from minigpt4_model.evaluation.tasks.printed_text import SIGNS, draw_sign, judge_reading, printed_text
from tests.tiny_chat import build_chatml_model, image, user

WAYS = {"none": {}, "contrast 1": {"visual_contrast": 3.0}, "script": {"script_guard": True}}


def task(count: int = 3) -> Task:
    def items():
        for number in range(count):
            yield Item(f"tiny/{number}", "tiny", [user(image(number), "What?")], {}, settings={"max_new_tokens": 40})

    return Task("tiny", "Tiny", items, lambda item, answer: Verdict("a" in answer), share_right("has an a"))


@pytest.fixture(scope="module")
def engine():
    return Engine(*build_chatml_model())


@pytest.fixture(scope="module")
def asked(engine):
    settings = GenerationSettings.from_mapping({**bench_guards.OFF, "temperature": 0.0, "seed": 0})
    return bench_guards.ask_all(engine, [task()], WAYS, settings, {"max_new_tokens": 8}, limit=2)


def test_every_question_is_asked_every_way(asked):
    assert [list(sorted(one.answers)) for one in asked] == [sorted(WAYS)] * 2
    assert all(answer.usage.completion_tokens <= 8 for one in asked for answer in one.answers.values())
    assert all(answer.usage.reused_tokens == 0 for one in asked for answer in one.answers.values())
    assert any(one.answers["none"].text != one.answers["contrast 1"].text for one in asked)


def test_tasks_take_turns_and_time_ends_the_asking(engine, monkeypatch):
    settings = GenerationSettings.from_mapping({**bench_guards.OFF, "temperature": 0.0, "seed": 0})
    other = dataclasses.replace(task(), name="other")
    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr(bench_guards, "monotonic", lambda: next(clock))
    found = bench_guards.ask_all(engine, [task(), other], {"none": {}}, settings, {"max_new_tokens": 2}, limit=3, minutes=1)
    assert [(one.task.name, one.item.id) for one in found] == [("tiny", "tiny/0"), ("other", "tiny/0")]


def test_what_was_asked_before_an_interruption_is_kept(engine, monkeypatch):
    settings = GenerationSettings.from_mapping({**bench_guards.OFF, "temperature": 0.0, "seed": 0})
    answer, asked = engine.answer, []

    def interrupted(*args):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(1)
        return answer(*args)

    monkeypatch.setattr(engine, "answer", interrupted)
    ways = {"none": {}, "leak": {"leak_guard": True}}
    found = bench_guards.ask_all(engine, [task()], ways, settings, {"max_new_tokens": 2}, limit=3)
    assert len(found) == 1 and set(found[0].answers) == set(ways)


def test_a_comparison_counts_what_became_right_and_wrong(asked):
    for one, texts in zip(asked, (("a", "b", "b"), ("b", "a", "a")), strict=True):
        for way, text in zip(WAYS, texts, strict=True):
            one.answers[way].text = text
    found = bench_guards.compare(asked, list(WAYS), leaks=("b",))
    by_name = {way: {(row["task"], row["name"]): row for row in rows} for way, rows in found.items()}
    assert by_name["none"]["tiny", "better / worse"] == {"task": "tiny", "name": "better / worse", "better": 0, "worse": 0}
    assert (by_name["script"]["tiny", "better / worse"]["better"], by_name["script"]["tiny", "better / worse"]["worse"]) == (1, 1)
    assert by_name["script"]["all answers", "changed"]["value"] == 1.0 and by_name["none"]["all answers", "changed"]["value"] == 0.0
    assert by_name["none"]["all answers", "text of the template"]["value"] == 0.5
    costs = [row for row in found["none"] if row["task"] == "cost"]
    assert len(costs) == 4 and all(row["value"] == 1.0 for row in costs)
    table = bench_guards.table(found).splitlines()
    assert table[0].split() == ["none", "contrast", "1", "script"] and any("1 / 1" in line for line in table)
    json.dumps(found)


def test_the_verb_prints_a_table_and_json(monkeypatch, capsys, engine):
    monkeypatch.setattr(bench_guards, "open_backend", lambda *args, **options: engine)
    monkeypatch.setattr(bench_guards, "build_tasks", lambda suite, only: [task()])
    flags = ["--tasks", "tiny", "--ways", "loop", "leak", "--limit", "1", "--max-new-tokens", "3", "--temperature", "0.5"]
    assert bench_guards.main(flags) == 0
    *_, last = capsys.readouterr().out.splitlines()
    document = json.loads(last)
    assert document["given"] == {"max_new_tokens": 3, "temperature": 0.5} and list(document["ways"]) == ["none", "loop", "leak"]


@pytest.mark.parametrize("flags, told", [(["--limit", "0"], "--limit must be"), (["--ways", "nothing"], "invalid choice")])
def test_wrong_flags_end_the_program(flags, told, capsys):
    with pytest.raises(SystemExit) as ended:
        bench_guards.main(flags)
    assert ended.value.code == 2 and told in capsys.readouterr().err
    assert bench_guards.main(["--temperature", "9"]) == 2 and "temperature must be between" in capsys.readouterr().err


def test_signs_are_drawn_whole_and_the_same_each_time():
    first, again = list(printed_text().items()), list(printed_text().items())
    assert len(first) == len(SIGNS)
    for text in SIGNS:
        for seed in range(5):
            pixels = np.asarray(draw_sign(text, random.Random(seed)), dtype=int)
            border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert (border == pixels[0, 0]).all() and (pixels != pixels[0, 0]).any(), text
    pictures = [one.messages[0]["content"][0]["image"].tobytes() for one in first]
    assert pictures == [one.messages[0]["content"][0]["image"].tobytes() for one in again]


@pytest.mark.parametrize(
    "answer, right", [("It says “Keep Left”.", True), ("keep   LEFT", True), ("Left, keep", False), ("keepleft", False), ("", False)]
)
def test_reading_is_judged_by_its_words(answer, right):
    assert judge_reading(Item("", "", [], {"text": "Keep left"}), answer).right is right
