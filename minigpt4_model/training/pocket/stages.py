"""The pocket model's stages: what each draws its samples from, and the held-out figures that pick its best checkpoint."""

import random
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
import torch

from ...chat.blank import blank_picture
from ...model import MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..conversations import PLACEHOLDER, ConversationSource, Example, render_prompt
from ..features import FeatureCache
from ..representation import SceneWords, Source, WordLoss, WordPlaces, WordReader
from .abilities import ABILITIES, DECIDED, DECIDED_PHOTOGRAPHS, DRAWINGS, NOTHING, PHOTOGRAPHS, draw_talk, shares_of
from .abilities.stock import Stock
from .abilities.talk import Talk
from .albums import SAYS_NOTHING, ComposedAlbum, PhotographAlbum, blank_example, picture_words
from .captions import ask_caption
from .colours import COLOURS
from .dataset import NUMBERS, SIDES, Pictures, PocketPictures, words_of
from .imagenet_names import class_names
from .judge import names_it
from .photographs import TaggedPhotographs
from .render import Sprite
from .scenes import SceneObject
from .sketches.words import WORDS as LAYOUT_WORDS

PATCHES = 82  # the drawing branch's mean and patches; what follows are the photograph branch's mean and the tag tokens


def jitter(
    features: torch.Tensor, chance: np.random.Generator, noise: float = 0.3, hidden: float = 0.25, mixed: float = 0.3
) -> torch.Tensor:
    """Features `(B, N, Dv)` of pictures that are a little different, since each picture is met many times.

    Up to a share `mixed` of another picture shines through, noise up to `noise` is added, and up to a share `hidden` of the
    patches is covered by the picture's mean. One in three stays as it is: a model that only met changed features
    answers nonsense to unchanged ones, because it comes to lean on the change. What is recognised (the tag tokens) stays.
    """
    generator = torch.Generator().manual_seed(int(chance.integers(2**63)))
    patches, tags = features[:, :PATCHES], features[:, PATCHES:]
    strength = (1.5 * torch.rand(len(patches), 1, 1, generator=generator) - 0.5).clamp_min(0)
    changed = patches + mixed * strength * (patches.roll(1, 0) - patches)
    changed = changed + noise * strength * torch.randn(patches.shape, generator=generator)
    covered = torch.rand(patches.shape[:2], generator=generator)[..., None] < hidden * strength
    return torch.cat([torch.where(covered, patches[:, :1], changed), tags], dim=1)


def scene_words(cache: FeatureCache, pictures: Pictures) -> Source:
    """Composed pictures for the representation stage."""
    # Composing takes five milliseconds, which at this stage's pace would be half its time: do it once.
    words = [words_of(pictures.scene(index)) for index in range(pictures.count)]

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[SceneWords]]:
        chosen = chance.integers(len(cache), size=count).tolist()
        return jitter(cache[chosen], chance), [words[index] for index in chosen]

    return draw


def photograph_words(photographs: TaggedPhotographs) -> Source:
    """Photographs for the representation stage."""

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[SceneWords]]:
        features, names = photographs.draw(chance, count)
        return jitter(features, chance), [SceneWords(name=name, count="", medium="photo") for name in names]

    return draw


def blank_words(blank: torch.Tensor) -> Source:
    """The blank picture's features `(N, Dv)` for the representation stage."""

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[SceneWords]]:
        return blank.expand(count, -1, -1), [SAYS_NOTHING] * count

    return draw


def scene_conversations(
    cache: FeatureCache,
    pictures: Pictures,
    stage: int,
    shares: Mapping[str, float] | None = None,
    blank: torch.Tensor | None = None,
    decides: bool = False,
) -> ConversationSource:
    """Composed pictures with a caption (stage 1) or with what `abilities` say of them (stage 2), by their `shares`.

    `blank` are the features of the blank picture, where the model is to read one. `decides` as in `Example`.
    """
    album, stock = ComposedAlbum(cache, pictures), Stock(pictures.bank.sprites)
    weights = shares_of(DRAWINGS) if shares is None else shares

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[Example]]:
        talks = []
        for _ in range(count):
            words_chance = random.Random(int(chance.integers(2**63)))
            if stage == 1:
                seen = album.draw_scene(words_chance)
                talks.append(Talk().add(ask_caption(seen.scene, words_chance), seen))
            else:
                talks.append(draw_talk(words_chance, album, stock, weights))
        return _learned(album, talks, chance, blank, decides)

    return draw


def photograph_conversations(
    photographs: TaggedPhotographs,
    pictures: Pictures | None = None,
    cache: FeatureCache | None = None,
    shares: Mapping[str, float] | None = None,
    decides: bool = False,
) -> ConversationSource:
    """Photographs with what `abilities` say of them, by their `shares`; also beside drawings, where `pictures` and `cache` are given.

    `decides` as in `Example`.
    """
    drawings = ComposedAlbum(cache, pictures) if cache is not None and pictures is not None else None
    album, stock = PhotographAlbum(photographs, drawings), Stock((pictures or PocketPictures(1)).bank.sprites)
    weights = {name: share for name, share in (shares or shares_of(PHOTOGRAPHS)).items() if set(ABILITIES[name].needs) <= album.has}

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[Example]]:
        talks = [draw_talk(random.Random(int(chance.integers(2**63))), album, stock, weights) for _ in range(count)]
        return _learned(album, talks, chance, decides=decides)

    return draw


def deciding_conversations(
    cache: FeatureCache, pictures: Pictures, photographs: TaggedPhotographs | None, share: float
) -> ConversationSource:
    """Questions of whose answers the words count that decide them; `share` of them about photographs, where there are any."""
    draw_drawings = scene_conversations(cache, pictures, 2, DECIDED, decides=True)
    if not photographs:
        return draw_drawings
    draw_photographs = photograph_conversations(photographs, pictures, cache, DECIDED_PHOTOGRAPHS, decides=True)

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[Example]]:
        number = round(share * count)
        drawings, said = draw_drawings(chance, count - number)
        shown, said_of_photographs = draw_photographs(chance, number)
        return torch.cat([drawings, shown]), said + said_of_photographs

    return draw


def conversations_without_pictures(pictures: Pictures, cache: FeatureCache, blank: torch.Tensor) -> ConversationSource:
    """Questions about a picture that is not there, and small talk, behind the blank picture."""
    album, stock, weights = ComposedAlbum(cache, pictures), Stock(pictures.bank.sprites), shares_of(NOTHING)

    def draw(chance: np.random.Generator, count: int) -> tuple[torch.Tensor, list[Example]]:
        talks = [draw_talk(random.Random(int(chance.integers(2**63))), album, stock, weights) for _ in range(count)]
        return _learned(album, talks, chance, blank)

    return draw


def _learned(
    album: ComposedAlbum | PhotographAlbum,
    talks: list[Talk],
    chance: np.random.Generator,
    blank: torch.Tensor | None = None,
    decides: bool = False,
) -> tuple[torch.Tensor, list[Example]]:
    """The features of all pictures that are talked about, a little changed, and the conversations.

    `blank` `(N, Dv)`, the blank picture's features, are put where a conversation begins without a picture; they stay as they are.
    """
    features = album.features([seen for talk in talks for seen in talk.pictures])
    features = jitter(features, chance) if len(features) else features
    rows, examples, read = [], [], 0
    for talk in talks:
        begins_blank = blank is not None and not talk.turns[0][2]
        if begins_blank:
            rows.append(blank[None])
            examples.append(blank_example(talk))
        else:
            examples.append(Example(talk.messages(PLACEHOLDER), tuple(picture_words(seen.scene) for seen in talk.pictures), decides))
        rows.append(features[read : read + len(talk.pictures)])
        read += len(talk.pictures)
    return torch.cat(rows), examples


@torch.no_grad()
def blank_features(model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor) -> torch.Tensor:
    """`(N, Dv)` of the blank picture, rounded as those of other pictures are in the cache."""
    pixels = processor.image_processor([blank_picture().image])["pixel_values"]
    return model.model.vision_model(pixels.to(model.device)).last_hidden_state[0].half().float().cpu()


class NamingTest:
    """Held-out single objects: is the main object named? `read` judges the image tokens, `ask` the LLM's answer."""

    def __init__(self, cache: FeatureCache, things: Sequence[SceneObject]):
        self.cache, self.things = cache, things

    def read(self, model: MiniGPT4ForConditionalGeneration, reader: WordReader) -> float:
        """Share of pictures whose name places spell the thing, or a synonym."""
        with torch.inference_mode():
            said = [row["name"] for row in reader.read(self._tokens(model))]
        return self.share(said)

    def words(self, model: MiniGPT4ForConditionalGeneration, reader: WordReader) -> list[str]:
        """Everything that the places of each picture spell, for people to look at."""
        with torch.inference_mode():
            return [", ".join(word for word in row.values() if word) for row in reader.read(self._tokens(model))]

    def ask(self, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor, question: str = "What is this?") -> float:
        """Share of pictures that the model names when asked, greedily."""
        return self.share(self.answers(model, processor, question))

    def first(self, count: int) -> "NamingTest":
        """The same test on fewer pictures: asking the LLM takes a second each on a busy core."""
        return NamingTest(self.cache, self.things[:count])

    def answers(self, model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor, question: str) -> list[str]:
        """What the model says to `question`, for each picture."""
        with torch.inference_mode():
            return generate_answers(model, processor, self._tokens(model), question)

    def share(self, said: Sequence[str]) -> float:
        """Share of the pictures whose thing is named in what was said of them."""
        return sum(names_it(text, thing.sprite) for text, thing in zip(said, self.things, strict=True)) / len(self.things)

    def _tokens(self, model: MiniGPT4ForConditionalGeneration) -> torch.Tensor:
        return model.model.project_features(self.cache[range(len(self.things))].to(model.device))


def generate_answers(
    model: MiniGPT4ForConditionalGeneration, processor: MiniGPT4Processor, tokens: torch.Tensor, question: str, max_new_tokens: int = 12
) -> list[str]:
    """Greedy answers to one question about each picture, given by its image tokens `(B, T, D)`."""
    message = {"role": "user", "content": [{"type": "image", "image": PLACEHOLDER}, {"type": "text", "text": question}]}
    prompt = torch.tensor([render_prompt([message], processor, model.config.chat_template_name).input_ids], device=tokens.device)
    said = []
    for some in tokens.split(32):
        ids = model.generate(input_ids=prompt.expand(len(some), -1), image_features=some, max_new_tokens=max_new_tokens, do_sample=False)
        said += processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return said


def word_vocabulary(places: WordPlaces, words: Sequence[SceneWords]) -> torch.Tensor:
    """Sorted ids of every word that may be asked for."""
    return torch.tensor(sorted({token for said in words for token in places.target_ids(said) if token >= 0}))


def all_words(sprites: Sequence[Sprite]) -> list[SceneWords]:
    """Every text that training can ask for: what sprites and ImageNet classes are called, and the words of all other places."""
    words = [SceneWords(name=sprite.name) for sprite in sprites]
    words += [SceneWords(name=name, count="", medium="photo") for name in class_names()]
    words += [SceneWords(name="", colour=colour, background=colour) for colour in COLOURS]
    words += [SceneWords(name="", count=number) for number in NUMBERS]
    words += [SceneWords(name="web page", layout=word) for word in LAYOUT_WORDS]
    words += [SceneWords(name="", place=first, second_place=second) for first, second in SIDES]
    return words + [SceneWords(name="", place="middle")]


def build_word_loss(
    model: MiniGPT4ForConditionalGeneration, places: WordPlaces, words: Sequence[SceneWords], free_tokens: torch.Tensor | None = None
) -> WordLoss:
    embedding = model.get_input_embeddings().weight.detach().float()
    return WordLoss(embedding, word_vocabulary(places, words), places.filler, free_tokens=free_tokens)


class LayoutTest:
    """Held-out page sketches: are the words of the layout read off the image tokens right?"""

    def __init__(self, cache: FeatureCache, layouts: Sequence[str]):
        self.cache, self.layouts = cache, layouts

    def read(self, model: MiniGPT4ForConditionalGeneration, reader: WordReader) -> dict[str, float]:
        """Share of pages of which every word is right, and mean likeness of the words with the right ones."""
        with torch.inference_mode():
            tokens = model.model.project_features(self.cache[range(len(self.layouts))].to(model.device))
            said = reader.read_layouts(tokens)
        pairs = list(zip(said, self.layouts, strict=True))
        like = [SequenceMatcher(None, left.split(), right.split()).ratio() for left, right in pairs]
        return {"pages": sum(left == right for left, right in pairs) / len(pairs), "page_likeness": sum(like) / len(like)}
