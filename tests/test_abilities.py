"""What stage 2 teaches to talk about: answers are true, grammatical and balanced, and the right pictures come with them. No network."""

import random
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigpt4_model.training.pocket import abilities, albums, stages, steering
from minigpt4_model.training.pocket.abilities import (
    ABILITIES,
    DRAWINGS,
    PHOTOGRAPHS,
    draw_talk,
    follow_ups,
    places,
    shares_of,
    writing,
    yes_no,
)
from minigpt4_model.training.pocket.abilities.no_picture import ABOUT_A_PICTURE, NONE_THERE, small_talk
from minigpt4_model.training.pocket.abilities.stock import Stock
from minigpt4_model.training.pocket.abilities.talk import ComposingAlbum, Seen, any_scene, find, is_photograph, photograph_scene
from minigpt4_model.training.pocket.abilities.unknowable import photograph_unsure
from minigpt4_model.training.pocket.collections import CorpusError
from minigpt4_model.training.pocket.judge import says
from minigpt4_model.training.pocket.names import lookup
from minigpt4_model.training.pocket.render import Sprite
from minigpt4_model.training.pocket.scenes import ABOVE, LEFT_OF, Scene, SceneObject, compose
from minigpt4_model.training.pocket.sorts import alike, sort_of

# icon, its colours
THINGS = {
    "dog-face": ("brown",), "automobile": ("red",), "rose": ("red", "green"), "grapes": ("purple",), "house": ("blue", "white"),
    "scissors": ("grey",), "popcorn": ("white", "red"), "owl": ("brown",), "astronaut": ("white",), "grinning-face": ("yellow",),
    "woman-biking": ("pink",), "hammer": ("grey", "brown"), "pizza": ("yellow",), "red-heart": ("red",), "santa-claus": ("red",),
    "key": ("yellow",), "cat-face": ("orange",), "bicycle": ("blue",), "clapping-hands": ("yellow",), "sun": ("orange",),
}  # fmt: skip


def sprite(icon: str) -> Sprite:
    shown = lookup(icon)
    about = (shown.concept, shown.name, shown.head, shown.kind, shown.synonyms)
    return Sprite("noto", icon, 0, *about, THINGS[icon], "train")


SPRITES = [sprite(icon) for icon in THINGS]


class DrawnBank:
    """A corpus without files: every sprite is a grey square."""

    sprites = SPRITES

    def draw(self, chance, countable=False):
        some = [one for one in SPRITES if one.kind == "count" or not countable]
        return SimpleNamespace(sprite=chance.choice(some), pixels=np.full((192, 192, 4), 255, np.uint8))

    def draw_other(self, chance, first):
        while True:
            cutout = self.draw(chance)
            if not set(cutout.sprite.synonyms) & set(first.synonyms):
                return cutout


class FewScenes(ComposingAlbum):
    """Two hundred pictures, composed once."""

    def __init__(self, bank):
        super().__init__(bank)
        self.scenes = [compose(bank, random.Random(seed))[1] for seed in range(200)]

    def draw_scene(self, chance, suits=any_scene):
        return find(lambda: Seen(chance.choice(self.scenes)), suits)


@pytest.fixture(scope="module")
def album():
    return FewScenes(DrawnBank())


@pytest.fixture(scope="module")
def stock():
    return Stock(SPRITES)


def single(icon: str) -> Scene:
    return Scene((SceneObject(sprite(icon), (80, 80, 180, 180)),), "white")


def pair(first: str, second: str, relation: str = LEFT_OF) -> Scene:
    boxes = ((10, 80, 110, 180), (150, 80, 250, 180)) if relation == LEFT_OF else ((80, 10, 180, 110), (80, 150, 180, 250))
    return Scene((SceneObject(sprite(first), boxes[0]), SceneObject(sprite(second), boxes[1])), "white", relation=relation)


@pytest.mark.parametrize("name", list(ABILITIES))
def test_conversations_are_english_and_follow_from_the_seed(album, stock, name):
    for seed in range(40):
        talk, again = (ABILITIES[name].draw(random.Random(seed), album, stock) for _ in range(2))
        assert talk.messages("x") == again.messages("x") and talk.turns
        messages = talk.messages("x")
        pictures = sum(part["type"] == "image" for message in messages for part in message["content"])
        assert pictures == len(talk.pictures) <= 2
        assert [message["role"] for message in messages] == ["user", "assistant"] * len(talk.turns)
        for question, answer, _ in talk.turns:
            for text in (question, answer):
                assert text[0].isupper() or text[0] == '"', text
                assert not re.search(r"[{}\[\]]|  |None|\b(\w+) \1\b", text), text
                assert not re.search(r"\ba (?=[aeio](?!ne\b))|\ban (?=[^aeiouhxA-Z\W])", text), text
                assert not re.search(r"\b(they|(?<!of )scissors|grapes|these) is\b|\bit are\b", text, re.I), text
            assert len(answer.split()) <= 48, answer


def test_pictures_come_with_the_first_question_unless_they_are_late(album, stock):
    late = 0
    for seed in range(60):
        for name in ("picture-later", "second-picture"):
            turns = ABILITIES[name].draw(random.Random(seed), album, stock).turns
            assert [len(pictures) for _, _, pictures in turns][:2] == ([0, 1] if name == "picture-later" else [1, 1])
            late += turns[0][1] in NONE_THERE
    assert late > 15
    no_picture = [ABILITIES["no-picture"].draw(random.Random(seed), album, stock).turns for seed in range(60)]
    assert all(not pictures for turns in no_picture for _, _, pictures in turns)
    assert all((answer in NONE_THERE) == (question in ABOUT_A_PICTURE) for turns in no_picture for question, answer, _ in turns)


@pytest.mark.parametrize("ask", list(yes_no.QUESTIONS))
def test_the_asked_answer_is_given_or_none(album, stock, ask):
    told = Counter()
    for seed in range(300):
        chance = random.Random(seed)
        scene, yes = album.draw_scene(chance).scene, bool(seed % 2)
        if turn := ask(scene, chance, stock, yes):
            assert turn[1].split()[0] == ("Yes," if yes else "No,") and turn[0].endswith("?"), turn
            assert len(turn[1].split()) > 2, turn  # with a reason
            told[yes] += 1
    assert told[True] > 10 and told[False] > 10


def test_no_is_as_frequent_as_yes(album, stock):
    said = Counter()
    for seed in range(1500):
        for _, answer, _ in ABILITIES["yes-no"].draw(random.Random(seed), album, stock).turns:
            said[answer.split()[0]] += 1
    assert set(said) == {"Yes,", "No,"} and 0.47 < said["Yes,"] / said.total() < 0.53


def test_what_is_denied_is_not_there(album, stock):
    for seed in range(400):
        chance = random.Random(seed)
        scene = album.draw_scene(chance).scene
        absent = stock.draw_absent(scene, chance)
        assert absent is None or not any(alike(absent, thing.sprite) for thing in scene.objects)
        question, answer = yes_no.ask_exists(scene, chance, stock, True)
        assert any(says(question, thing.sprite.synonyms) for thing in scene.objects), (question, answer)
    assert alike(sprite("woman-biking"), sprite("bicycle")) and not alike(sprite("dog-face"), sprite("automobile"))


def test_colours_counts_and_places_are_judged_rightly(stock):
    rose, owls = single("rose"), Scene((SceneObject(sprite("owl"), (0, 0, 9, 9)),) * 3, "white", count=3)
    asked = [yes_no.ask_if_coloured(rose, random.Random(seed), stock, False)[0] for seed in range(60)]
    assert not any(re.search(r"\b(red|green|orange|pink|brown|purple)\b", text) for text in asked)  # its own, and what is near
    for seed in range(30):
        question, answer = yes_no.ask_if_count(owls, random.Random(seed), stock, bool(seed % 2))
        assert "three owls" in answer and ("three" in question) == bool(seed % 2)
    for seed in range(60):
        question, answer = yes_no.ask_if_placed(pair("dog-face", "owl"), random.Random(seed), stock, bool(seed % 2))
        thing = re.match(r"Is the (\w+)", question)[1]
        truth = {"dog": "left", "owl": "right"}[thing]
        assert truth in answer and (truth in question) == bool(seed % 2), (question, answer)


@pytest.mark.parametrize(("relation", "sides"), [(LEFT_OF, ("left", "right")), (ABOVE, ("top|above|higher", "bottom|below|lower"))])
def test_places_are_right_and_either_side_is_as_frequent(stock, relation, sides):
    scene, said = pair("dog-face", "owl", relation), Counter()
    for seed in range(600):
        chance = random.Random(seed)
        for ask in (places.ask_side, places.ask_where, places.ask_which_side, places.ask_further):
            question, answer = ask(scene, chance, stock)
            told = f"{question.split('?')[0] if ask is places.ask_side else ''} {answer}"
            which = [bool(re.search(rf"\b({side})\b", told)) for side in sides]
            thing = "dog" if re.search(r"\b(dog)\b", answer) else "owl" if "owl" in answer else re.search(r"\b(dog|owl)\b", question)[0]
            if answer.endswith(("of the owl.", "of the dog.", "above the owl.", "below the dog.")):
                thing = re.search(r"the (dog|owl)", question)[1]
            assert which[thing == "owl"] and not which[thing == "dog"], (question, answer)
            said[thing] += 1
    assert 0.46 < said["dog"] / said.total() < 0.54


def test_follow_ups_refer_to_what_was_said(stock):
    scene, second = pair("dog-face", "automobile"), Counter()
    for seed in range(200):
        turns = follow_ups._about_pair(scene, random.Random(seed), stock, 3)
        for (_, before), (question, answer) in zip(turns, turns[1:], strict=False):
            if "other" in question:
                first = "dog" if "dog" in before else "car"
                assert ({"dog": "car", "car": "dog"}[first]) in answer, turns
                second["other"] += 1
            if re.match(r"(And )?([wW]hat|[wW]hich|Can you tell me its) colou?r (is|does) it", question):
                assert ("brown" in answer) == ("dog" in before.split(" and ")[-1]), turns
                second["colour"] += 1
    assert second["other"] > 40 and second["colour"] > 10


def test_two_pictures_are_not_mixed_up(album, stock):
    for seed in range(300):
        talk = ABILITIES["two-pictures"].draw(random.Random(seed), album, stock)
        first, second = (seen.scene for seen in talk.pictures)
        for _, answer, _ in talk.turns:
            if found := re.search(r"\bThe (first|second) (?:picture|one) shows ([^.,]*)", answer):
                scene = (first, second)[found[1] == "second"]
                assert says(found[2], [word for thing in scene.objects for word in thing.sprite.synonyms]), (answer, talk.turns)


def test_unsure_photographs_are_called_maybe(album, stock):
    for seed in range(60):
        talk = photograph_unsure(random.Random(seed), album, stock)
        (seen,) = talk.pictures
        assert not seen.sure and is_photograph(seen.scene)
        assert re.search(r"\b(may|might|could|Perhaps|little)\b", talk.turns[0][1]) and says(talk.turns[0][1], [seen.scene.main.name])


def test_colours_of_photographs_are_neither_asked_nor_told(album, stock):
    shares = shares_of(PHOTOGRAPHS, changed={"photograph-and-drawing": 0})
    for seed in range(300):
        for question, _, _ in draw_talk(random.Random(seed), album, stock, shares).turns:
            assert not re.search(r"\bcolou?r|background\b", question), question
    scene = photograph_scene("sunglasses")
    assert scene.medium == "photo" and writing.fields_of(scene)["a"] == "a pair of sunglasses" and "colour" not in writing.fields_of(scene)


@pytest.mark.parametrize("icon", list(THINGS))
def test_every_pattern_of_every_text_can_be_filled(icon):
    scene = single(icon)
    fields = writing.fields_of(scene)
    for kind in ("story", "poem", "advertisement", "title", "post"):
        for pattern in writing.patterns_for(kind, scene, fields):
            text = pattern.format(**fields)
            assert "{" not in text and not re.search(r"(scissors|grapes|hands) (is|was|has)\b", text), text


def test_there_are_enough_patterns():
    counts = Counter(kind for (kind, use), rows in writing.patterns().items() for _ in rows if use != "asked")
    assert all(counts[kind] >= 29 for kind in ("story", "poem", "advertisement", "title", "post"))
    assert len(writing.uses()) > 150 and len(small_talk()) >= 60 and len(set(small_talk())) == len(small_talk())
    rows = [row for group in writing.patterns().values() for row in group]
    assert len(rows) == len(set(rows))


def test_poems_rhyme_on_words_of_their_own():
    """A name at the end of a line would rhyme only by chance."""
    for (kind, use), rows in writing.patterns().items():
        if kind == "poem" and use != "asked":
            assert all("\n" in row and not re.search(r"\}[.,!?]?$", line) for row in rows for line in row.split("\n")[1:]), rows


def test_sorts():
    assert [sort_of(sprite(icon)) for icon in ("dog-face", "automobile", "rose", "pizza", "astronaut", "house", "hammer", "sun")] == [
        "animal", "vehicle", "plant", "food", "person", "place", "thing", "nature",
    ]  # fmt: skip


def test_shares_can_be_weighed_anew():
    drawings = shares_of(DRAWINGS)
    assert sum(drawings.values()) == pytest.approx(1) and sum(shares_of(PHOTOGRAPHS).values()) == pytest.approx(1)
    assert "places" not in shares_of(DRAWINGS, changed={"places": 0}) and shares_of(DRAWINGS, changed={"look": 2})["look"] == 2
    with pytest.raises(ValueError, match="no ability dancing; there are look, "):
        shares_of(DRAWINGS, changed={"dancing": 1})


# sources: features in reading order


class NumberedPictures:
    """Forty composed pictures; the features of picture i are all i."""

    bank = DrawnBank()

    def scene(self, index):
        return compose(self.bank, random.Random(index))[1]


class NumberedFeatures:
    def __len__(self):
        return 40

    def __getitem__(self, keys):
        return torch.tensor(list(keys)).float()[:, None, None].expand(-1, 90, 8).clone()


@pytest.fixture
def unchanged(monkeypatch):
    monkeypatch.setattr(stages, "jitter", lambda features, chance: features)


def test_scene_conversations_bring_the_pictures_they_talk_about(unchanged):
    shares = {"two-pictures": 1, "no-picture": 1, "look": 1}
    draw = stages.scene_conversations(NumberedFeatures(), NumberedPictures(), stage=2, shares=shares)
    features, examples = draw(np.random.default_rng(0), 30)
    counts = [example.num_pictures for example in examples]
    assert sum(counts) == len(features) and set(counts) == {0, 1, 2}
    words = [said for example in examples for said in example.words_of_pictures]
    assert [said.name for said in words] == [NumberedPictures().scene(int(row[0, 0])).main.name for row in features]
    again = draw(np.random.default_rng(0), 30)
    assert torch.equal(again[0], features) and again[1] == examples
    none, examples = stages.scene_conversations(NumberedFeatures(), NumberedPictures(), 2, {"no-picture": 1})(np.random.default_rng(0), 3)
    assert none.shape == (0, 90, 8) and [example.num_pictures for example in examples] == [0, 0, 0]
    features, examples = stages.scene_conversations(NumberedFeatures(), NumberedPictures(), stage=1)(np.random.default_rng(0), 5)
    assert len(features) == 5 and all(len(example.messages) == 2 for example in examples)


def test_an_album_without_what_is_asked_says_so():
    drawings = albums.ComposedAlbum(NumberedFeatures(), NumberedPictures())
    with pytest.raises(CorpusError, match="400 pictures"):
        drawings.draw_scene(random.Random(0), lambda scene: scene.count > 9)
    with pytest.raises(CorpusError, match="no photographs"):
        drawings.draw_photograph(random.Random(0))


class FewPhotographs:
    """Three known crops: the recogniser is sure of the first and not of the others. Features are all the crop's number."""

    known = [0, 1, 2]
    recognised = [SimpleNamespace(sure=(sure, 0.1, 0.1)) for sure in (0.9, 0.3, 0.2)]
    features = NumberedFeatures()
    tags = SimpleNamespace(num_tokens=6, tell=lambda names, sure: 100 + names[:, 0, None, None].expand(-1, 6, 8).float())

    def name_of(self, index):
        return ("dog", "hammer", "car")[index]


def test_photograph_conversations_tell_sure_from_unsure(unchanged):
    pictures = SimpleNamespace(bank=DrawnBank(), scene=NumberedPictures().scene)
    draw = stages.photograph_conversations(FewPhotographs(), pictures, NumberedFeatures(), {"photograph": 1, "photograph-unsure": 1})
    features, examples = draw(np.random.default_rng(0), 60)
    assert len(features) == len(examples) == 60
    names, kinds = albums.photograph_names(), Counter()
    for row, example in zip(features, examples, strict=True):
        (said,), answer = example.words_of_pictures, example.messages[1]["content"][0]["text"]
        unsure, told = int(row[0, 0]) > 0, int(row[-1, 0])
        assert said.medium == "photo" and said.name == (names[told - 100] if told >= 100 else ("dog", "hammer", "car")[told])
        assert bool(re.search(r"\b(may|might|could|Perhaps|little)\b", answer)) == unsure, answer
        kinds[unsure, told >= 100] += 1
    assert len(kinds) == 4


def test_deciding_conversations_are_of_drawings_and_photographs(unchanged):
    pictures = SimpleNamespace(bank=DrawnBank(), scene=NumberedPictures().scene)
    draw = stages.deciding_conversations(NumberedFeatures(), pictures, FewPhotographs(), share=0.25)
    features, examples = draw(np.random.default_rng(0), 20)
    assert len(examples) == 20 and all(example.decides for example in examples)
    assert len(features) == sum(example.num_pictures for example in examples)
    photographs = [said.medium == "photo" and not said.count for example in examples for said in example.words_of_pictures]
    assert sum(photographs) == 5 and all(photographs[-5:])
    only_drawings = stages.deciding_conversations(NumberedFeatures(), pictures, None, share=0.25)
    assert len(only_drawings(np.random.default_rng(0), 6)[1]) == 6


def test_abilities_that_lack_their_pictures_are_left_out():
    bank = SimpleNamespace(bank=DrawnBank())
    sure_only = FewPhotographs()
    sure_only.known = [0]
    draw = stages.photograph_conversations(sure_only, bank)
    _, examples = draw(np.random.default_rng(0), 80)
    assert {example.num_pictures for example in examples} == {1}


def test_steering_takes_turns_between_words_that_decide_talks_pages_and_no_picture():
    pictures, stock = SimpleNamespace(bank=DrawnBank()), Stock(SPRITES)

    def kind(step: int, **options) -> tuple[str, int]:
        examples = steering.draw_examples(pictures, stock, step, 4, **options)
        words = [said for example in examples for said in example.words_of_pictures]
        name = "page" if any(said.layout for said in words) else "blank" if words[0].nothing else "talk"
        (decides,) = {example.decides for example in examples}
        return "decides" if decides else name, len(examples)

    in_turns = [("blank", 4), ("decides", 6), ("talk", 4), ("decides", 6), ("talk", 4), ("page", 2)]
    assert [kind(step) for step in range(12)] == in_turns * 2
    assert [kind(step, deciding_steps=7) for step in range(12)] == [("decides", 6)] * 7 + (in_turns * 2)[7:]


def test_conversations_are_printed_for_people(monkeypatch, capsys):
    from minigpt4_model.training.pocket.abilities import __main__ as command

    monkeypatch.setattr(command, "SpriteBank", DrawnBank)
    assert command.main(["--show", "3", "--ability", "two-pictures"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("--- ") == 3 and "Q: " in printed and "A: " in printed and "two-pictures" in printed

    def missing():
        raise CorpusError("No pictures: run the build.")

    monkeypatch.setattr(command, "SpriteBank", missing)
    assert command.main([]) == 1 and "run the build" in capsys.readouterr().err
    assert abilities.__doc__ and "--show" in abilities.__doc__
