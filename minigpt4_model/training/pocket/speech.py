"""How English speaks of what is on a scene: names with articles and colours, the verbs and pronouns that agree, places.

Knows grammar and the `Scene`, neither questions nor answers. A person is no "it" and has no colour.
"""

import random
import re

from .colours import COLOURS
from .scenes import LEFT_OF, SIDE, Scene, SceneObject
from .sorts import is_person
from .wording import article, capitalised, mention, number_word, plural

LEFT, RIGHT, TOP, BOTTOM = "on the left", "on the right", "at the top", "at the bottom"
_HE = frozenset({"man", "boy", "prince", "king", "groom", "bridegroom", "merman", "santa", "snowman", "guy", "wizard"})
_SHE = frozenset({"woman", "girl", "princess", "queen", "bride", "mermaid"})


def all_shown(scene: Scene, chance: random.Random, coloured: bool = True) -> str:
    """All that is on the picture, as part of a sentence: "three apples", "a red car to the left of a dog"."""
    if scene.count > 1:
        return f"{number_word(scene.count)} {painted(scene.main, chance, coloured, plural(scene.main.name))}"
    first = mention(painted(scene.main, chance, coloured), scene.main.sprite.kind)
    if not scene.other:
        return first
    second = mention(painted(scene.other, chance, coloured), scene.other.sprite.kind)
    # Either thing comes first, or "left" would come before "right" always; but "there is" has to agree with the first.
    turned = chance.random() < 0.5 and not any(thing.sprite.kind == "plural" for thing in scene.objects)
    if scene.relation == LEFT_OF:
        both = (second, "to the right of", first, RIGHT, LEFT) if turned else (first, "to the left of", second, LEFT, RIGHT)
    else:
        both = (second, "below", first, BOTTOM, TOP) if turned else (first, "above", second, TOP, BOTTOM)
    one, relative, other, here, there = both
    ways = (f"{one} {relative} {other}", f"{one} {here} and {other} {there}", f"{one} and {other}")
    return chance.choices(ways, (3, 3, 2))[0]


def simply(scene: Scene) -> str:
    """The same without places and colours: "a dog and a cat"."""
    if scene.count > 1:
        return f"{number_word(scene.count)} {plural(scene.main.name)}"
    return " and ".join(a(thing) for thing in scene.objects)


def painted(thing: SceneObject, chance: random.Random, coloured: bool = True, words: str = "") -> str:
    """The name, now and then with its colour in front; never a colour twice, never before people and faces."""
    words = words or thing.name
    if not coloured or not colour_fits(thing) or chance.random() < 0.5 or re.match(r"(two|three)\b", words):
        return words
    return f"{thing.colour} {words}"


def colour_fits(thing: SceneObject) -> bool:
    """Whether the colour can stand in front of the name."""
    own_colour = any(word in COLOURS for word in thing.name.lower().split())
    proper = thing.sprite.kind in ("proper", "the") or thing.name[0].isupper()
    return bool(thing.colour) and not (own_colour or proper or is_person(thing.sprite) or thing.sprite.head == "face")


def has_colour(thing: SceneObject) -> bool:
    """Whether one can ask for its colour; of people it would be about clothes and skin."""
    return bool(thing.colour) and not is_person(thing.sprite)


def colours(thing: SceneObject) -> str:
    """All its colours, the one that covers most first: "red, white and blue"."""
    first, *rest = thing.sprite.colours
    return f"{first} and {rest[0]}" if len(rest) == 1 else f"{first}, {rest[0]} and {rest[1]}" if len(rest) == 2 else first


def a(thing: SceneObject) -> str:
    """As it is mentioned first: "an apple", "a pair of scissors"."""
    return mention(thing.name, thing.sprite.kind)


def the(thing: SceneObject) -> str:
    return thing.name if thing.sprite.kind == "proper" else "the " + re.sub(r"^(two|three) ", "", thing.name)


def the_shown(scene: Scene) -> str:
    """All that is shown, as something known: "the two dogs", "the dog and the cat"."""
    if scene.count > 1:
        return f"the {number_word(scene.count)} {plural(scene.main.name)}"
    return " and ".join(the(thing) for thing in scene.objects)


def is_plural(thing: SceneObject) -> bool:
    return thing.sprite.kind in ("plural", "pair")


def is_(thing: SceneObject) -> str:
    """The verb after `the`: "the scissors are"; after `a` it is `wording.is_or_are`'s: "there is a pair of scissors"."""
    return "are" if is_plural(thing) else "is"


def pronoun(thing: SceneObject) -> str:
    """ "it", "they"; of people "he" or "she" where the name says so. With "they" goes `verb_of`'s "are"."""
    if is_plural(thing):
        return "they"
    if not is_person(thing.sprite):
        return "it"
    words = set(thing.name.lower().split()) | {thing.sprite.head}
    return "she" if words & _SHE or thing.name == "Mrs. Claus" else "he" if words & _HE or thing.name == "Santa Claus" else "they"


def pronoun_is(thing: SceneObject) -> str:
    """ "it is", "they are"."""
    word = pronoun(thing)
    return f"{word} {'are' if word == 'they' else 'is'}"


def again(thing: SceneObject) -> str:
    """The thing mentioned a second time, at the beginning of a sentence; a person is named again, shortly."""
    if not is_person(thing.sprite):
        return capitalised(pronoun(thing))
    return capitalised(the(thing) if len(thing.name.split()) < 3 or is_plural(thing) else f"the {thing.sprite.head}")


def colour_sentence(thing: SceneObject, chance: random.Random, many: bool = False) -> str:
    """ "It is red and white."; nothing for people."""
    if not has_colour(thing):
        return ""
    subject = "They are" if many or is_plural(thing) else "It is"
    said = chance.choice((thing.colour, f"mostly {thing.colour}")) if chance.random() < 0.4 else colours(thing)
    return f"{subject} {said}."


def pair_colours(scene: Scene, chance: random.Random) -> str:
    """ "The dog is brown and the car is red.", in either order."""
    if not all(has_colour(thing) for thing in scene.objects[:2]):
        return ""
    first, second = chance.sample(scene.objects[:2], 2)
    return f"{capitalised(the(first))} {is_(first)} {first.colour} and {the(second)} {is_(second)} {second.colour}."


def third_of_picture(thing: SceneObject) -> list[str]:
    """In which third of the picture the middle of a thing lies, down and across, such as `["top", "left"]`; `[]` is the middle."""
    left, top, right, bottom = thing.box
    across = ("left", "", "right")[min(2, (left + right) // 2 * 3 // SIDE)]
    down = ("top", "", "bottom")[min(2, (top + bottom) // 2 * 3 // SIDE)]
    return [word for word in (down, across) if word]


def place_in_picture(thing: SceneObject) -> str:
    """Where the middle of a thing lies, in words: "in the top left corner"."""
    words = third_of_picture(thing)
    down = words[0] if words and words[0] in ("top", "bottom") else ""
    across = words[-1] if words and words[-1] in ("left", "right") else ""
    if across and down:
        return f"in the {down} {across} corner"
    if across:
        return f"on the {across} side"
    return f"near the {down}" if down else "in the middle of the picture"


def shows_many(scene: Scene) -> bool:
    """Whether what is shown is "they"."""
    return scene.count > 1 or (not scene.other and scene.main.sprite.kind == "plural")


def there_is(scene: Scene) -> str:
    """The verb for all that is shown; "there is a dog and a cat" agrees with its first thing."""
    return "are" if scene.count > 1 or scene.main.sprite.kind == "plural" else "is"


def with_article(words: str) -> str:
    return f"{article(words)} {words}"


def lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
