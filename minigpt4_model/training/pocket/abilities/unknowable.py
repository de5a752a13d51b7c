"""What a picture does not tell: names, ages, owners, dates, prices, and what the recogniser is not sure of. Says so.

Only questions that no picture of the corpus answers are asked, by the sort of thing that is shown.
"""

import random

from ..scenes import Scene
from ..sorts import sort_of
from ..speech import a, is_, is_plural, simply, the
from ..wording import usual
from .stock import Stock
from .talk import Album, Seen, Talk, Turn

_OF_ANY_PICTURE = (
    "Where was this picture made?",
    "Who made this picture?",
    "When was this picture made?",
    "What is the title of this picture?",
    "Who owns this picture?",
    "What happened before this picture was made?",
    "What happened after that?",
    "How much does this picture cost?",
    "In which country was this made?",
    "What day of the week was it?",
)
_OF_MEDIUM = {
    "photo": (
        "Who took this photo?",
        "When was it taken?",
        "Where was this photo taken?",
        "What camera was it taken with?",
        "In which year was this photo taken?",
    ),
    "drawing": (
        "Who drew this?",
        "When was it drawn?",
        "How long did it take to draw this?",
        "Who is the artist?",
        "In which year was this drawn?",
    ),
}
# {the} and {The} are the thing, {is_} and {does} agree with it.
_OF_SORT = {
    "animal": (
        "What is the name of {the}?",
        "How old {is_} {the}?",
        "Who owns {the}?",
        "What did {the} eat today?",
        "How much {does} {the} weigh?",
    ),
    "person": ("What is the name of {the}?", "How old {is_} {the}?", "Where {does} {the} live?", "What {is_} {the} thinking about?"),
    "face": ("Whose face is this?", "Why did somebody draw {the}?", "What is the name of {the}?"),
    "food": ("Who made {the}?", "What {does} {the} taste like here?", "How much did {the} cost?", "When {was} {the} bought?"),
    "vehicle": (
        "Who owns {the}?",
        "How fast can {the} go?",
        "How much did {the} cost?",
        "How old {is_} {the}?",
        "Where {is_} {the} going?",
    ),
    "place": ("Where exactly {is_} {the}?", "How old {is_} {the}?", "Who lives near {the}?", "What is {the} called?"),
    "thing": ("Who owns {the}?", "How much did {the} cost?", "Where {was} {the} bought?", "How heavy {is_} {the}?", "How old {is_} {the}?"),
    "plant": ("Who planted {the}?", "How old {is_} {the}?", "What {does} {the} smell like?", "Where {does} {the} grow?"),
}
_CANNOT_TELL = (
    "The picture does not tell. I can only see {a}.",
    "I cannot tell from the picture.",
    "That cannot be seen in the picture.",
    "I do not know; the picture only shows {a}.",
    "The picture does not say. It only shows {a}.",
    "I am afraid the picture does not tell me that.",
    "I cannot know that from looking at the picture.",
    "There is nothing in the picture that tells me that.",
    "I can see {a}, but the picture does not tell that.",
    "I do not know, because the picture does not show it.",
)
_MAY_BE = (
    "It may be {a}, but I am not sure.",
    "I am not sure, but it may be {a}.",
    "It could be {a}, but I am not certain.",
    "It looks a little like {a}, but I am not sure.",
    "This might be {a}, though I cannot say for sure.",
    "Perhaps it is {a}; I am not sure.",
    "I think it may be {a}, but I could be wrong.",
    "Hard to say. It might be {a}.",
)
_NAME_IT = (
    "What is this?",
    "What is in this picture?",
    "What does this photo show?",
    "What do you see?",
    "Can you tell me what this is?",
    "What is it?",
    "Do you know what this is?",
    "What am I looking at?",
    "Describe the picture.",
    "What is the main object in this photo?",
)
_SURE = ("Are you sure?", "Is that certain?", "Are you certain?", "Really?", "How sure are you?")
_NOT_SURE = (
    "No, I am not sure. It may be {a}.",
    "Not quite. It might be {a}, but it is hard to see.",
    "No, I can only guess that it is {a}.",
    "I am not certain; {a} is my best guess.",
)


def ask_unknowable(scene: Scene, chance: random.Random) -> Turn:
    """A question that the picture does not answer, and the answer that it does not."""
    thing = scene.main
    sort = sort_of(thing.sprite)
    general = (*_OF_ANY_PICTURE[: 4 if chance.random() < 0.5 else None], *_OF_MEDIUM[scene.medium])
    own = _OF_SORT.get(sort, ()) if scene.count == 1 and thing.sprite.kind != "proper" else ()
    question = chance.choice(own if own and chance.random() < 0.6 else general)
    fields = {
        "the": the(thing),
        "is_": is_(thing),
        "does": "do" if is_plural(thing) else "does",
        "was": "were" if is_plural(thing) else "was",
    }
    return question.format(**fields), usual(chance, _CANNOT_TELL).format(a=simply(scene))


def cannot_be_seen(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """Asked about what cannot be seen, at once or after the thing was named."""
    return _unknowable_about(album.draw_scene(chance), chance)


def photograph_cannot_tell(chance: random.Random, album: Album, stock: Stock) -> Talk:
    return _unknowable_about(album.draw_photograph(chance), chance)


def _unknowable_about(seen: Seen, chance: random.Random) -> Talk:
    scene, talk = seen.scene, Talk()
    turn = ask_unknowable(scene, chance)
    if chance.random() < 0.5:
        return talk.add(turn, seen)
    shown = simply(scene)
    talk.add(
        (
            chance.choice(("What do you see?", "What does the picture show?")),
            usual(chance, (f"I see {shown}.", f"The picture shows {shown}.")),
        ),
        seen,
    )
    return talk.add(turn)


def photograph_unsure(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """A photograph that the recogniser is not sure of: the answer says so, and stays with it."""
    seen = album.draw_photograph(chance, sure=False)
    it = a(seen.scene.main)
    talk = Talk().add((chance.choice(_NAME_IT), usual(chance, _MAY_BE).format(a=it)), seen)
    if chance.random() < 0.4:
        talk.add((chance.choice(_SURE), usual(chance, _NOT_SURE).format(a=it)))
    return talk
