"""The pocket suite's tasks on a small corpus made here: what they ask, what they expect, what their judges accept."""

import dataclasses
import json
from collections import Counter

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.evaluation import corpus, vocabulary
from minigpt4_model.evaluation.items import Item, Judged
from minigpt4_model.evaluation.suites import build_tasks
from minigpt4_model.evaluation.tasks import hallucination, naming, no_picture, photographs, scenes, several_pictures, sketches, yes_no
from minigpt4_model.training.pocket.collections import collection
from minigpt4_model.training.pocket.names import HELD_OUT_FILE, lookup, split_of, table
from minigpt4_model.training.pocket.render import Picture, sprites_home, write_sprites
from minigpt4_model.training.pocket.scenes import Cutout

COLOURS = ("red", "blue", "green", "yellow", "purple")
CACHED = (
    corpus.bank, corpus.ranked_concepts, corpus.common_concepts, corpus.trained_things, vocabulary.object_names, vocabulary._called,
    vocabulary._singular, vocabulary.misleading_names,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small_corpus(tmp_path_factory):
    """A sixth of the trained drawings and all held-out ones of one collection, and some of the styles never seen; coloured squares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIGPT4_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("noto", "openmoji", "emojione"):
            row, pictures = collection(name), []
            for place, icon in enumerate(sorted(icon for icon in table() if lookup(icon))):
                shown = lookup(icon)
                wanted = (
                    place % 6 == 0
                    or icon in ("hot-dog", "dog", "bear", "tropical-fish")
                    or (name == "noto" and split_of(row, icon, shown) == HELD_OUT_FILE)
                )
                if wanted and (name == "noto" or place % 12 == 0):
                    paint = COLOURS[place % len(COLOURS)]
                    pictures.append(Picture(icon, shown, lambda paint=paint: PIL.Image.new("RGBA", (24, 20), paint)))
            write_sprites(row, pictures, sprites_home())
        for cached in CACHED:
            cached.cache_clear()
        yield
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture(scope="module")
def tasks(small_corpus):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "download_wheel", lambda *args, **kwargs: pytest.fail("a wheel was fetched"))
        patch.setattr(photographs, "_wheel", lambda package: None)
        return {task.name: task for task in build_tasks("pocket")}


def first(task, count=24) -> list[Item]:
    items = []
    for item in task.items():
        items.append(item)
        if len(items) == count:
            break
    return items


def pixels(item: Item) -> list[bytes]:
    parts = [part for message in item.messages if not isinstance(message["content"], str) for part in message["content"]]
    return [np.asarray(part["image"]).tobytes() for part in parts if part["type"] == "image" and not isinstance(part["image"], str)]


def text(item: Item) -> str:
    return item.messages[-1]["content"][-1]["text"]


def test_items_are_the_same_each_time_and_their_expectations_are_json(tasks):
    ids = Counter()
    for task in tasks.values():
        one, two = first(task, 6), first(task, 6)
        assert [(item.id, item.expected, text(item), pixels(item)) for item in one] == [
            (item.id, item.expected, text(item), pixels(item)) for item in two
        ]
        json.dumps([item.expected for item in one])
        ids.update(item.id for item in one)
    assert max(ids.values()) == 1


def test_the_right_answer_is_right_and_another_is_wrong(tasks):
    for name in ("name-openmoji", "name-emojione", "name-held-out-files"):
        for item in first(tasks[name], 12):
            assert tasks[name].judge(item, f"This is a drawing of the {item.shown}.").right, item.shown
            assert not tasks[name].judge(item, "This is a quokka.").right
            assert not tasks[name].judge(item, f"This is not the {item.shown}.").right


def test_held_out_pictures_only(tasks):
    held_out = {sprite.icon for sprite in corpus.held_out().sprites}
    assert {item.expected["style"] for item in first(tasks["name-openmoji"])} == {"openmoji"}
    assert {item.id.rpartition("/")[2] for item in first(tasks["name-held-out-files"])} <= held_out


def test_a_longer_name_of_another_thing_is_not_the_thing():
    item = Item("", "", [], {"names": ["dog", "puppy"]})
    assert "hot dog" in vocabulary.object_names()
    assert naming.judge_name(item, "It is a brown dog.").right
    assert not naming.judge_name(item, "It is a hot dog.").right
    assert naming.judge_name(item, "It is a hot dog next to a dog.").right
    orange = Item("", "", [], {"names": ["orange"]})
    assert naming.judge_name(orange, "It is an orange on a plate.").right and naming.judge_name(orange, "An orange.").right
    assert not naming.judge_name(orange, "It is an orange apple.").right
    assert naming.judge_name(Item("", "", [], {"names": ["fish"]}), "It is a tropical fish.").right


def test_two_objects_need_both_names(tasks):
    task = tasks["two-objects"]
    for item in first(task, 6):
        names = item.expected["objects"]
        assert task.judge(item, f"A {names[0][0]} and a {names[1][0]}.").right
        assert task.judge(item, f"A {names[0][0]}.").values == {"both": False, "either": True}


def test_sides_are_those_of_the_picture_and_as_often_left_as_right(tasks):
    task, items = tasks["left-right"], first(tasks["left-right"])
    assert Counter(item.expected["side"] for item in items) == {"left": 12, "right": 12}
    for item in items:
        side = item.expected["side"]
        other = {"left": "right", "right": "left"}[side]
        assert task.judge(item, f"It is on the {side}.").right and not task.judge(item, f"It is on the {other}.").right
        name, neighbour = item.expected["names"][0], item.expected["other"][0]
        assert task.judge(item, f"The {neighbour} is to the {other} of the {name}.").right


def test_counts_are_even_and_their_pictures_differ(tasks):
    items = first(tasks["count"], 24)
    assert set(Counter(item.expected["count"] for item in items).values()) == {6}
    task = tasks["count"]
    assert all(task.judge(item, f"There are {item.expected['count']}.").right for item in items)
    assert not any(task.judge(item, "There are seven.").right or task.judge(item, "Some.").right for item in items)


def test_colours_take_the_first_said_and_what_people_may_call_it(tasks):
    item = Item("", "", [], {"colour": "red", "accepted": ["red", "orange"], "colours": ["red", "white"]})
    values = {said: scenes.judge_colour(item, said).values for said in ("It is red.", "It is orange.", "White and red.", "Dark blue.", "")}
    assert [tuple(value.values()) for value in values.values()] == [
        (True, True, True), (True, False, False), (False, False, True), (False, False, False), (False, False, False),
    ]  # fmt: skip
    for item in first(tasks["colour"], 12):
        assert tasks["colour"].judge(item, f"It is {item.expected['colour']}.").values["exact"]


def test_neighbouring_colours_are_accepted_near_the_border_only():
    sprite = dataclasses.replace(corpus.held_out().sprites[0], colours=())

    def accepted(*rgb: int) -> set[str]:
        return set(corpus.main_colours(Cutout(sprite, np.full((192, 192, 4), (*rgb, 255), np.uint8))))

    assert [accepted(40, 90, 220), accepted(200, 30, 40), accepted(255, 255, 255)] == [{"blue"}, {"red"}, {"white"}]
    assert {"orange", "brown"} <= accepted(196, 105, 40) <= {"red", "orange", "brown", "yellow"}


def test_a_follow_up_does_not_name_the_thing_again(tasks):
    for item in first(tasks["follow-up"], 6):
        assert [message["role"] for message in item.messages] == ["user", "assistant", "user"]
        assert text(item) in ("What colour is it?", "What colour are they?")


def test_half_of_the_yes_no_questions_are_no_and_no_thing_denied_is_there(tasks):
    items = first(tasks["yes-no"], 60)
    assert Counter((item.expected["setting"], item.expected["answer"]) for item in items) == {
        (setting, answer): 10 for setting in yes_no.SETTINGS for answer in ("yes", "no")
    }
    for asked, denied in zip(items[::2], items[1::2], strict=True):
        assert pixels(asked) == pixels(denied)
        assert not set(asked.expected["names"]) & set(denied.expected["names"])


def test_adversarial_things_are_of_the_same_sort():
    import random

    present = next(sprite for sprite in corpus.held_out().sprites if corpus.section(sprite) == "Animals")
    chance = random.Random(1)
    assert {corpus.section(yes_no.absent_thing("adversarial", [present], chance)) for _ in range(8)} == {"Animals"}
    sorts = {corpus.section(yes_no.absent_thing("random", [present], chance)) for _ in range(60)}
    assert len(sorts) > 2 and not sorts & {"Faces", "Body"}  # an animal has a face


def test_detection_figures():
    def judged(said, answer, setting):
        item = Item("", "", [], {"answer": answer, "setting": setting, "names": ["dog"]})
        return Judged(item, said, yes_no.judge_yes_no(item, said))

    rows = [
        judged("Yes.", "yes", "random"),
        judged("Yes.", "no", "random"),
        judged("No.", "yes", "popular"),
        judged("Hm.", "no", "popular"),
    ]
    values = {figure.name: figure.value for figure in yes_no.figures_by_setting(rows)}
    assert values["accuracy"] == 0.25 and values["precision"] == 0.5 and values["recall"] == 0.5 and values["F1"] == 0.5
    assert values["share of yes"] == 0.5 and values["answers that are neither yes nor no"] == 0.25
    assert values["accuracy, random"] == 0.5 and values["accuracy, popular"] == 0.0 and "accuracy, adversarial" not in values


def test_photographs_that_are_at_hand_are_asked_and_the_others_named(tasks):
    pytest.importorskip("skimage")
    task = tasks["name-photographs"]
    items = list(task.items())
    assert len(items) >= 14 and "imgaug" in task.missing
    cat = next(item for item in items if item.id.endswith("chelsea.png"))
    assert task.judge(cat, "A tabby looks at you.").right and not task.judge(cat, "A catalogue.").right
    assert all(item.expected["licence"] for item in items)


def test_compared_pictures_ask_for_both_and_for_one(tasks):
    task = tasks["two-pictures"]
    items = first(task, 8)
    assert all(len(pixels(item)) == 2 for item in items)
    which = [item for item in items if "which" in item.expected]
    assert Counter(item.expected["which"] for item in which) == {"first": 2, "second": 2}
    for item in which:
        assert task.judge(item, f"The {item.expected['which']} picture shows it.").right
        assert not task.judge(item, "Both.").right
    both = next(item for item in items if "objects" in item.expected)
    names = both.expected["objects"]
    assert task.judge(both, f"The first shows a {names[0][0]}, the second a {names[1][0]}.").right


@pytest.mark.parametrize(
    ("answer", "which"),
    [
        ("The one on the right.", "second"),
        ("The one on the left.", "first"),
        ("The right one.", "second"),
        ("It is not the first picture but the second.", "second"),
        ("It isn't the second one, it's the first.", "first"),
        ("The first picture does not show the cat; the second does.", "second"),
        ("The first picture has no cat. The second one has.", "second"),
        ("The second and not the first.", "second"),
        ("The second rather than the first.", "second"),
        ("The first one shows a dog, the second one a cat.", "second"),
        ("The first shows a cat and the second a dog.", "first"),
        ("A dog on the left and a cat on the right.", "second"),
        ("Which one shows the cat, the first or the second? The second.", "second"),
        ("It is the first or the second.", ""),
        ("Picture 2.", "second"),
        ("1", "first"),
        ("Image one shows it.", "first"),
        ("One of the two.", ""),
        ("One is a cat, and the other one is a fox.", ""),
        ("Two pictures show a cat.", ""),
        ("Image 1 shows a dog and image 2 a cat.", "second"),
        ("The cat is a white one.", ""),
        ("A picture of two cats.", ""),
        ("At first glance, the second.", "second"),
        ("The **second** picture.", "second"),
        ("Not the first.", ""),
        ("Both.", ""),
    ],
)
def test_which_of_two_is_said(answer, which):
    item = Item("", "", [], {"which": "second", "names": ["cat", "kitten"]})
    assert several_pictures.which_said(answer, item.expected["names"]) == which
    assert several_pictures.judge_compared(item, answer).right is (which == "second")


@pytest.mark.parametrize(
    ("answer", "says_so"),
    [
        ("There is no picture: please add one.", True),
        ("I don't see any image in your message.", True),
        ("Please upload the photo you mean.", True),
        ("I cannot see it.", True),
        ("No picture was given.", True),
        ("There isn't an image attached.", True),
        ("I don't have access to any picture.", True),
        ("You haven't given me a picture.", True),
        ("I was not given an image.", True),
        ("I'm not able to see images.", True),
        ("The picture you mentioned is missing.", True),
        ("The image did not load.", True),
        ("Your photo wasn't attached.", True),
        ("I don't know which picture you mean.", True),
        ("Could you send me the image?", True),
        ("Without a picture I can only guess.", True),
        ("I can't see anything.", True),
        ("Which picture?", True),
        ("There are no people in the picture, just a brown dog on grass.", False),
        ("The picture shows a dog that isn't happy.", False),
        ("A dog, not a cat, is in the picture.", False),
        ("I don't see any people in the image, but there is a cat.", False),
        ("There is nothing on the left of the picture.", False),
        ("It isn't a photo but a drawing of a dog.", False),
        ("The picture shows a dog with a missing leg.", False),
        ("In the picture there is no dog.", False),
        ("The drawing shows a house without windows.", False),
        ("I can't see a cat, only a dog.", False),
        ("Two children share a picture book.", False),
        ("A man is showing a photo to his friend.", False),
        ("There are no pictures on the wall.", False),
        ("The image shows a cat and the dog is not visible.", False),
        ("The dog in the picture is not given a name.", False),
        ("The tail of the dog in the image is missing.", False),
        ("One leg of the dog on the photo did not appear.", False),
        ("It is a cat.", False),
        ("The picture shows a dog.", False),
        ("Paris.", False),
    ],
)
def test_without_a_picture_it_should_say_so(answer, says_so):
    asked, needless = (Item("", "", [], {"about_a_picture": about}) for about in (True, False))
    assert no_picture.judge_no_picture(asked, answer).right is says_so
    assert no_picture.judge_no_picture(needless, answer).right is not says_so


def test_made_up_objects_are_counted():
    item = Item("", "", [], {"names": ["dog", "puppy"]})
    told = {said: hallucination.judge_description(item, said) for said in (
        "The picture shows a dog on a white background.",
        "A hot dog.",
        "A dog and two bears, and the dog is brown.",
        "There is no bear.",
        "A drawing of an animal.",
    )}  # fmt: skip
    assert [tuple(verdict.values.values()) for verdict in told.values()] == [(1, 0), (1, 1), (2, 1), (0, 0), (0, 0)]
    figures = hallucination.chair_figures([Judged(item, said, verdict) for said, verdict in told.items()])
    assert [(figure.value, figure.count) for figure in figures] == [(0.5, 4), (0.4, 5), (0.4, 5)]


def test_language_drift_is_the_difference_in_nats_of_first_sentences():
    def judged(text):
        return [Judged(Item("", "", [], {"truth": "True."}), text, None)] * 5

    scores = {"Described.": (4.0, 2), "Alone.": (3.0, 2), "True.": (10.0, 4)}
    figures = hallucination.drift_figures(
        lambda pairs: [scores[answer] for _, answer in pairs],
        {"description": judged("Described. More."), "llm-alone": judged("Alone.")},
    )
    assert [figure.value for figure in figures] == [2.0, 1.5, 2.5, 0.5]
    assert hallucination.drift_figures(lambda pairs: [], {}) == []


def test_sketches_say_that_there_are_none_until_there_are(tasks, tmp_path):
    assert "no page sketches yet" in tasks["page-sketch"].missing and list(tasks["page-sketch"].items()) == []
    file = tmp_path / "held-out.jsonl"
    page = "<header><h1>A</h1></header><ul><li>x</li></ul>"
    file.write_text(json.dumps({"id": 1, "image": "a.png", "html": page}) + "\n")
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    task = sketches.page_sketches(file)
    (item,) = task.items()
    assert not task.missing and item.settings["max_new_tokens"] >= 400
    file.write_text(json.dumps({"id": "\u2028", "image": "a.png", "html": "<p>a\u2028b\x85c</p>"}, ensure_ascii=False) + "\n", "utf-8")
    assert [item.expected["html"] for item in task.items()] == ["<p>a\u2028b\x85c</p>"]
    answers = {
        f"```html\n{page}\n```": (True, True, 1.0),
        "<header><h1>A</h1></header>": (False, True, 0.8),
        "<ul><li>x": (False, False, 0.5),
        "I cannot.": (False, False, 0.0),
    }
    for answer, expected in answers.items():
        verdict = task.judge(item, answer)
        assert (verdict.right, verdict.values["valid"], pytest.approx(verdict.values["f1"])) == expected, answer
