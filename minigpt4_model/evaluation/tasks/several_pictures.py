"""Two pictures in one question, and no picture at all."""

import re
from collections.abc import Iterator, Sequence

from ...chat.messages import question
from ...training.pocket.judge import plain
from .. import corpus
from ..items import Figure, Item, Judged, Task, Verdict
from ..statistics import share, share_of
from .naming import judge_name

COMPARED = 60


def judge_compared(item: Item, answer: str) -> Verdict:
    """ "Which picture shows the cat?" wants first or second; "What do they show?" wants both things named."""
    wanted = item.expected
    if "which" not in wanted:
        named = [judge_name(Item("", "", [], {"names": names}), answer).right for names in wanted["objects"]]
        return Verdict(all(named), {"both": all(named)}, f"named {sum(named)} of 2")
    said = re.search(
        r"\b(first|second|1st|2nd|former|latter|one|two|1|2|left|right)\b", re.sub(r"\bone of\b|\bthe (two|2)\b", " ", plain(answer))
    )
    first = {"first", "1st", "former", "one", "1", "left"}
    which = "" if not said else "first" if said[0] in first else "second"
    return Verdict(which == wanted["which"], {"which": which == wanted["which"]}, f"said: {which or 'neither'}")


def compared() -> Task:
    """Two drawings of unlike common things: what they show, and which of them shows the one."""
    task = "two-pictures"

    def items() -> Iterator[Item]:
        source, common = corpus.held_out(), corpus.common_concepts()
        things = [sprite for sprite in corpus.shuffled(source.sprites, task) if sprite.kind == "count" and sprite.concept in common]
        for index in range(COMPARED):
            first = things[2 * index % len(things)]
            second = next(sprite for sprite in things[(2 * index + 1) % len(things) :] + things if not corpus.alike(first, sprite))
            images = [corpus.picture_of(source, sprite, f"{task} {index} {sprite.icon}")[0] for sprite in (first, second)]
            which = index // 2 % 2
            if index % 2:
                asked, expected = "What do the two pictures show?", {"objects": [corpus.accepted(first), corpus.accepted(second)]}
                shown = f"{first.name}; {second.name}"
            else:
                name = (first, second)[which].name
                asked = f"Which picture shows the {name}, the first or the second?"
                expected = {"which": ("first", "second")[which]}
                shown = expected["which"]
            yield Item(f"{task}/{index}", task, [question(asked, images)], expected, shown, {"max_new_tokens": 64})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        return [share_of(judged, "both pictures named", "both"), share_of(judged, "the right one of two", "which")]

    return Task(task, "Two pictures compared", items, judge_compared, figures)


ABOUT_A_PICTURE = (
    "What is in this picture?",
    "Describe the image.",
    "What is this?",
    "What colour is it in the picture?",
    "How many animals are there in the picture?",
    "Can you describe this photo in detail?",
    "Is there a dog in the picture?",
    "What is on the left of the picture?",
    "What do you see?",
    "Write a poem about this picture.",
    "What does the drawing show?",
    "Turn this sketch into HTML.",
    "Which animal is this?",
    "What is the main object in this picture?",
    "Please caption this image.",
    "Tell me about this picture.",
)
ABOUT_NO_PICTURE = (
    "What is the capital of France?",
    "Name three colours.",
    "What is two plus two?",
    "Write one sentence about the sea.",
    "What do cats like to eat?",
    "Say hello in one short sentence.",
    "Which month comes after May?",
    "What is bread made of?",
)
_PICTURE = r"(?:picture|image|photo|photograph|drawing|sketch|attachment|file)s?"
_NOT = r"(?:no|not|don't|do not|doesn't|didn't|did not|haven't|hasn't|isn't|aren't|can't|cannot|can not|couldn't|unable|without)"
_GIVEN = r"(?:attached|provided|there|given|included|shared|uploaded|available)"
_SAYS_NONE = re.compile(
    rf"\b{_NOT}\b[^.!?]*\b{_PICTURE}\b"
    rf"|\b{_PICTURE}\b[^.!?]*\b(?:missing|not {_GIVEN}|isn't|wasn't)\b"
    rf"|\b(?:share|upload|attach|provide|send|show me)\b[^.!?]*\b{_PICTURE}\b"
    r"|\b(?:can't|cannot|can not|don't|do not|unable to) see (?:any|it|anything|a)\b"
)


def judge_no_picture(item: Item, answer: str) -> Verdict:
    """Whether the answer says that there is no picture, or asks for one; it should when the question is about one, and only then."""
    says_none = bool(_SAYS_NONE.search(plain(answer)))
    key = "admits" if item.expected["about_a_picture"] else "objects"
    return Verdict(says_none == item.expected["about_a_picture"], {key: says_none}, f"says so: {'yes' if says_none else 'no'}")


def no_picture() -> Task:
    """Questions about a picture that was not given, and ordinary questions, which need none."""
    task = "no-picture"

    def items() -> Iterator[Item]:
        # Two that need a picture, one that needs none: any first N hold both.
        order = [(True, text) for text in ABOUT_A_PICTURE]
        for place, text in enumerate(ABOUT_NO_PICTURE):
            order.insert(3 * place + 2, (False, text))
        for index, (about, text) in enumerate(order):
            shown = "says that there is no picture" if about else "an answer, without asking for a picture"
            yield Item(f"{task}/{index}", task, [question(text)], {"about_a_picture": about}, shown, {"max_new_tokens": 64})

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        wrongly = share(
            "asks for a picture where none is needed",
            [one.verdict.values["objects"] for one in judged if "objects" in one.verdict.values],
            less_is_better=True,
            looks=False,
        )
        return [share_of(judged, "says that there is no picture", "admits", looks=False), wrongly]

    return Task(task, "No picture given", items, judge_no_picture, figures, own_text=False)
