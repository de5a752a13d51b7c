"""Scenes in words: short captions for stage 1, questions and answers for stage 2, as the project's messages.

Everything that is said follows from the `Scene` and the given `random.Random`. What stands in a caption is on the picture; what
a question denies is not. To add a kind of question, add a function to `QUESTIONS`: it returns a question and its answer, or None
when the scene does not lend itself to it.
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from . import phrases
from .colours import COLOURS
from .render import Sprite
from .scenes import ABOVE, LEFT_OF, Scene, SceneObject
from .wording import article, capitalised, is_or_are, it_or_they, mention, number_word, plural

Turn = tuple[str, str]


def caption(scene: Scene, chance: random.Random) -> str:
    """One short sentence about the whole picture: "A red apple on a blue background."."""
    what, ground = _what(scene, chance), f"{article(scene.background)} {scene.background} background"
    medium = f"{article(scene.medium)} {scene.medium}"
    return capitalised(chance.choice(phrases.CAPTIONS).format(what=what, ground=ground, medium=medium, is_=_is_are(scene)))


def stage1_messages(scene: Scene, image: Any, chance: random.Random) -> list[dict]:
    """The picture with a request for a short caption, and the caption."""
    return _messages([(chance.choice(phrases.BRIEF_REQUESTS), caption(scene, chance))], image)


def stage2_messages(scene: Scene, image: Any, chance: random.Random, others: Sequence[Sprite], turns: int | None = None) -> list[dict]:
    """A conversation of one to four questions of different kinds. `others` are sprites from which absent things are taken."""
    wanted = turns or chance.choices((1, 2, 3, 4), (4, 3, 2, 1))[0]
    said: list[Turn] = []
    for ask in chance.sample(list(QUESTIONS.values()), len(QUESTIONS)):
        turn = ask(scene, chance, others)
        if turn is not None:
            said.append(turn)
        if len(said) == wanted:
            break
    return _messages(said, image)


def _messages(turns: list[Turn], image: Any) -> list[dict]:
    messages = []
    for place, (question, answer) in enumerate(turns):
        picture = [{"type": "image", "image": image}] if place == 0 else []
        messages.append({"role": "user", "content": [*picture, {"type": "text", "text": question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


def ask_name(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """What is this?"""
    if scene.other:
        return None
    it = mention(scene.main.name, scene.main.sprite.kind) if scene.count == 1 else _what(scene, chance, coloured=False)
    answer = chance.choice(phrases.NAME_ANSWERS).format(it=it, medium=scene.medium)
    if _many(scene):
        answer = re.sub(r"^(It is|This is(?= (?!a (drawing|photo)))|That is)\b", "These are", answer).replace("It looks", "They look")
    return chance.choice(phrases.NAME_QUESTIONS), answer


def ask_description(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """Describe the picture: one or two sentences."""
    opening = chance.choice(("The picture shows", "This is a picture of", "I can see", f"There {_is_are(scene)}"))
    if chance.random() < 0.5:
        second = _pair_colours(scene) if scene.other else _colour_sentence(scene.main, chance, _many(scene))
        return chance.choice(phrases.DESCRIPTION_REQUESTS), f"{opening} {_what(scene, chance, coloured=False)}. {second}".strip()
    second = chance.choice(("", f" The background is {scene.background}."))
    return chance.choice(phrases.DESCRIPTION_REQUESTS), f"{opening} {_what(scene, chance)}.{second}"


def ask_detail(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """Describe in detail: what, how it is coloured, where it is and on what ground, in three sentences."""
    first = f"This is a {scene.medium} of {_what(scene, chance, coloured=False)}."
    ground = chance.choice(("The background is {bg}.", "Behind {it} is a simple {bg} background.", "The ground is plain and {bg}."))
    third = ground.format(bg=scene.background, it="them" if _many(scene) or scene.other else "it")
    if scene.other:
        second = _pair_colours(scene)
    else:
        second = _colour_sentence(scene.main, chance, _many(scene))
        if scene.count == 1:
            third = f"{_again(scene.main)} {_verbs(scene.main)['is_']} {_where(scene.main)}, and {_lower_first(third)}"
    return chance.choice(phrases.DETAIL_REQUESTS), " ".join(part for part in (first, second, third) if part)


def ask_colour(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """What colour is it? Also asked of either thing of a pair."""
    thing = chance.choice(scene.objects[:2]) if scene.other else scene.main
    if not thing.colour or scene.count > 1 or _is_person(thing):
        return None
    the, verbs = _the(thing), _verbs(thing)
    question = chance.choice(phrases.COLOUR_QUESTIONS).format(the=the, The=capitalised(the), it=it_or_they(thing.sprite.kind), **verbs)
    subject = chance.choice((capitalised(the), capitalised(it_or_they(thing.sprite.kind))))
    return question, f"{subject} {verbs['is_']} {_colours(thing)}."


def ask_count(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """How many are there?"""
    if scene.other or scene.main.sprite.kind != "count":
        return None
    many, number = plural(scene.main.name), number_word(scene.count)
    noun, are = (scene.main.name, "is") if scene.count == 1 else (many, "are")
    answer = chance.choice(phrases.COUNT_ANSWERS).format(number=number, Number=capitalised(number), noun=noun, are=are)
    return chance.choice(phrases.COUNT_QUESTIONS).format(many=many), answer


def ask_exists(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """Is there a dog? No as often as yes."""
    shown = _what(scene, chance, coloured=False)
    if chance.random() < 0.5:
        thing = chance.choice(scene.objects).sprite
        question = _exists_question(thing, chance)
        there = mention(thing.name, thing.kind) if scene.count == 1 else f"{number_word(scene.count)} {plural(thing.name)}"
        are = "are" if scene.count > 1 else is_or_are(thing.kind)
        yes = (
            f"Yes, there {are} {there}.",
            f"Yes, I can see {there}.",
            f"Yes, the picture shows {shown}.",
            "Yes.",
            f"Yes, there {are} {there} in the picture.",
        )
        return question, chance.choice(yes)
    absent = _absent(scene, chance, others)
    if absent is None:
        return None
    none = f"no {absent.name}"
    are = is_or_are(absent.kind)
    no = (
        f"No, there {are} {none}; the picture shows {shown}.",
        f"No, I can only see {shown}.",
        f"No, there {are} {none} in the picture.",
        "No.",
        f"No, the picture shows {shown}.",
    )
    return _exists_question(absent, chance), chance.choice(no)


def ask_place(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """What is on the left? Where is the dog?"""
    if not scene.other:
        return None
    sides = ("on the left", "on the right") if scene.relation == LEFT_OF else ("at the top", "at the bottom")
    index = chance.randrange(2)
    thing, neighbour, side = scene.objects[index], scene.objects[1 - index], sides[index]
    is_ = is_or_are(thing.sprite.kind)
    if chance.random() < 0.6:
        a = mention(thing.name, thing.sprite.kind)
        answers = (f"{capitalised(side)} {is_} {a}.", f"{capitalised(a)} {is_} {side}.", f"It is {a}.", f"{capitalised(side)} I see {a}.")
        return chance.choice(phrases.LEFT_RIGHT_QUESTIONS).format(side=side), chance.choice(answers)
    relative = {LEFT_OF: ("to the left of", "to the right of"), ABOVE: ("above", "below")}[scene.relation][index]
    the, is_ = _the(thing), _verbs(thing)["is_"]
    answers = (
        f"{capitalised(the)} {is_} {side}.",
        f"{capitalised(the)} {is_} {relative} {_the(neighbour)}.",
        f"{_again(thing)} {is_} {side}, {relative} {_the(neighbour)}.",
    )
    return chance.choice(phrases.WHERE_QUESTIONS).format(the=the, is_=is_), chance.choice(answers)


def ask_background(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Turn | None:
    """What colour is the background?"""
    many = _many(scene)
    the = (
        f"the {plural(scene.main.name)}"
        if scene.count > 1
        else f"{_the(scene.main)} and {_the(scene.other)}"
        if scene.other
        else _the(scene.main)
    )
    is_ = "are" if many or scene.other else _verbs(scene.main)["is_"]
    fields = {"the": the, "The": capitalised(the), "is_": is_, "bg": scene.background, "a_bg": _a(scene.background)}
    return chance.choice(phrases.BACKGROUND_QUESTIONS).format(**fields), chance.choice(phrases.BACKGROUND_ANSWERS).format(**fields)


QUESTIONS: dict[str, Callable[[Scene, random.Random, Sequence[Sprite]], Turn | None]] = {
    "name": ask_name, "description": ask_description, "detail": ask_detail, "colour": ask_colour, "count": ask_count, "exists": ask_exists,
    "place": ask_place, "background": ask_background,
}  # fmt: skip


def _what(scene: Scene, chance: random.Random, coloured: bool = True) -> str:
    """All that is on the picture, as part of a sentence: "three apples", "a red car to the left of a dog"."""
    if scene.count > 1:
        return f"{number_word(scene.count)} {_painted(scene.main, chance, coloured, plural(scene.main.name))}"
    first = mention(_painted(scene.main, chance, coloured), scene.main.sprite.kind)
    if not scene.other:
        return first
    second = mention(_painted(scene.other, chance, coloured), scene.other.sprite.kind)
    if scene.relation == LEFT_OF:
        return chance.choice(
            (
                f"{first} to the left of {second}",
                f"{first} on the left and {second} on the right",
                f"{first} and {second}",
                f"{first} next to {second}",
            )
        )
    return chance.choice((f"{first} above {second}", f"{first} at the top and {second} at the bottom", f"{first} and {second}"))


def _painted(thing: SceneObject, chance: random.Random, coloured: bool, words: str = "") -> str:
    """The name, now and then with its colour in front; never a colour twice, never before people and faces."""
    words = words or thing.name
    own_colour = any(word in COLOURS for word in thing.name.lower().split())
    plain = own_colour or thing.sprite.kind == "proper" or thing.name[0].isupper() or _is_person(thing) or thing.sprite.head == "face"
    if not coloured or plain or not thing.colour or chance.random() < 0.5 or re.match(r"(two|three)\b", words):
        return words
    return f"{thing.colour} {words}"


def _is_person(thing: SceneObject) -> bool:
    return bool({"man", "woman", "person", "people"} & set(thing.sprite.synonyms))


def _colours(thing: SceneObject) -> str:
    first, *rest = thing.sprite.colours
    return f"{first} and {rest[0]}" if len(rest) == 1 else f"{first}, {rest[0]} and {rest[1]}" if len(rest) == 2 else first


def _colour_sentence(thing: SceneObject, chance: random.Random, many: bool = False) -> str:
    """ "It is red and white."; nothing for people, whose clothes and skin it would be about."""
    if not thing.colour or _is_person(thing):
        return ""
    subject = "They are" if many or thing.sprite.kind in ("plural", "pair") else "It is"
    colours = chance.choice((thing.colour, f"mostly {thing.colour}")) if chance.random() < 0.4 else _colours(thing)
    return f"{subject} {colours}."


def _again(thing: SceneObject) -> str:
    """The thing mentioned a second time, at the beginning of a sentence; a person is no "it"."""
    if not _is_person(thing):
        return capitalised(it_or_they(thing.sprite.kind))
    return capitalised(_the(thing) if len(thing.name.split()) < 3 else f"the {thing.sprite.head}")


def _pair_colours(scene: Scene) -> str:
    first, second = scene.objects[:2]
    if not first.colour or not second.colour or _is_person(first) or _is_person(second):
        return ""
    return f"{capitalised(_the(first))} {_verbs(first)['is_']} {first.colour} and {_the(second)} {_verbs(second)['is_']} {second.colour}."


def _where(thing: SceneObject) -> str:
    """In which third of the picture the middle of a thing lies."""
    left, top, right, bottom = thing.box
    across = ("left", "", "right")[min(2, (left + right) // 2 * 3 // 260)]
    down = ("top", "", "bottom")[min(2, (top + bottom) // 2 * 3 // 260)]
    if across and down:
        return f"in the {down} {across} corner"
    if across:
        return f"on the {across} side"
    return f"near the {down}" if down else "in the middle of the picture"


def _exists_question(thing: Sprite, chance: random.Random) -> str:
    tail = chance.choice(phrases.EXISTS_TAILS)
    if thing.kind in ("the", "proper"):
        return f"Can you see {mention(thing.name, thing.kind)} {tail if not tail.startswith('to be') else 'here'}?"
    some = {"mass": f"any {thing.name}", "plural": f"any {thing.name}"}.get(thing.kind, mention(thing.name, thing.kind))
    if chance.random() < 0.3:
        return f"{chance.choice(('Do you see', 'Can you see', 'Does the picture show'))} {some}?"
    return f"{capitalised(is_or_are(thing.kind))} there {some} {tail}?"


def _absent(scene: Scene, chance: random.Random, others: Sequence[Sprite]) -> Sprite | None:
    """A thing that is certainly not on the picture."""
    there = {word for thing in scene.objects for word in thing.sprite.synonyms}
    for _ in range(100):
        sprite = chance.choice(others)
        if not there & set(sprite.synonyms) and sprite.kind not in ("the", "proper"):
            return sprite
    return None


def _the(thing: SceneObject) -> str:
    return thing.name if thing.sprite.kind == "proper" else "the " + re.sub(r"^(two|three) ", "", thing.name)


def _verbs(thing: SceneObject) -> dict[str, str]:
    many = thing.sprite.kind in ("plural", "pair")
    return {"is_": "are" if many else "is", "does": "do" if many else "does"}


def _many(scene: Scene) -> bool:
    return scene.count > 1 or (not scene.other and scene.main.sprite.kind == "plural")


def _is_are(scene: Scene) -> str:
    """The verb for all that is shown; "there is a dog and a cat" agrees with its first thing."""
    return "are" if scene.count > 1 or scene.main.sprite.kind == "plural" else "is"


def _a(words: str) -> str:
    return f"{article(words)} {words}"


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
