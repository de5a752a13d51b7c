"""The examples of the page: their file, their pictures, and who is offered what."""

import io

import PIL.Image
import pytest

from minigpt4_model.presets import PRESETS, TASKS
from minigpt4_model.ui.demo_questions import PICTURES, DemoQuestion, load_demo_questions, offered, starters
from minigpt4_model.ui.texts import load_texts


def test_every_task_has_an_example_a_title_and_somebody_who_can_do_it():
    examples = load_demo_questions()
    assert {example.task for example in examples} == set(TASKS)
    for texts in load_texts().values():
        assert all(texts[f"task.{task}"] for task in TASKS)
    assert all(set(preset.tasks) <= set(TASKS) and preset.tasks for preset in PRESETS.values())


def test_every_picture_is_used_and_its_licence_recorded():
    used = {example.picture.name for example in load_demo_questions()}
    there = {path.name for path in PICTURES.iterdir() if path.suffix in (".png", ".jpg")}
    assert used == there
    record = (PICTURES / "README.md").read_text("utf-8")
    assert all((PICTURES / name).with_suffix(".svg").is_file() or f"`{name}`" in record for name in there)


def test_a_drawing_is_its_svg():
    resvg_py = pytest.importorskip("resvg_py")
    for path in sorted(PICTURES.glob("*.svg")):
        data = bytes(resvg_py.svg_to_bytes(svg_string=path.read_text("utf-8"), width=64, height=64))
        drawn = PIL.Image.open(io.BytesIO(data)).convert("RGB")
        shipped = PIL.Image.open(path.with_suffix(".png")).convert("RGB").resize((64, 64), PIL.Image.Resampling.BOX)
        off = [abs(one - other) for one, other in zip(drawn.tobytes(), shipped.tobytes(), strict=True)]
        assert sum(off) / len(off) < 6, path.name


def test_a_preset_is_offered_its_own_tasks_in_its_order():
    examples = load_demo_questions()
    for preset in PRESETS.values():
        tasks = [example.task for example in offered(examples, preset.name)]
        assert list(dict.fromkeys(tasks)) == list(preset.tasks)
    assert "funny" not in [example.task for example in offered(examples, "pocket")]
    assert offered(examples, "a model of one's own") == examples


def test_an_empty_page_begins_with_one_of_each_task():
    examples = [DemoQuestion(str(number), PICTURES / "cat.png", task) for number, task in enumerate("aaabbc")]
    assert [example.question for example in starters(examples)] == ["0", "3", "5", "1"]
    assert starters([]) == []


@pytest.mark.parametrize(
    "line, told",
    [
        ("cat.png | What?", "task | picture | question"),
        ("name | cat.png", "task | picture | question"),
        ("swim | cat.png | What?", "no task swim"),
        ("name | dog.png | What?", "no picture dog.png"),
        ("name | ../page.py | What?", "no picture"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, told):
    (tmp_path / "questions.txt").write_text(f"# remark\n\n{line}\n")
    with pytest.raises(ValueError, match="line 3.*" + told.replace("|", r"\|")):
        load_demo_questions(tmp_path / "questions.txt")


def test_a_question_may_hold_a_bar(tmp_path):
    (tmp_path / "questions.txt").write_text("name | cat.png | this | or that?\n")
    assert load_demo_questions(tmp_path / "questions.txt")[0].question == "this | or that?"
    assert load_demo_questions(tmp_path / "none.txt") == []
