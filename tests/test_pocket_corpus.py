"""The pocket corpus: what pictures are called, what is held out, how scenes are composed and put into words. No network."""

import random
import re
from collections import Counter

import numpy as np
import PIL.Image
import pytest

from minigpt4_model.training.pocket import captions, phrases
from minigpt4_model.training.pocket.abilities import looking, places
from minigpt4_model.training.pocket.abilities.stock import Stock
from minigpt4_model.training.pocket.collections import COLLECTIONS, HELD_OUT_STYLE, TRAIN, CorpusError, collection, fetch
from minigpt4_model.training.pocket.colours import COLOURS, dominant_colours
from minigpt4_model.training.pocket.dataset import JoinedPictures, PocketPictures
from minigpt4_model.training.pocket.names import ALWAYS_TRAINED, HELD_OUT_OBJECT, SPLITS, is_held_out_object, lookup, split_of, table
from minigpt4_model.training.pocket.render import (
    Picture,
    Sprite,
    icon_pictures,
    load_index,
    load_pixels,
    render_svg,
    wrap_svg,
    write_sprites,
)
from minigpt4_model.training.pocket.scenes import (
    ABOVE,
    LEFT_OF,
    SIDE,
    Cutout,
    Scene,
    SceneObject,
    SpriteBank,
    compose,
    compose_count,
    compose_pair,
    compose_single,
)
from minigpt4_model.training.pocket.stamps import name_in_caption, shown_by
from minigpt4_model.training.pocket.wording import article, mention, plural

SQUARE = '<rect x="4" y="4" width="24" height="24" fill="{}"/>'


def sprite(name: str, colour: str = "red", kind: str = "", row: int = 0, collection_name: str = "noto", split: str = TRAIN) -> Sprite:
    shown = shown_by(name)
    return Sprite(
        collection_name,
        name,
        row,
        shown.concept,
        shown.name,
        shown.head,
        kind or shown.kind,
        shown.synonyms,
        (colour,) if colour else (),
        split,
    )


def cutout(name: str, rgb: tuple[int, int, int], colour: str) -> Cutout:
    pixels = np.zeros((192, 192, 4), np.uint8)
    pixels[20:172, 40:152] = (*rgb, 255)
    return Cutout(sprite(name, colour), pixels)


RED, BLUE = cutout("apple", (220, 40, 40), "red"), cutout("cat", (60, 120, 220), "blue")


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> SpriteBank:
    root = tmp_path_factory.mktemp("sprites")
    pictures = [
        Picture(icon, lookup(icon), lambda paint=paint: render_svg(wrap_svg(SQUARE.format(paint), 0, 0, 32, 32)))
        for icon, paint in (("dog", "#964B00"), ("automobile", "#e02020"), ("rose", "#ff0000"), ("grapes", "#8020b0"), ("house", "#4080e0"))
    ]
    write_sprites(collection("noto"), pictures, root)
    return SpriteBank(root=root)


# names


@pytest.mark.parametrize(
    ("icon", "where", "name", "head"),
    [
        ("grinning-face-with-big-eyes", "noto", "grinning face", "face"),
        ("dog-face", "twemoji", "dog", "dog"),
        ("glass-of-milk", "noto", "glass of milk", "milk"),
        ("alarmclock", "fxemoji", "alarm clock", "clock"),
        ("woman-biking", "noto", "woman riding a bicycle", "woman"),
        ("bicyclist", "fxemoji", "person riding a bicycle", "person"),
        ("man-health-worker", "noto", "doctor", "doctor"),
        ("woman-facepalming", "noto", "woman covering her face", "woman"),
        ("deaf-man", "noto", "man pointing to his ear", "man"),
    ],
)
def test_icons_have_names_a_person_would_use(icon, where, name, head):
    shown = lookup(icon, where)
    assert (shown.name, shown.head) == (name, head)
    assert {name.lower(), head} <= set(shown.synonyms)


@pytest.mark.parametrize(
    "icon", ["woman-biking-dark-skin-tone", "flag-for-france", "keycap-7", "aquarius", "waving-hand-medium-light", "letter-a"]
)
def test_what_no_person_would_name_is_left_out(icon):
    assert lookup(icon, "noto") is None


def test_the_same_thing_is_one_concept_in_every_collection():
    assert lookup("dog", "noto").concept == lookup("dogside", "fxemoji").concept == shown_by("dog").concept
    assert lookup("man-biking").concept == lookup("woman-biking").concept
    assert shown_by("bunny").concept == lookup("rabbit").concept


def test_judges_accept_other_words_for_a_thing():
    assert {"puppy", "dog"} <= set(lookup("dog").synonyms)
    assert {"car", "automobile"} <= set(lookup("automobile").synonyms)


def test_every_row_of_the_table_can_be_said():
    for icon, shown in table().items():
        assert shown.name and shown.head and mention(shown.name, shown.kind), icon
        assert not re.search(r"[-_]$|^\d+$|  ", shown.name), icon


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("A pair of blue jeans with patches.", "blue jeans"),
        ("An iron for ironing clothes.", "iron"),
        ("An inukshuk (or inuksuk), a landmark made of stones.", "inukshuk"),
        ("A knight’s helmet.", "knight helmet"),
        ("Happy!", None),
    ],
)
def test_names_are_read_from_the_captions_of_stamps(caption, name):
    assert name_in_caption(caption) == name


# held out


def test_two_styles_are_never_trained_on():
    assert {row.name for row in COLLECTIONS if row.split == HELD_OUT_STYLE} == {"openmoji", "emojione"}
    for row in COLLECTIONS:
        for icon in ("dog", "automobile", "ambulance"):
            assert (split_of(row, icon, lookup(icon)) == HELD_OUT_STYLE) == (row.split == HELD_OUT_STYLE)


def test_held_out_objects_are_few_the_same_everywhere_and_never_everyday_things():
    concepts = {shown.concept: shown for shown in table().values()}
    held_out = [shown for shown in concepts.values() if is_held_out_object(shown)]
    assert 0.025 < len(held_out) / len(concepts) < 0.06
    assert not {shown.head for shown in held_out} & ALWAYS_TRAINED
    heads = {shown.head for shown in held_out}
    assert all(is_held_out_object(shown) for shown in concepts.values() if shown.head in heads)
    for row in COLLECTIONS:
        if row.split == TRAIN:
            assert {split_of(row, "any", shown) for shown in held_out} == {HELD_OUT_OBJECT}


def test_a_bank_holds_only_its_split(tmp_path):
    held_out = next(icon for icon, shown in table().items() if is_held_out_object(shown))
    draw = lambda: PIL.Image.new("RGBA", (20, 20), "red")  # noqa: E731
    write_sprites(collection("noto"), [Picture("dog", lookup("dog"), draw), Picture(held_out, lookup(held_out), draw)], tmp_path)
    write_sprites(collection("openmoji"), [Picture("dog", lookup("dog"), draw)], tmp_path)
    assert [(one.collection, one.icon) for one in SpriteBank(TRAIN, root=tmp_path).sprites] == [("noto", "dog")]
    assert [one.icon for one in SpriteBank(HELD_OUT_OBJECT, root=tmp_path).sprites] == [held_out]
    assert [one.collection for one in SpriteBank(HELD_OUT_STYLE, root=tmp_path).sprites] == ["openmoji"]
    with pytest.raises(CorpusError, match="pocket.build"):
        SpriteBank(SPLITS[1], root=tmp_path)


# colours, rendering


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((221, 46, 68), "red"),
        ((244, 144, 12), "orange"),
        ((253, 203, 88), "yellow"),
        ((120, 177, 89), "green"),
        ((85, 172, 238), "blue"),
        ((170, 142, 214), "purple"),
        ((244, 171, 186), "pink"),
        ((193, 105, 79), "brown"),
        ((35, 31, 32), "black"),
        ((245, 245, 245), "white"),
        ((140, 142, 145), "grey"),
    ],
)
def test_colours_are_named_as_people_name_them(rgb, name):
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[2:6, 2:6] = (*rgb, 255)
    assert dominant_colours(picture) == [name]


def test_colours_are_ordered_by_area_and_transparency_has_none():
    picture = np.zeros((10, 10, 4), np.uint8)
    assert dominant_colours(picture) == []
    picture[:6], picture[6:9], picture[9:] = (220, 30, 30, 255), (255, 255, 255, 255), (30, 90, 220, 255)
    assert dominant_colours(picture) == ["red", "white"]


def test_rendering_is_deterministic_square_and_kept(tmp_path):
    calls = Counter()

    def draw(paint: str):
        calls[paint] += 1
        return render_svg(wrap_svg(f'<rect width="40" height="10" fill="{paint}"/>', 0, 0, 40, 10))

    def broken():
        raise ValueError("no SVG")

    pictures = [Picture("dog", lookup("dog"), lambda: draw("red")), Picture("bad", lookup("cat"), broken)]
    pictures.append(Picture("empty", lookup("cat"), lambda: PIL.Image.new("RGBA", (9, 9))))
    done = write_sprites(collection("noto"), pictures, tmp_path)
    assert (done.sprites, done.failed) == (1, 2)
    first = np.array(load_pixels("noto", tmp_path))
    assert first.shape == (1, 192, 192, 4) and first.dtype == np.uint8
    rows, columns = np.nonzero(first[0, ..., 3] > 127)
    assert abs(rows.mean() - 95.5) < 1 and np.ptp(columns) > 3 * np.ptp(rows)  # in the middle, not distorted
    write_sprites(collection("noto"), [*pictures, Picture("red-apple", lookup("red-apple"), lambda: draw("blue"))], tmp_path)
    assert calls == {"red": 1, "blue": 1}
    assert np.array_equal(load_pixels("noto", tmp_path)[0], first[0])
    apple = load_index("noto", tmp_path)[1]
    assert apple.colours == ("red", "blue")  # the name knows better than the pixels


def test_hidden_icons_and_nameless_ones_are_not_rendered(tmp_path):
    (tmp_path / "icons.json").write_text(
        '{"width": 32, "height": 32, "icons": {"dog": {"body": "<path/>"}, "cat": {"body": "<path/>", "hidden": true},'
        ' "aries": {"body": "<path/>"}}, "aliases": {"hound": {"parent": "dog"}}}'
    )
    assert [picture.icon for picture in icon_pictures(collection("noto"), tmp_path)] == ["dog"]


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    row = collection("noto")

    def download(_, scratch):
        (scratch / "noto.tgz").write_bytes(b"something else")
        return scratch / "noto.tgz"

    monkeypatch.setattr("minigpt4_model.training.pocket.collections._download", download)
    with pytest.raises(CorpusError, match="sha256"):
        fetch(row, tmp_path)
    assert list(tmp_path.iterdir()) == []


# scenes


def differs(picture: np.ndarray, rgb: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture.astype(int) - rgb).sum(-1)


def test_scenes_are_deterministic(bank):
    for seed in range(30):
        first, second = (compose(bank, random.Random(seed)) for _ in range(2))
        assert np.array_equal(first[0], second[0]) and first[1] == second[1]
        assert first[0].shape == (SIDE, SIDE, 3) and first[0].dtype == np.uint8


@pytest.mark.parametrize("seed", range(20))
def test_the_box_lies_around_the_object(seed):
    picture, scene = compose_single(RED, random.Random(seed))
    left, top, right, bottom = scene.main.box
    assert 0 <= left < right <= SIDE and 0 <= top < bottom <= SIDE
    assert 0.4 * SIDE < max(right - left, bottom - top) <= SIDE
    assert scene.background in COLOURS and scene.background != "red"
    rows, columns = np.nonzero(differs(picture, (220, 40, 40)) < 90)
    assert abs(columns.min() - left) <= 4 and abs(columns.max() + 1 - right) <= 4
    assert abs(rows.min() - top) <= 4 and abs(rows.max() + 1 - bottom) <= 4


@pytest.mark.parametrize("seed", range(20))
def test_pairs_stand_as_their_relation_says(seed):
    _, scene = compose_pair(RED, BLUE, random.Random(seed))
    first, second = scene.main.box, scene.other.box
    assert scene.relation in (LEFT_OF, ABOVE)
    assert first[2] <= second[0] if scene.relation == LEFT_OF else first[3] <= second[1]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_counted_things_do_not_overlap(count):
    for seed in range(15):
        _, scene = compose_count(RED, count, random.Random(seed))
        boxes = [thing.box for thing in scene.objects]
        assert scene.count == len(boxes) == count
        for place, (left, top, right, bottom) in enumerate(boxes):
            assert 0 <= left < right <= SIDE and 0 <= top < bottom <= SIDE
            assert all(right <= a or c <= left or bottom <= b or d <= top for a, b, c, d in boxes[place + 1 :])


def test_joined_sets_are_numbered_through(bank, monkeypatch):
    monkeypatch.setattr(PocketPictures, "bank", bank)
    some, pairs = PocketPictures(3), PocketPictures(2, kind="pair")
    joined = JoinedPictures(some, PocketPictures(0), pairs)
    assert joined.count == 5
    assert [joined.scene(number) for number in range(5)] == [*map(some.scene, range(3)), *map(pairs.scene, range(2))]
    with pytest.raises(IndexError):
        joined.scene(5)
    with pytest.raises(ValueError, match="--pairs"):
        JoinedPictures(PocketPictures(0))


# words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("apple", "an"),
        ("unicorn", "a"),
        ("umbrella", "an"),
        ("hourglass", "an"),
        ("x-ray", "an"),
        ("UFO", "a"),
        ("SUV", "an"),
        ("USB stick", "a"),
        ("dog", "a"),
    ],
)
def test_a_and_an_follow_the_sound(words, expected):
    assert article(words) == expected


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("glass of milk", "glasses of milk"),
        ("woman riding a bicycle", "women riding a bicycle"),
        ("wolf", "wolves"),
        ("berry", "berries"),
        ("box", "boxes"),
        ("person in bed", "people in bed"),
        ("computer mouse", "computer mice"),
        ("red fish", "red fish"),
        ("arrow pointing left", "arrows pointing left"),
        ("face sticking out its tongue", "faces sticking out their tongue"),
        ("woman shrugging", "women shrugging"),
        ("toy", "toys"),
        ("key", "keys"),
        ("dancing woman", "dancing women"),
        ("magnifying glass", "magnifying glasses"),
    ],
)
def test_plurals(one, many):
    assert plural(one) == many


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("scissors", "pair", "a pair of scissors"),
        ("popcorn", "mass", "some popcorn"),
        ("grapes", "plural", "some grapes"),
        ("sun", "the", "the sun"),
        ("Santa Claus", "proper", "Santa Claus"),
        ("two mugs of beer", "plural", "two mugs of beer"),
        ("owl", "count", "an owl"),
    ],
)
def test_things_are_mentioned_as_their_kind_asks(name, kind, said):
    assert mention(name, kind) == said


def test_every_question_has_at_least_eight_phrasings():
    for name in (name for name in vars(phrases) if name.isupper()):
        texts = getattr(phrases, name)
        assert len(texts) == len(set(texts)) >= 8, name


def conversation(bank, seed: int):
    chance = random.Random(seed)
    _, scene = compose(bank, chance)
    return scene, captions.stage2_messages(scene, "picture.png", chance, Stock(bank.sprites))


def test_conversations_are_messages_of_the_project(bank):
    for seed in range(60):
        scene, messages = conversation(bank, seed)
        assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2) and messages
        pictures = [part for message in messages for part in message["content"] if part["type"] == "image"]
        assert pictures == [{"type": "image", "image": "picture.png"}] and messages[0]["content"][0] in pictures
        assert (scene, messages) == conversation(bank, seed)
        for message in messages:
            text = message["content"][-1]["text"]
            assert re.fullmatch(r"[A-Z].*[.?]", text) and "{" not in text and "  " not in text, text
            assert not re.search(r"\b(a) (?=[aeio])|\ban (?=[^aeiouhx\W])", text), text
            assert len(re.findall(r"[.?!](?: |$)", text)) <= 3, text


def test_stage_one_captions_name_what_is_there(bank):
    for seed in range(60):
        chance = random.Random(seed)
        _, scene = compose(bank, chance)
        answer = captions.stage1_messages(scene, "picture.png", chance)[1]["content"][0]["text"].lower()
        assert (plural(scene.main.name) if scene.count > 1 else scene.main.name) in answer
        assert scene.other is None or scene.other.name in answer


@pytest.mark.parametrize("kind", ["single", "pair", "count"])
def test_answers_agree_with_the_scene(bank, kind):
    stock = Stock(bank.sprites)
    for seed in range(40):
        chance = random.Random(seed)
        _, scene = compose(bank, chance, kind)
        if turn := looking.ask_count(scene, chance, stock):
            assert ("one", "two", "three", "four")[scene.count - 1] in turn[1].lower()
        if turn := looking.ask_background(scene, chance, stock):
            assert scene.background in turn[1]
        if turn := places.ask_side(scene, chance, stock):
            first_side, second_side = ("left", "right") if scene.relation == LEFT_OF else ("top", "bottom")
            for thing, side in ((scene.main, first_side), (scene.other, second_side)):
                if turn[0].endswith((f"{side}?", f"{side}.", f"{side} of the picture?")):
                    assert thing.name in turn[1], turn


def test_people_have_no_colour_and_are_no_it():
    thing = SceneObject(sprite("man", "orange"), (80, 80, 180, 180))
    scene = Scene((thing,), "blue")
    for seed in range(20):
        chance = random.Random(seed)
        assert looking.ask_colour(scene, chance, Stock([])) is None
        assert "orange" not in looking.ask_detail(scene, chance, Stock([]))[1]
        assert not re.search(r"\. It is (in|on|near)", looking.ask_detail(scene, chance, Stock([]))[1])
