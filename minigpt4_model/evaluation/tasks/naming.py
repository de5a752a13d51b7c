"""Is the main object named? Drawings in styles never trained on, and held-out files of the trained styles.

One picture a concept, so that a thing which a collection draws ten times counts once. The answer must assert the name, the head
noun or a synonym as whole words.
"""

import re
from collections.abc import Iterator, Sequence

from ...chat.messages import question
from ...training.pocket.judge import find_names, plain, says
from ...training.pocket.render import Sprite
from ...training.pocket.scenes import SpriteBank
from .. import corpus
from ..items import Figure, Item, Judged, Task, Verdict
from ..statistics import share, share_of
from ..vocabulary import misleading_names

QUESTION = "What is this?"
_LONGEST = {"max_new_tokens": 48}
MOST = 500  # drawings of one style that are asked about: beyond that a figure gains little and a run takes long
# "an orange apple" names no orange; "an orange on a plate" does.
_COLOUR_BEFORE_A_NOUN = re.compile(
    r"\b(?:orange|rose|violet|peach)(?= (?!(?:and|or|on|in|with|is|are|at|of|that|which|to|next|above|below|from)\b)[a-z])"
)


def judge_name(item: Item, answer: str) -> Verdict:
    """Right when one of `expected["names"]` is asserted. A longer name of another thing does not count: "hot dog" is no dog."""
    names = item.expected["names"]
    right = says(without_longer_names(answer, names), names)
    return Verdict(right, {"named": right, "common": item.expected.get("common")})


def without_longer_names(answer: str, names: Sequence[str]) -> str:
    """`answer` with what means something else cut out: the corpus' longer names that hold one of `names`, and "orange" as a colour."""
    said = _COLOUR_BEFORE_A_NOUN.sub(" ", plain(answer))
    for phrase in misleading_names(frozenset(names)):
        for match in reversed(find_names(said, [phrase])):
            said = f"{said[: match.start()]} {said[match.end() :]}"
    return said


def name_item(task: str, source: SpriteBank, sprite: Sprite) -> Item:
    image, scene = corpus.picture_of(source, sprite, f"{task} {sprite.collection} {sprite.icon}")
    expected = {"names": corpus.accepted(sprite), "common": sprite.concept in corpus.common_concepts(), "style": sprite.collection}
    return Item(f"{task}/{sprite.collection}/{sprite.icon}", task, [question(QUESTION, [image])], expected, sprite.name, dict(_LONGEST))


def naming_style(collection: str, title: str, *, common_only: bool, least: float, aim: float) -> Task:
    """Naming in one drawing style that was never trained on."""
    task = f"name-{collection}"

    def items() -> Iterator[Item]:
        source = corpus.style(collection)
        sprites = [sprite for sprite in source.sprites if not common_only or sprite.concept in corpus.common_concepts()]
        for sprite in corpus.one_of_each(sprites, task)[:MOST]:
            yield name_item(task, source, sprite)

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        common = [one for one in judged if one.verdict.values["common"]]
        found = [share_of(common, "named, the 300 commonest concepts", "named", least=least, aim=aim)]
        return found if common_only else [*found, share_of(judged, "named, all its concepts", "named")]

    return Task(task, title, items, judge_name, figures)


def naming_held_out_files() -> Task:
    """Naming drawings of the trained styles that were kept from training."""
    task = "name-held-out-files"

    def items() -> Iterator[Item]:
        source = corpus.held_out()
        for sprite in corpus.shuffled(source.sprites, task):
            yield name_item(task, source, sprite)

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        styles = sorted({one.item.expected["style"] for one in judged})
        by_style = [
            share(f"named, {name}", [one.verdict.values["named"] for one in judged if one.item.expected["style"] == name])
            for name in styles
        ]
        return [share_of(judged, "named", "named", least=0.40, aim=0.65), *(figure for figure in by_style if figure.count >= 10)]

    return Task(task, "Held-out drawings of trained styles", items, judge_name, figures)
