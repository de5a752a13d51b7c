"""The standard benchmarks' files in their exact layouts, and the official scoring rules."""

import json
import math
from pathlib import Path

import PIL.Image
import pytest

from minigpt4_model.evaluation import caption_metrics
from minigpt4_model.evaluation.items import EvaluationError, Judged
from minigpt4_model.evaluation.suites import build_tasks
from minigpt4_model.evaluation.tasks.pope import pope_answer
from minigpt4_model.evaluation.tasks.vqa import normalise, vqa_accuracy


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("COCO_val2014_000000000042.jpg", "000000000139.jpg", "n161313.jpg"):
        PIL.Image.new("RGB", (20, 20), "red").save(folder / name)
    return folder


def write(file: Path, data) -> Path:
    file.write_text(json.dumps(data) if not isinstance(data, str) else data)
    return file


def asked(item) -> str:
    return item.messages[0]["content"][-1]["text"]


def picture(item) -> str:
    return Path(item.messages[0]["content"][0]["image"]).name


CAPTIONS = {
    "info": {"year": 2017},
    "licenses": [],
    "images": [{"id": 139, "file_name": "000000000139.jpg", "height": 426, "width": 640, "coco_url": "http://images.cocodataset.org/x"}],
    "annotations": [
        {"image_id": 139, "id": 70242, "caption": "A red square."},
        {"image_id": 139, "id": 70243, "caption": "A square that is all red."},
    ],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {"filepath": "val2014", "filename": "COCO_val2014_000000000042.jpg", "cocoid": 42, "imgid": 0, "split": "test",
         "sentids": [1], "sentences": [{"tokens": ["a", "dog"], "raw": "A dog.", "imgid": 0, "sentid": 1}]},
        {"filepath": "val2014", "filename": "COCO_val2014_000000000043.jpg", "cocoid": 43, "imgid": 1, "split": "train", "sentids": [2],
         "sentences": [{"tokens": ["b"], "raw": "B", "imgid": 1, "sentid": 2}]},
    ],
}  # fmt: skip


def test_coco_captions_in_both_layouts(tmp_path, images):
    (task,) = build_tasks("coco", [write(tmp_path / "captions_val2017.json", CAPTIONS)], images)
    (item,) = task.items()
    assert (item.id, picture(item), item.expected["references"]) == (
        "coco/139",
        "000000000139.jpg",
        ["A red square.", "A square that is all red."],
    )
    (task,) = build_tasks("coco", [write(tmp_path / "dataset_coco.json", KARPATHY)], images)
    assert [(item.id, picture(item)) for item in task.items()] == [("coco/42", "COCO_val2014_000000000042.jpg")]


def test_vqa_joins_questions_and_answers(tmp_path, images):
    questions = {
        "info": {}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {}, "data_subtype": "val2014",
        "questions": [{"image_id": 42, "question": "What colour is it?", "question_id": 42000}],
    }  # fmt: skip
    people = [{"answer": said, "answer_confidence": "yes", "answer_id": number} for number, said in enumerate(["red"] * 9 + ["blue"], 1)]
    answers = {
        "info": {}, "data_type": "mscoco", "data_subtype": "val2014", "license": {},
        "annotations": [{"question_type": "what color", "multiple_choice_answer": "red", "answers": people, "image_id": 42,
                         "answer_type": "other", "question_id": 42000}],
    }  # fmt: skip
    files = [write(tmp_path / "a.json", answers), write(tmp_path / "q.json", questions)]
    (task,) = build_tasks("vqav2", files, images)
    (item,) = task.items()
    assert asked(item).startswith("What colour is it? Answer") and picture(item) == "COCO_val2014_000000000042.jpg"
    assert task.judge(item, "Red.").values["accuracy"] == 1.0
    # "blue": for nine of the ten people left out there is one match, for the tenth none.
    judged = [Judged(item, said, task.judge(item, said)) for said in ("Red.", "blue")]
    overall, other = task.figures(judged)
    assert overall.value == pytest.approx((1 + 0.9 / 3) / 2) and other.name == "accuracy, other"


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The cat.", "cat"),
        ("Two", "2"),
        ("none", "0"),
        ("1,000", "1000"),
        ("3.5 kg", "3.5 kg"),
        ("black/white", "black white"),
        ("Black, white", "black white"),
        ("dont know", "don't know"),
        ("\tan apple\n", "apple"),
        ("yes?", "yes"),
    ],
)
def test_answers_are_normalised_as_officially(answer, normal):
    assert normalise(answer) == normal


# What VQA's own code gives (PythonEvaluationTools/vqaEvaluation/vqaEval.py at commit c4e6a0e), its oddities included.
@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("Yes!", "yes"),
        ("don't walk", "don't walk"),
        ("dont walk", "don't walk"),
        ("12:30", "12:30"),
        ("it's: red", "it's: red"),
        ("t-shirt", "t shirt"),
        ("black - white", "black white"),
        ("{red}", "red"),
        ("red;blue", "red blue"),
        ("red; blue", "red blue"),
        ("1,000-2,000", "10002000"),
        ("$1,000!", "$1000"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("U.S.A.", "usa"),
        ("No. 7", "no 7"),
        ("Ten", "10"),
        ("None!", "0"),
        ("the", ""),
        ("An", ""),
        ("somebody'd go", "somebodyd go"),
        ("couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),
        ("y'allll", "y'all'll"),
        ("ow's'at", "'ow's'at"),
        ("Im", "im"),
        ("shes", "shes"),
        ("notve", "not've"),
        ("itd've", "it'd've"),
        ("a/an", ""),
        ("e_mail", "e mail"),
        ("(left)", "left"),
        ("a\\b", "b"),
        ("50%", "50%"),
        ("what? yes", "what yes"),
        ('"hi"', "hi"),
        ("two-three", "2 3"),
        ("1,5 m", "15 m"),
        ("right/left, up", "right left up"),
        ("." * 33 + "a", ".a"),
    ],
)
def test_answers_are_normalised_as_by_the_code_of_vqa(answer, normal):
    assert normalise(answer) == normal


@pytest.mark.parametrize(
    ("answer", "people", "accuracy"),
    [
        ("Yes!", ["yes"] * 9 + ["no"], 1.0),
        ("don't walk", ["don't walk"] * 10, 1.0),
        ("no-parking", ["no parking"] * 5 + ["no-parking"] * 5, 1.0),
        ("ten", ["ten"] * 10, 0.0),  # people who agree are not normalised: the answer has become "10"
    ],
)
def test_vqa_accuracy_is_that_of_the_code_of_vqa(answer, people, accuracy):
    assert vqa_accuracy(answer, people) == accuracy


@pytest.mark.parametrize(("matching", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy_leaves_each_person_out_once(matching, accuracy):
    assert vqa_accuracy("dog", ["dog"] * matching + ["cat"] * (10 - matching)) == pytest.approx(accuracy)


def test_gqa(tmp_path, images):
    row = {
        "semantic": [], "entailed": [], "equivalent": [], "question": "Is it red?", "imageId": "n161313", "isBalanced": True,
        "groups": {}, "answer": "yes", "semanticStr": "", "annotations": {}, "types": {"structural": "verify"}, "fullAnswer": "Yes, it is.",
    }  # fmt: skip
    (task,) = build_tasks("gqa", [write(tmp_path / "testdev_balanced_questions.json", {"20968379": row})], images)
    (item,) = task.items()
    assert (item.id, picture(item)) == ("gqa/20968379", "n161313.jpg")
    assert task.judge(item, "Yes.").right and not task.judge(item, "Yes, it is.").right
    assert [figure.name for figure in task.figures([Judged(item, "Yes.", task.judge(item, "Yes."))])] == ["accuracy", "accuracy, verify"]


def test_pope_by_setting(tmp_path, images):
    lines = [
        {"question_id": 1, "image": "COCO_val2014_000000000042.jpg", "text": "Is there a snowboard in the image?", "label": "yes"},
        {"question_id": 2, "image": "COCO_val2014_000000000042.jpg", "text": "Is there a dog in the image?", "label": "no"},
    ]
    files = []
    for setting in ("random", "adversarial"):
        files.append(write(tmp_path / f"coco_pope_{setting}.json", "\n".join(map(json.dumps, lines)) + "\n"))
    tasks = build_tasks("pope", files, images)
    assert [task.name for task in tasks] == ["pope-random", "pope-adversarial"]
    items = list(tasks[0].items())
    judged = [Judged(item, said, tasks[0].judge(item, said)) for item, said in zip(items, ("Yes, there is.", "Yes."), strict=True)]
    values = {figure.name: figure.value for figure in tasks[0].figures(judged)}
    assert values == pytest.approx({"accuracy": 0.5, "precision": 0.5, "recall": 1.0, "F1": 2 / 3, "share of yes": 1.0})


def test_a_line_ends_at_a_newline_alone(tmp_path, images):
    line = {"question_id": 1, "image": "COCO_val2014_000000000042.jpg", "text": "Is\u2028it\x85red?", "label": "yes"}
    file = tmp_path / "coco_pope_random.json"
    file.write_bytes(f"{json.dumps(line, ensure_ascii=False)}\r\n".encode())
    (task,) = build_tasks("pope", [file], images)
    (item,) = task.items()
    assert asked(item).startswith("Is\u2028it\x85red?")


@pytest.mark.parametrize(
    ("answer", "said"),
    [("No, there is no dog.", "no"), ("There is not a dog", "no"), ("A dog. No cat.", "yes"), ("Maybe", "yes"), ("NO", "yes")],
)
def test_pope_reads_answers_by_its_own_rule(answer, said):
    assert pope_answer(answer) == said


@pytest.mark.parametrize(
    ("suite", "data", "message"),
    [
        ("coco", {"images": [], "annotations": [{"bbox": []}]}, "holds no captions"),
        ("coco", [], 'has no "images"'),
        ("gqa", {"1": {"question": "x"}}, "no file of GQA questions"),
        ("vqav2", {"questions": []}, "two --annotations files"),
        ("pope", '{"text": "x"}', "no POPE file"),
        ("pope", "no json", "not JSON lines"),
    ],
)
def test_wrong_files_are_named(suite, data, message, tmp_path, images):
    file = write(tmp_path / "wrong.json", data)
    with pytest.raises(EvaluationError, match=message):
        for task in build_tasks(suite, [file], images):
            list(task.items())


def test_missing_pictures_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message in ((tmp_path / "empty", "000000000139.jpg"), (None, "--images DIR is needed")):
        (task,) = build_tasks("coco", [write(tmp_path / "captions.json", CAPTIONS)], folder)
        with pytest.raises(EvaluationError, match=message):
            list(task.items())


def test_captions_are_tokenised_as_the_reference_does():
    assert caption_metrics.tokenize("A man's dog isn't here, “really”; it's 3.5 ft.!") == "a man 's dog is n't here really it 's 3.5 ft"


def caption_judgements(tmp_path, images, answers) -> list[Judged]:
    pictures = [dict(CAPTIONS["images"][0], id=number) for number in range(len(answers))]
    references = [
        "a red square on a white wall",
        "a blue dog runs over a field",
        "two people sit at a small table",
        "an old train in the station",
    ]
    notes = [{"image_id": number, "id": number, "caption": references[number]} for number in range(len(answers))]
    file = write(tmp_path / "captions.json", {"images": pictures, "annotations": notes})
    (task,) = build_tasks("coco", [file], images)
    return [Judged(item, said, task.judge(item, said)) for item, said in zip(task.items(), answers, strict=True)]


def test_caption_metrics_know_right_from_wrong(tmp_path, images):
    pytest.importorskip("pycocoevalcap")
    right = [
        "A red square on a white wall.",
        "A blue dog runs over a field.",
        "Two people sit at a small table.",
        "An old train in the station.",
    ]
    values = {figure.name: figure.value for figure in caption_metrics.caption_figures(caption_judgements(tmp_path, images, right))}
    assert values == pytest.approx({"CIDEr": 10.0, "BLEU-4": 1.0, "ROUGE-L": 1.0}, abs=1e-3)
    wrong = {figure.name: figure.value for figure in caption_metrics.caption_figures(caption_judgements(tmp_path, images, right[::-1]))}
    assert wrong["CIDEr"] < 0.5 and wrong["BLEU-4"] < 0.05 and wrong["ROUGE-L"] < 0.4


def test_bleu_of_counts_is_that_of_the_reference_scorer(tmp_path, images):
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu")
    said = [
        "A red square on a wall.",
        "A blue dog runs over the green field.",
        "Two people sit at a small table.",
        "A train in the station.",
    ]
    judged = caption_judgements(tmp_path, images, said)
    references = {index: [caption_metrics.tokenize(one.verdict.values["references"][0])] for index, one in enumerate(judged)}
    captions = {index: [caption_metrics.tokenize(one.answer)] for index, one in enumerate(judged)}
    score, _ = bleu.Bleu(4).compute_score(references, captions, verbose=0)
    ours = next(figure for figure in caption_metrics.caption_figures(judged) if figure.name == "BLEU-4")
    assert math.isclose(ours.value, score[3], rel_tol=1e-6) and ours.low <= ours.value <= ours.high


def test_a_missing_caption_library_is_named(tmp_path, images, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocoevalcap.cider.cider", None)
    with pytest.raises(EvaluationError, match=r"pip install -e '\.\[eval\]'"):
        caption_metrics.caption_figures(caption_judgements(tmp_path, images, ["a"] * 4))
