"""Two pictures in one conversation: compared with each other, or the second in a later turn and asked about by itself.

What is said is about the right one: first and second are asked about equally often.
"""

import random

from ..scenes import Scene
from ..sorts import alike, sort_of
from ..speech import a, colours, has_colour, is_, is_plural, shows_many, simply, the, the_shown, with_article
from ..wording import capitalised, number_word, plural, usual
from .looking import ask_background, ask_colour, ask_count, ask_description, ask_name
from .stock import Stock
from .talk import Album, Seen, Talk, Turn, is_photograph

FIRST, SECOND = "first", "second"
_ORDINALS = (FIRST, SECOND)


def two_pictures(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """Both pictures in the first message, and one or two questions about them."""
    ask = chance.choices(list(QUESTIONS), list(QUESTIONS.values()))[0]
    first, second = _draw_two(chance, album, like=ask is ask_common)
    scenes = (first.scene, second.scene)
    turn = ask(scenes, chance) or ask_both(scenes, chance)
    talk = Talk().add(turn, first, second)
    if chance.random() < 0.4:
        other = chance.choice([one for one in QUESTIONS if one is not ask])
        if (further := other(scenes, chance)) and further[0] != turn[0]:
            talk.add(further)
    return talk


def second_picture(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """A question about a picture, then another picture with a question of its own; now and then back to the first."""
    first, second = _draw_two(chance, album)
    questions = (ask_name, ask_description, ask_colour, ask_count, ask_background)
    talk = Talk().add(_first_that_fits(questions, first, chance, stock), first)
    question, answer = _first_that_fits(questions, second, chance, stock)
    if chance.random() < 0.4:
        question, answer = _name_or_description(second, chance, stock)
        question = chance.choice(
            ("And this?", "And this one?", "And what is this?", "What about this picture?", "What do you see now?", "And here?")
        )
    talk.add((question, answer), second)
    if chance.random() < 0.4:
        scenes = (first.scene, second.scene)
        ask = chance.choice((ask_which, ask_one, ask_different, ask_both))
        if turn := ask(scenes, chance):
            talk.add(turn)
    return talk


def _draw_two(chance: random.Random, album: Album, like: bool = False) -> tuple[Seen, Seen]:
    """Two pictures of unlike things; `like` asks for something that they have in common besides."""
    first = album.draw_scene(chance)

    def suits(scene: Scene) -> bool:
        if any(alike(one.sprite, other.sprite) for one in first.scene.objects for other in scene.objects):
            return False
        return not like or bool(_common(first.scene, scene))

    return first, album.draw_scene(chance, suits)


def _first_that_fits(questions, seen: Seen, chance: random.Random, stock: Stock) -> Turn:
    for ask in chance.sample(questions, len(questions)):
        if turn := ask(seen.scene, chance, stock):
            return turn
    return ask_description(seen.scene, chance, stock)


def _name_or_description(seen: Seen, chance: random.Random, stock: Stock) -> Turn:
    return ask_name(seen.scene, chance, stock) or ask_description(seen.scene, chance, stock)


Scenes = tuple[Scene, Scene]


def ask_both(scenes: Scenes, chance: random.Random) -> Turn:
    """What do the two pictures show?"""
    one, other = map(simply, scenes)
    asked = (
        "What do the two pictures show?",
        "What do you see in these two pictures?",
        "Describe both pictures.",
        "What is in the pictures?",
        "What do these pictures show?",
        "Tell me what is on each picture.",
        "What can you see in each of the two images?",
    )
    answers = (
        f"The first picture shows {one}, and the second shows {other}.",
        f"The first picture shows {one}. The second one shows {other}.",
        f"In the first picture there {_verb(scenes[0])} {one}, in the second there {_verb(scenes[1])} {other}.",
        f"One shows {one}, the other shows {other}.",
    )
    return chance.choice(asked), usual(chance, answers)


def ask_which(scenes: Scenes, chance: random.Random) -> Turn:
    """Which picture shows the dog, the first or the second?"""
    index = chance.randrange(2)
    thing = chance.choice(scenes[index].objects)
    many = scenes[index].count > 1
    known = f"the {plural(thing.name)}" if many else the(thing)
    order = chance.choice(("the first or the second", "the second or the first"))
    are = "are" if many else is_(thing)
    asked = (
        f"Which picture shows {known}?",
        f"Which picture shows {known}, {order}?",
        f"In which picture {are} {known}?",
        f"Which one shows {known}?",
        f"On which of the two pictures do you see {known}?",
        f"Where {are} {known}: in {order} picture?",
    )
    word = _ORDINALS[index]
    answers = (
        f"The {word} picture shows {known}.",
        f"{capitalised(known)} {are} in the {word} picture.",
        f"The {word} one shows {known}.",
        f"The {word} one.",
        f"It is the {word} picture that shows {known}.",
    )
    return chance.choice(asked), usual(chance, answers)


def ask_one(scenes: Scenes, chance: random.Random) -> Turn:
    """What is in the second picture? Its ground, its colour."""
    index = chance.randrange(2)
    scene, word = scenes[index], _ORDINALS[index]
    shown = simply(scene)
    way = chance.choice(("what", "what", "colour", "background"))
    if way == "colour" and not scene.other and has_colour(scene.main):
        many = scene.count > 1
        known = f"the {plural(scene.main.name)}" if many else the(scene.main)
        are = "are" if many else is_(scene.main)
        return f"What colour {are} {known} in the {word} picture?", f"{capitalised(known)} {are} {colours(scene.main)}."
    if way == "background" and not is_photograph(scene):
        return (
            f"What colour is the background of the {word} picture?",
            f"The {word} picture has {with_article(scene.background)} background.",
        )
    asked = (
        f"What is in the {word} picture?",
        f"What does the {word} one show?",
        f"Describe the {word} picture.",
        f"What do you see in the {word} image?",
        f"And what was in the {word} picture?",
    )
    return chance.choice(asked), usual(
        chance, (f"The {word} picture shows {shown}.", f"In the {word} picture I see {shown}.", f"It shows {shown}.")
    )


def ask_different(scenes: Scenes, chance: random.Random) -> Turn:
    """What is different?"""
    one, other = map(simply, scenes)
    asked = (
        "What is different?",
        "What is the difference between the two pictures?",
        "How do the pictures differ?",
        "Compare the two pictures.",
        "How are these two pictures different?",
        "What are the differences?",
        "Are the two pictures the same?",
    )
    question = chance.choice(asked)
    no = "No, the" if question.startswith("Are") else "The"
    parts = [f"{no} first picture shows {one}, but the second shows {other}."]
    grounds = [scene.background for scene in scenes]
    if all(grounds) and grounds[0] != grounds[1] and chance.random() < 0.5:
        parts.append(f"The first background is {grounds[0]}, the second is {grounds[1]}.")
    return question, " ".join(parts)


def _common(one: Scene, other: Scene) -> list[str]:
    """Sentences about what two scenes share."""
    found = []
    if one.background == other.background and one.background:
        found.append(f"Both pictures have {with_article(one.background)} background.")
    if one.count == other.count > 1:
        found.append(f"Both pictures show {number_word(one.count)} things of a kind.")
    if one.other or other.other:
        return found
    first, second = one.main, other.main
    sort = sort_of(first.sprite)
    plain = sort == sort_of(second.sprite) and sort in ("animal", "vehicle", "plant", "person") and one.count == other.count == 1
    if plain and not is_plural(first) and not is_plural(second):
        found.append(f"Both pictures show {with_article(sort)}.")
    if has_colour(first) and has_colour(second) and first.colour == second.colour:
        found.append(f"{capitalised(the_shown(one))} and {the_shown(other)} are both mostly {first.colour}.")
    return found


def ask_common(scenes: Scenes, chance: random.Random) -> Turn | None:
    """What do they have in common?"""
    common = _common(*scenes)
    if not common:
        return None
    asked = (
        "What do they have in common?",
        "What is the same in both pictures?",
        "What do both pictures have in common?",
        "In what way are the two pictures alike?",
        "Is there anything that both pictures share?",
    )
    question = chance.choice(asked)
    answer = usual(chance, common)
    return question, f"Yes. {answer}" if question.startswith("Is there") else answer


def ask_whether(scenes: Scenes, chance: random.Random) -> Turn | None:
    """Is there a dog in the second picture? Yes as often as no: the thing is on one of the two."""
    index, yes = chance.randrange(2), bool(chance.getrandbits(1))
    there, elsewhere = scenes[index], scenes[1 - index]
    thing = chance.choice((there if yes else elsewhere).objects)
    if thing.sprite.kind != "count" or (there if yes else elsewhere).count > 1:
        return None
    it, word, shown = a(thing), _ORDINALS[index], simply(there)
    question = chance.choice(
        (f"Is there {it} in the {word} picture?", f"Does the {word} picture show {it}?", f"Do you see {it} in the {word} image?")
    )
    if yes:
        return question, usual(chance, (f"Yes, the {word} picture shows {shown}.", f"Yes, there is {it} in the {word} picture."))
    other = _ORDINALS[1 - index]
    return question, usual(chance, (f"No, the {word} picture shows {shown}.", f"No, {the(thing)} is in the {other} picture."))


def ask_more(scenes: Scenes, chance: random.Random) -> Turn | None:
    """Which picture shows more things?"""
    counts = [max(scene.count, len(scene.objects)) for scene in scenes]
    if counts[0] == counts[1] or any(not scene.other and scene.main.sprite.kind != "count" for scene in scenes):
        return None
    more = bool(chance.getrandbits(1))
    index = counts.index(max(counts) if more else min(counts))
    question = f"Which picture shows {'more' if more else 'fewer'} things?"
    return question, f"The {_ORDINALS[index]} one: it shows {simply(scenes[index])}."


def ask_which_ground(scenes: Scenes, chance: random.Random) -> Turn | None:
    """Which picture has a blue background?"""
    if any(map(is_photograph, scenes)) or scenes[0].background == scenes[1].background:
        return None
    index = chance.randrange(2)
    ground = with_article(scenes[index].background)
    return f"Which picture has {ground} background?", f"The {_ORDINALS[index]} picture has {ground} background."


def _verb(scene: Scene) -> str:
    return "are" if shows_many(scene) or (scene.other and scene.main.sprite.kind == "plural") else "is"


QUESTIONS = {ask_both: 4, ask_which: 5, ask_one: 3, ask_different: 2, ask_common: 2, ask_whether: 3, ask_more: 1, ask_which_ground: 1}
