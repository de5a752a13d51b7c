"""Objects named that are not there, in CHAIR's way (Rohrbach et al. 2018), and how fluent such descriptions are.

CHAIRi is the share of mentioned objects that are not on the picture, CHAIRs the share of descriptions with at least one. Objects are
the names of the pocket corpus (`vocabulary`); what a name's synonyms are, a judge of naming accepts too.

The second task is the yardstick for language drift: the frozen LLM describes the same scenes, told in words and without a picture.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from ...chat.messages import question
from ...training.pocket.wording import article, mention
from .. import corpus
from ..items import Figure, Item, Judged, Task, Verdict
from ..statistics import bootstrap, share
from ..vocabulary import mentions

QUESTION = "Describe the picture."
DESCRIBED, YARDSTICK = 120, 40
_LONGEST = {"max_new_tokens": 96}


def judge_description(item: Item, answer: str) -> Verdict:
    """Right when nothing is named that is not there. An answer that names nothing is right, and counts in no share of mentions."""
    found = mentions(answer, item.expected["names"], asked=QUESTION)
    absent = [mention.name for mention in found if not mention.there]
    note = f"not there: {', '.join(absent)}" if absent else f"named: {', '.join(mention.name for mention in found) or 'no object'}"
    return Verdict(not absent, {"mentioned": len(found), "absent": len(absent)}, note)


def _share_absent(rows: np.ndarray) -> float:
    mentioned, absent = rows.sum(0)
    return float(absent / mentioned) if mentioned else float("nan")


def chair_figures(judged: Sequence[Judged]) -> list[Figure]:
    rows = np.array([(one.verdict.values["mentioned"], one.verdict.values["absent"]) for one in judged], float).reshape(-1, 2)
    each = Figure("made-up share of named objects (CHAIRi)", _share_absent(rows), int(rows[:, 0].sum()), *bootstrap(rows, _share_absent))
    return [
        Figure(**{**vars(each), "less_is_better": True}),
        share("descriptions with a made-up object (CHAIRs)", (rows[:, 1] > 0).tolist(), less_is_better=True),
        share("descriptions that name no known object", (rows[:, 0] == 0).tolist(), less_is_better=True, looks=False),
    ]


def _scenes(task: str, count: int) -> Iterator[tuple]:
    source = corpus.held_out()
    singles = corpus.shuffled([sprite for sprite in source.sprites if sprite.concept in corpus.common_concepts()], task)
    for index in range(count):
        seed = f"{task} {index}"
        if index % 3 == 2:
            yield index, *corpus.picture_of_two(source, seed, common=True)
        else:
            yield index, *corpus.picture_of(source, singles[index % len(singles)], seed)


def descriptions() -> Task:
    """Common things alone and in pairs, described."""
    task = "description"

    def items() -> Iterator[Item]:
        for index, image, scene in _scenes(task, DESCRIBED):
            names = [name for thing in scene.objects for name in corpus.accepted(thing.sprite)]
            shown = " and ".join(thing.name for thing in scene.objects)
            yield Item(f"{task}/{index}", task, [question(QUESTION, [image])], {"names": names}, shown, dict(_LONGEST))

    return Task(task, "Descriptions: what is made up", items, judge_description, chair_figures)


def yardstick() -> Task:
    """The LLM's own descriptions of the same scenes, told in words: nothing is judged right or wrong."""
    task = "llm-alone"

    def items() -> Iterator[Item]:
        for index, _, scene in _scenes("description", YARDSTICK):
            things = " and ".join(mention(thing.name, thing.sprite.kind) for thing in scene.objects)
            truth = f"The picture shows {things} on {article(scene.background)} {scene.background} background."
            asked = question(f"{truth} Describe the picture in one sentence.")
            yield Item(f"{task}/{index}", task, [asked], {"truth": truth}, "the LLM's own words", dict(_LONGEST))

    return Task(task, "The LLM alone (yardstick)", items, lambda item, answer: Verdict(None), lambda judged: [], own_text=False)


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]


def drift_figures(likelihoods: Callable[[list[tuple[str, str]]], list], judged: dict[str, Sequence[Judged]]) -> list[Figure]:
    """How much less likely the frozen LLM finds the model's descriptions than its own, in nats a token.

    First sentences only, since later ones are easier to foresee; all scored as answers to the same question without a picture, so
    that what is depicted surprises alike. Beside them a person's plain sentence with the truth. `likelihoods` gives (negative
    log likelihood, tokens) for (question, answer) pairs. Intervals by resampling both sets.
    """
    alone = judged.get("llm-alone", ())
    said = [
        [first_sentence(one.answer) for one in judged.get("description", ())],
        [first_sentence(one.answer) for one in alone],
        [one.item.expected["truth"] for one in alone],
    ]
    scored = [np.array(likelihoods([(QUESTION, text) for text in texts if text]), float).reshape(-1, 2) for texts in said]
    if not all(map(len, scored)):
        return []

    def per_token(rows: np.ndarray) -> float:
        return float(rows[:, 0].sum() / rows[:, 1].sum())

    described, own, _ = scored
    size = max(len(described), len(own))
    # One array of indices, so that both sets are drawn anew together.
    draws = np.stack([np.arange(size) % len(described), np.arange(size) % len(own)], 1)

    def difference(rows: np.ndarray) -> float:
        return per_token(described[rows[:, 0]]) - per_token(own[rows[:, 1]])

    figure = partial(Figure, unit="number", less_is_better=True, looks=False)
    names = ("nats a token, descriptions", "nats a token, the LLM's own", "nats a token, plain true sentences")
    levels = [figure(name, per_token(rows), len(rows), *bootstrap(rows, per_token)) for name, rows in zip(names, scored, strict=True)]
    drift = levels[0].value - levels[1].value
    return [*levels, figure("language drift (descriptions less the LLM's own)", drift, len(described), *bootstrap(draws, difference))]
