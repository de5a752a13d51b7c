"""VQAv2: accuracy against ten people's answers, with the official answer normalisation (Goyal et al. 2017; VQA's vqaEval.py).

The two standard files are `v2_OpenEnded_mscoco_val2014_questions.json` and `v2_mscoco_val2014_annotations.json`. An answer's accuracy
is the mean, over the ten ways to leave one person out, of min(matches / 3, 1).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chat.messages import question
from ..items import EvaluationError, Figure, Item, Judged, Task, Verdict
from ..statistics import mean
from .official_files import coco_names, picture_path, prompt, read_json

# The list of PythonEvaluationTools/vqaEvaluation/vqaEval.py at commit c4e6a0e, in its order; apostrophes and colons stay.
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll
    how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't
    she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
    something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas
    wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
    why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# What officially becomes a contraction: its spellings that lack one apostrophe. "somebody'd" goes the other way there, and here.
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word for word in _CONTRACTED.split() for place, sign in enumerate(word) if sign == "'"
} | {"somebody'd": "somebodyd"}
_MOST_STOPS = 32  # officially `re.UNICODE` stands where `re.sub` takes how many to replace


def _without_marks(text: str) -> str:
    # The official rule: a mark that touches a blank, or any mark where a number has a comma, vanishes; others become blanks.
    comma = re.search(r"\d,\d", text) is not None
    found = text
    for mark in _MARKS:
        found = found.replace(mark, "" if f"{mark} " in text or f" {mark}" in text or comma else " ")
    return re.sub(r"\.(?!\d)", "", found, count=_MOST_STOPS)


def _without_articles(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def normalise(answer: str) -> str:
    """An answer as VQA's evaluation compares it."""
    return _without_articles(_without_marks(answer.replace("\n", " ").replace("\t", " ").strip()))


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """0 to 1. People's answers lose their marks, as officially, only where they disagree."""
    people = [_without_marks(said) for said in people] if len(set(people)) > 1 else list(people)
    said = normalise(answer)
    matches = sum(other == said for other in people)
    return sum(min((matches - (other == said)) / 3, 1) for other in people) / len(people)


def judge_vqa(item: Item, answer: str) -> Verdict:
    accuracy = vqa_accuracy(answer, item.expected["answers"])
    return Verdict(accuracy >= 0.5, {"accuracy": accuracy}, f"accuracy {accuracy:.2f}")


def vqa_figures(judged: Sequence[Judged]) -> list[Figure]:
    kinds = sorted({one.item.expected["kind"] for one in judged} - {""})
    by_kind = [mean(f"accuracy, {kind}", _accuracies(judged, kind), "share") for kind in kinds]
    return [mean("accuracy", _accuracies(judged), "share"), *by_kind]


def _accuracies(judged: Sequence[Judged], kind: str | None = None) -> list[float]:
    return [one.verdict.values["accuracy"] for one in judged if kind in (None, one.item.expected["kind"])]


def vqav2(annotations: Sequence[Path], images: Path | None) -> Task:
    """`annotations` are the questions' and the answers' file, in either order."""
    if len(annotations) != 2:
        raise EvaluationError("--suite vqav2 needs two --annotations files: the questions and the annotations (answers).")
    files = {file: read_json(file) for file in annotations}
    questions = next((data["questions"] for data in files.values() if isinstance(data, dict) and "questions" in data), None)
    answers = next((data["annotations"] for data in files.values() if isinstance(data, dict) and "annotations" in data), None)
    if questions is None or answers is None:
        raise EvaluationError(f'--annotations {" ".join(map(str, annotations))}: one must hold "questions", the other "annotations".')
    by_question = {row["question_id"]: row for row in answers}

    def items() -> Iterator[Item]:
        for row in questions:
            if row["question_id"] not in by_question:
                continue
            answered = by_question[row["question_id"]]
            people = [person["answer"] for person in answered["answers"]]
            asked = question(prompt("vqav2").format(question=row["question"]), [picture_path(images, *coco_names(row["image_id"]))])
            expected = {"answers": people, "kind": answered.get("answer_type", "")}
            shown = answered.get("multiple_choice_answer", people[0])
            yield Item(f"vqav2/{row['question_id']}", "vqav2", [asked], expected, shown, {"max_new_tokens": 16})

    return Task("vqav2", "VQAv2", items, judge_vqa, vqa_figures, own_text=False)
