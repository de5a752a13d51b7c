"""Where the pictures that abilities talk about come from in training: composed ones and photographs, with their cached features."""

import random

import torch

from ..conversations import PLACEHOLDER, Example
from ..features import FeatureCache
from ..representation import SceneWords
from .abilities.talk import Seen, Suits, Talk, any_scene, find, is_photograph, photograph_scene
from .collections import CorpusError
from .dataset import Pictures, words_of
from .photographs import BEST, TaggedPhotographs, photograph_names
from .scenes import Scene

SAYS_NOTHING = SceneWords(name="", nothing=True)  # what the image tokens of the blank picture are to say
UNSURE_BELOW = 0.35  # how sure the recogniser is of its best name
EXCHANGED = 0.6  # share of photographs whose names are exchanged for another thing's, as `TaggedPhotographs.draw` does


def picture_words(scene: Scene) -> SceneWords:
    """What the image tokens are to say; of a photograph only its name is known."""
    return SceneWords(name=scene.main.name, count="", medium="photo") if is_photograph(scene) else words_of(scene)


def blank_example(talk: Talk) -> Example:
    """A conversation that begins without a picture, as chatting renders it: the blank picture is in front."""
    messages = talk.messages(PLACEHOLDER)
    messages[0]["content"].insert(0, {"type": "image", "image": PLACEHOLDER})
    return Example(messages, (SAYS_NOTHING, *(picture_words(seen.scene) for seen in talk.pictures)))


class ComposedAlbum:
    """The composed pictures of a corpus; a picture's key is its number."""

    def __init__(self, cache: FeatureCache, pictures: Pictures):
        self.cache, self.pictures = cache, pictures
        self._scenes: dict[int, Scene] = {}  # composing takes five milliseconds, and pictures are met many times

    def draw_scene(self, chance: random.Random, suits: Suits = any_scene) -> Seen:
        return find(lambda: self._seen(chance.randrange(len(self.cache))), suits)

    def draw_photograph(self, chance: random.Random, sure: bool = True) -> Seen:
        raise CorpusError("Composed pictures are no photographs: what talks about those takes a PhotographAlbum.")

    def features(self, seen: list[Seen]) -> torch.Tensor:
        """`(P, N, Dv)`, also of none."""
        return self.cache[[one.key for one in seen]] if seen else self.cache[[0]][:0]

    def _seen(self, index: int) -> Seen:
        if index not in self._scenes:
            self._scenes[index] = self.pictures.scene(index)
        return Seen(self._scenes[index], index)


class PhotographAlbum:
    """Photographs that the recogniser is sure of, and such that it is not; beside them `drawings`, where given.

    A photograph's key is the number of its crop and, where its names were exchanged, the names told instead and how sure.
    """

    def __init__(self, photographs: TaggedPhotographs, drawings: ComposedAlbum | None = None):
        self.photographs, self.drawings = photographs, drawings
        self.known: dict[bool, list[int]] = {True: [], False: []}
        for index in photographs.known:
            self.known[photographs.recognised[index].sure[0] >= UNSURE_BELOW].append(index)
        self.names = photograph_names()

    @property
    def has(self) -> set[str]:
        """What an ability may need: "drawings", photographs that the recogniser is "unsure" of."""
        return ({"drawings"} if self.drawings else set()) | ({"unsure"} if self.known[False] else set())

    def draw_scene(self, chance: random.Random, suits: Suits = any_scene) -> Seen:
        if self.drawings is None:
            raise CorpusError("This album has photographs only.")
        return self.drawings.draw_scene(chance, suits)

    def draw_photograph(self, chance: random.Random, sure: bool = True) -> Seen:
        if not self.known[sure]:
            raise CorpusError(f"There are no photographs that the recogniser is {'sure' if sure else 'not sure'} of.")
        index = chance.choice(self.known[sure])
        if chance.random() >= EXCHANGED:
            return Seen(photograph_scene(self.photographs.name_of(index)), (index, None), sure)
        told = tuple(chance.sample(range(len(self.names)), BEST))
        like = self.photographs.recognised[chance.choice(self.known[sure])]
        return Seen(photograph_scene(self.names[told[0]]), (index, (told, like.sure)), sure)

    def features(self, seen: list[Seen]) -> torch.Tensor:
        """`(P, N, Dv)` of photographs and drawings."""
        return torch.stack([self._features(one) for one in seen])

    def _features(self, seen: Seen) -> torch.Tensor:
        if not is_photograph(seen.scene):
            return self.drawings.features([seen])[0]
        index, exchanged = seen.key
        features = self.photographs.features[[index]][0]
        if exchanged:
            told, sure = exchanged
            tags = self.photographs.tags
            features[-tags.num_tokens :] = tags.tell(torch.tensor([told]), torch.tensor([sure]))[0]
        return features
