"""What a composed scene shows: two objects and where they are, one to four of a thing, colours; asked at once and as a follow-up.

The drawings are held-out files of the trained styles, so that these tasks measure what they are about and less how well an unknown
style is recognised.
"""

from collections.abc import Iterator, Sequence

from ...chat.messages import question, text_message
from ...training.pocket.scenes import LEFT_OF, SceneObject
from ...training.pocket.wording import mention, number_word, plural
from .. import corpus
from ..colour_words import colours_said
from ..items import Figure, Item, Judged, Task, Verdict
from ..numerals import number_said
from ..statistics import share, share_of
from ..words import side_said
from .naming import judge_name

PAIRS, COUNTED, COLOURED, FOLLOWED = 150, 120, 150, 80


def _names(thing) -> list[str]:
    return corpus.accepted(thing.sprite)


def judge_pair(item: Item, answer: str) -> Verdict:
    """Both objects must be named."""
    named = [judge_name(Item("", "", [], {"names": names}), answer).right for names in item.expected["objects"]]
    return Verdict(all(named), {"both": all(named), "either": any(named)}, f"named {sum(named)} of 2")


def two_objects() -> Task:
    """A picture of two things in any arrangement; the common concepts, as in the naming tasks."""
    task = "two-objects"

    def items() -> Iterator[Item]:
        for index in range(PAIRS):
            image, scene = corpus.picture_of_two(corpus.held_out(), f"{task} {index}", common=True)
            things = scene.objects
            asked = [question("What is in this picture?", [image])]
            shown = f"{things[0].name} {scene.relation} {things[1].name}"
            yield Item(f"{task}/{index}", task, asked, {"objects": [_names(thing) for thing in things]}, shown, {"max_new_tokens": 64})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        return [share_of(judged, "both named", "both", least=0.30, aim=0.60), share_of(judged, "at least one named", "either")]

    return Task(task, "Two objects", items, judge_pair, figures)


def judge_side(item: Item, answer: str) -> Verdict:
    """The side that the answer gives for the thing asked about."""
    side = side_said(answer, item.expected["names"], item.expected["other"])
    return Verdict(side == item.expected["side"], {"decided": bool(side)}, f"said: {side or 'no side'}")


def left_or_right() -> Task:
    """Where one of two things is that stand side by side. The question names it, so that recognising is not measured again."""
    task = "left-right"

    def items() -> Iterator[Item]:
        for index in range(PAIRS):
            image, scene = corpus.picture_of_two(corpus.held_out(), f"{task} {index}", LEFT_OF, common=True)
            which = index % 2
            thing, other = scene.objects[which], scene.objects[1 - which]
            side = ("left", "right")[which]
            expected = {"names": _names(thing), "other": _names(other), "side": side}
            asked = question(f"Where is the {thing.name}: on the left or on the right?", [image])
            yield Item(f"{task}/{index}", task, [asked], expected, side, {"max_new_tokens": 48})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        return [
            share("right side", [bool(one.verdict.right) for one in judged], least=0.80, aim=0.95),
            share_of(judged, "answers that name a side", "decided", looks=False),
        ]

    return Task(task, "Left or right", items, judge_side, figures)


def judge_count(item: Item, answer: str) -> Verdict:
    """The number given for the thing, in digits or words."""
    number = number_said(answer, item.expected["names"])
    return Verdict(number == item.expected["count"], {"number": number}, f"said: {'no number' if number is None else number}")


def counting() -> Task:
    """How many? One to four, each equally often."""
    task = "count"

    def items() -> Iterator[Item]:
        source = corpus.held_out()
        things = [sprite for sprite in corpus.shuffled(source.sprites, task) if sprite.kind == "count" and not corpus.is_person(sprite)]
        for index in range(COUNTED):
            sprite, count = things[index % len(things)], 1 + (index + index // 4) % 4
            image, _ = corpus.picture_of_many(source, sprite, count, f"{task} {index}")
            asked = question(f"How many {plural(sprite.name)} are there?", [image])
            expected = {"names": corpus.accepted(sprite), "count": count}
            yield Item(f"{task}/{index}", task, [asked], expected, f"{count} ({number_word(count)})", {"max_new_tokens": 32})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        each = [
            share(f"right of {count}", [bool(one.verdict.right) for one in judged if one.item.expected["count"] == count])
            for count in range(1, 5)
        ]
        return [
            share("right count", [bool(one.verdict.right) for one in judged], least=0.85, aim=0.95),
            *(one for one in each if one.count),
        ]

    return Task(task, "Counting to four", items, judge_count, figures)


def judge_colour(item: Item, answer: str) -> Verdict:
    """The first colour said must be the main colour or one that people would call it as well (`corpus.main_colours`).

    Colour words become one of eleven names first ("navy" is blue). `exact` allows no neighbours, `any` takes every colour that
    covers a good part of the thing.
    """
    said, main = colours_said(answer), item.expected["colour"]
    first = said[0] if said else ""
    right = first in item.expected["accepted"]
    values = {"near": right, "exact": first == main, "any": bool(set(said) & set(item.expected["colours"]))}
    return Verdict(right, values, f"said: {', '.join(said) or 'no colour'}")


def _colour_figures(judged: Sequence[Judged], **asked: float) -> list[Figure]:
    return [
        share_of(judged, "main colour or its neighbour", "near", **asked),
        share_of(judged, "main colour exactly", "exact"),
        share_of(judged, "one of its colours", "any"),
    ]


def _coloured(task: str, count: int) -> Iterator[tuple]:
    """(index, picture, thing) for single things that have a colour to ask about."""
    source = corpus.held_out()
    sprites = [sprite for sprite in corpus.shuffled(source.sprites, task) if sprite.colours and not corpus.is_person(sprite)]
    for index, sprite in enumerate(sprites[:count]):
        image, scene = corpus.picture_of(source, sprite, f"{task} {sprite.collection} {sprite.icon}")
        yield index, image, scene.main


def _expected_colour(thing: SceneObject) -> dict:
    accepted = corpus.main_colours(corpus.held_out().cutout(thing.sprite))
    return {"colour": thing.colour, "accepted": accepted, "colours": list(thing.sprite.colours)}


def colours() -> Task:
    """What colour is it? Nothing is asked of people, whose clothes and skin it would be about."""
    task = "colour"

    def items() -> Iterator[Item]:
        for index, image, thing in _coloured(task, COLOURED):
            expected = _expected_colour(thing)
            are = "are" if thing.sprite.kind in ("plural", "pair") else "is"
            asked = question(f"What colour {are} the {thing.name}?", [image])
            yield Item(f"{task}/{index}", task, [asked], expected, ", ".join(thing.sprite.colours), {"max_new_tokens": 32})

    return Task(task, "Main colour", items, judge_colour, lambda judged: _colour_figures(judged, least=0.70, aim=0.90))


def follow_ups() -> Task:
    """The second question of a conversation: the colour of what the first was about, without naming it again."""
    task = "follow-up"

    def items() -> Iterator[Item]:
        for index, image, thing in _coloured(task, FOLLOWED):
            pronoun = "are they" if thing.sprite.kind in ("plural", "pair") else "is it"
            messages = [
                question("What is this?", [image]),
                text_message("assistant", f"It is {mention(thing.name, thing.sprite.kind)}."),
                question(f"What colour {pronoun}?"),
            ]
            expected = _expected_colour(thing)
            yield Item(f"{task}/{index}", task, messages, expected, ", ".join(thing.sprite.colours), {"max_new_tokens": 32})

    return Task(task, "Follow-up: what colour is it?", items, judge_colour, _colour_figures)
