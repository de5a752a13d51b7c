"""Is there a dog? Yes/no questions in POPE's way (Li et al. 2023): half of them no, with three kinds of things that are not there.

*random*: any thing of the corpus. *popular*: one of the things that the corpus shows most. *adversarial*: one of the same sort and,
where there is one, of the same main colour as what is there: what a model says that guesses from the look. Each picture gets a yes
and a no question, so accuracy without looking is 50 %.
"""

import random
from collections.abc import Iterator, Sequence

from ...chat.messages import question
from ...training.pocket.render import Sprite
from ...training.pocket.wording import is_or_are, mention
from .. import corpus
from ..items import Figure, Item, Judged, Task, Verdict
from ..statistics import share
from ..words import yes_or_no

SETTINGS = ("random", "popular", "adversarial")
PICTURES = 120
_HAVE_BODIES = frozenset({"Animals", "Faces", "Body", "People"})
POPULAR = 40  # things that count as popular


def judge_yes_no(item: Item, answer: str) -> Verdict:
    """The answer's yes or no against the expected one; an answer that is neither is wrong."""
    said = yes_or_no(answer, item.expected.get("names", ()))
    return Verdict(said == item.expected["answer"], {"said": said}, f"said: {said or 'neither'}")


def detection_figures(judged: Sequence[Judged], suffix: str = "", **asked: float) -> list[Figure]:
    """POPE's five: accuracy, precision, recall and F1 of "yes", and the share of yes. Intervals of F1 by the bootstrap."""
    import numpy as np

    from ..statistics import bootstrap

    rows = np.array([(one.verdict.values["said"] == "yes", one.item.expected["answer"] == "yes") for one in judged], bool).reshape(-1, 2)

    def f1(some: np.ndarray) -> float:
        both, total = (some[:, 0] & some[:, 1]).sum(), some[:, 0].sum() + some[:, 1].sum()
        return float(2 * both / total) if total else float("nan")

    return [
        share(f"accuracy{suffix}", [bool(one.verdict.right) for one in judged], **asked),
        share(f"precision{suffix}", rows[rows[:, 0], 1].tolist()),
        share(f"recall{suffix}", rows[rows[:, 1], 0].tolist()),
        Figure(f"F1{suffix}", f1(rows), len(rows), *bootstrap(rows, f1)),
        share(f"share of yes{suffix}", rows[:, 0].tolist(), looks=False),
    ]


def figures_by_setting(judged: Sequence[Judged], **asked: float) -> list[Figure]:
    """The five over all, then accuracy and F1 for each kind of negatives."""
    found = detection_figures(judged, **asked)
    neither = [not one.verdict.values["said"] for one in judged]
    found.append(share("answers that are neither yes nor no", neither, less_is_better=True, looks=False))
    for setting in SETTINGS:
        some = [one for one in judged if one.item.expected.get("setting") == setting]
        if some:
            found += [figure for figure in detection_figures(some, f", {setting}") if figure.name.startswith(("accuracy", "F1"))]
    return found


def absent_thing(setting: str, present: Sequence[Sprite], chance: random.Random) -> Sprite:
    """A thing that is on no part of the picture, of the kind that `setting` names."""
    things = [
        sprite for sprite in corpus.trained_things() if sprite.kind == "count" and not any(corpus.alike(sprite, one) for one in present)
    ]
    if any(corpus.section(one) in _HAVE_BODIES for one in present):  # a dog has an eye, and a fist is a hand
        things = [sprite for sprite in things if corpus.section(sprite) not in ("Faces", "Body", "People")]
    if setting == "popular":
        rank = {concept: place for place, concept in enumerate(corpus.ranked_concepts())}
        popular = [sprite for sprite in things if not corpus.is_person(sprite) and len(sprite.name.split()) == 1]
        return chance.choice(sorted(popular, key=lambda sprite: rank[sprite.concept])[:POPULAR])
    if setting == "adversarial":
        main = present[0]
        alike = [sprite for sprite in things if corpus.section(sprite) == corpus.section(main)]
        return chance.choice([sprite for sprite in alike if sprite.colours[:1] == main.colours[:1]] or alike or things)
    return chance.choice(things)


def _question(sprite: Sprite) -> str:
    return f"{'Are' if is_or_are(sprite.kind) == 'are' else 'Is'} there {mention(sprite.name, sprite.kind)} in the picture?"


def yes_no() -> Task:
    task = "yes-no"

    def items() -> Iterator[Item]:
        source = corpus.held_out()
        singles = [sprite for sprite in corpus.shuffled(source.sprites, task) if sprite.kind == "count"]
        for index in range(PICTURES):
            setting, seed = SETTINGS[index % 3], f"{task} {index}"
            chance = random.Random(seed)
            if index % 2:
                image, scene = corpus.picture_of_two(source, seed)
            else:
                image, scene = corpus.picture_of(source, singles[index // 2 % len(singles)], seed)
            there = [thing.sprite for thing in scene.objects]
            for answer, sprite in (("yes", chance.choice(there)), ("no", absent_thing(setting, there, chance))):
                expected = {"answer": answer, "setting": setting, "names": corpus.accepted(sprite)}
                shown = f"{answer} ({setting})"
                yield Item(
                    f"{task}/{index}/{answer}", task, [question(_question(sprite), [image])], expected, shown, {"max_new_tokens": 32}
                )

    def figures(judged: Sequence[Judged]) -> list[Figure]:
        return figures_by_setting(judged, least=0.75, aim=0.90)

    return Task(task, "Yes or no", items, judge_yes_no, figures)
