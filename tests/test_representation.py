"""Image tokens that lie on words: their places, the loss that puts them there, and reading them back."""

import numpy as np
import pytest
import torch

from minigpt4_model.training.representation import (
    FILLER,
    FREE_PLACES,
    NUM_TOKENS,
    PLACES,
    RepresentationObjective,
    SceneWords,
    WordLoss,
    WordPlaces,
    WordReader,
    constant,
)
from minigpt4_model.weights.load import load_tokenizer
from minigpt4_model.weights.pocket import ensure_pocket

APPLE = SceneWords("red apple", "red", "two", "top left", "hot air balloon", "blue", "right", "green", "drawing")
CAT = SceneWords("cat", colour="black", background="white")


WORDS = [token for token, _, _ in PLACES]
NAMES = [token for token, place, _ in PLACES if place == "name"]
FREE = [token for token, _ in FREE_PLACES]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(ensure_pocket().language_model_dir)


@pytest.fixture(scope="module")
def places(tokenizer):
    return WordPlaces(tokenizer)


@pytest.fixture(scope="module")
def embedding(tokenizer):
    return torch.randn(len(tokenizer), 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def word_loss(places, embedding):
    ids = {token for words in (APPLE, CAT) for token in places.target_ids(words) if token >= 0}
    return WordLoss(embedding, torch.tensor(sorted(ids)), places.filler)


def targets_of(places, *words: SceneWords) -> torch.Tensor:
    return torch.tensor([places.target_ids(said) for said in words])


def perfect_tokens(embedding, targets: torch.Tensor) -> torch.Tensor:
    return embedding[targets.clamp_min(0)]


def mean_loss(word_loss, tokens, targets) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of one batch, as the trainer makes it of sums and counts, and its figures."""
    sums, figures = word_loss(tokens, targets)
    counts = word_loss.counts(targets)
    loss = sum(weight * sums[term] / counts[term] for term, weight in word_loss.weights.items())
    return loss, {name: float(amount) / count for name, (amount, count) in figures.items()}


def test_places_spell_the_words(places, tokenizer):
    ids = places.target_ids(APPLE)
    assert len(ids) == NUM_TOKENS == 32 and [ids[token] for token in FREE] == [constant(number) for number in range(len(FREE))]
    sentence = dict(FREE_PLACES) | {token: tokenizer.decode([ids[token]]) for token in WORDS}
    assert "".join(sentence[token] for token in range(32)).strip() == (
        "The picture is a drawing of two red red apple,, on the top left, and blue hot air balloon, on the right. The background is green."
    )


def test_a_long_name_is_cut_and_nothing_is_the_filler(places):
    ids = places.target_ids(SceneWords("a very long name that never ends", count="", medium=""))
    assert places.filler not in [ids[token] for token in NAMES]
    assert {ids[token] for token in set(WORDS) - set(NAMES)} == {places.filler}


def test_another_number_of_image_tokens_is_refused(tokenizer):
    with pytest.raises(ValueError, match="32 image tokens, and this model has 64"):
        WordPlaces(tokenizer, 64)


def test_perfect_tokens_are_read_back_word_for_word(places, tokenizer, word_loss, embedding):
    tokens = perfect_tokens(embedding, targets_of(places, APPLE, CAT))
    first, second = WordReader(tokenizer, word_loss).read(3 * tokens)
    assert first == {place: getattr(APPLE, place) for place in first}
    assert second == {place: getattr(CAT, place) for place in second}
    assert set(first) == {place for _, place, _ in PLACES}


def test_perfect_tokens_lose_little_and_others_much(places, word_loss, embedding):
    targets = targets_of(places, APPLE, CAT)
    good, metrics = mean_loss(word_loss, perfect_tokens(embedding, targets), targets)
    bad, wrong = mean_loss(word_loss, torch.randn(2, 32, 24, generator=torch.Generator().manual_seed(1)), targets)
    longer, _ = mean_loss(word_loss, 3 * perfect_tokens(embedding, targets), targets)
    assert metrics["word_accuracy"] == 1.0 and wrong["word_accuracy"] < 0.5
    assert good < 0.1 and bad > 10 * good and longer > good


def test_free_places_are_not_judged(places, word_loss, embedding):
    targets = targets_of(places, APPLE)
    tokens = perfect_tokens(embedding, targets).requires_grad_()
    mean_loss(word_loss, tokens, targets)[0].backward()
    assert tokens.grad[0, FREE].abs().sum() == 0
    assert (tokens.grad[0, WORDS].abs().sum(dim=-1) > 0).all()


def test_free_places_are_drawn_to_what_they_are_given(places, word_loss, embedding):
    free = torch.randn(len(FREE), 24, generator=torch.Generator().manual_seed(2))
    drawn = WordLoss(embedding, word_loss.vocabulary, places.filler, free_tokens=free)
    targets = targets_of(places, APPLE)
    tokens = perfect_tokens(embedding, targets)
    there = tokens.clone()
    there[0, FREE] = free
    assert mean_loss(drawn, there, targets)[1]["free_distance"] == 0.0
    assert mean_loss(drawn, there, targets)[0] == mean_loss(word_loss, there, targets)[0] < mean_loss(drawn, tokens, targets)[0]


def test_a_page_spells_its_elements_where_pictures_have_free_places(places, tokenizer, embedding):
    ids = places.target_ids(SceneWords("web page", layout="header list two"))
    assert tokenizer.decode([ids[token] for token in NAMES]) == f" web page{2 * FILLER}"
    assert tokenizer.decode([ids[token] for token in FREE]) == " header list two" + FILLER * (len(FREE) - 3)
    named = [ids[token] for token in WORDS if token not in NAMES]
    assert named == [constant(len(FREE) + index) for index in range(len(WORDS) - len(NAMES))]
    targets = torch.tensor([ids])
    drawn = WordLoss(embedding, targets[targets >= 0].unique(), places.filler, free_tokens=torch.randn(places.num_constants, 24))
    there = torch.where((targets < 0)[..., None], drawn.free_tokens[(-1 - targets).clamp_min(0)], perfect_tokens(embedding, targets))
    assert drawn.counts(targets)["free"] == len(named)
    assert mean_loss(drawn, there, targets)[1] == {"word_accuracy": 1.0, "free_distance": 0.0}
    assert WordReader(tokenizer, drawn).read_layouts(there) == ["header list two"]


def test_the_blank_picture_has_constants_of_its_own(places):
    said = [
        places.target_ids(SceneWords("", nothing=True)),
        places.target_ids(SceneWords("web page", layout="header")),
        places.target_ids(CAT),
    ]
    named = [{target for target in targets if target < 0} for targets in said]
    assert (
        len(said[0]) == len(named[0]) == 32
        and sorted(set().union(*named)) == [constant(index) for index in range(places.num_constants)][::-1]
    )
    assert sum(map(len, named)) == places.num_constants


def test_the_loss_falls_until_the_words_can_be_read(places, tokenizer, word_loss):
    targets = targets_of(places, APPLE, CAT)
    tokens = torch.randn(2, 32, 24, generator=torch.Generator().manual_seed(3)).requires_grad_()
    optimizer = torch.optim.Adam([tokens], lr=0.1)
    losses = []
    for _ in range(60):
        loss, metrics = mean_loss(word_loss, tokens, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0] and metrics["word_accuracy"] == 1.0
    assert WordReader(tokenizer, word_loss).read(tokens.detach())[1]["name"] == "cat"


def test_batches_are_a_function_of_the_step(places, word_loss):
    def source(words: SceneWords):
        return lambda chance, count: (torch.from_numpy(chance.random((count, 3, 4), dtype=np.float32)), [words] * count)

    def refuse(chance, count):
        raise AssertionError("a source with no share was asked")

    sources = [(0.75, source(APPLE)), (0.25, source(CAT)), (0.0, refuse)]
    objective = RepresentationObjective(places, word_loss, sources, batch_size=8, evaluate=dict)
    features, targets = objective.batch(5)
    assert features.shape == (8, 3, 4)
    assert torch.equal(targets, targets_of(places, *[APPLE] * 6, *[CAT] * 2))
    again, other = objective.batch(5), objective.batch(6)
    assert torch.equal(again[0], features) and not torch.equal(other[0], features)
    assert not torch.equal(features[0], features[6])  # two sources draw different numbers
