"""Tag tokens: the classifier's best names of the picture and its halves, in word pieces."""

import pytest
import torch

from minigpt4_model.model import MiniGPT4VisionConfig
from minigpt4_model.model.tag_tokens import BOTTOM, LEFT, NAME_PIECES, REGIONS, RIGHT, TOP, WHOLE, TagTokens, region_means
from minigpt4_model.model.vision_encoder import MiniGPT4VisionModel

WIDTH, PIECE = 32, 8


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def tags():
    """Six classes with five names: the last two classes are called the same. Class k is where feature k is high."""
    torch.manual_seed(0)
    made = TagTokens(WIDTH, classes=6, names=5, piece_width=PIECE, tags={WHOLE: 2, LEFT: 1, RIGHT: 1})
    made.classifier.weight.data = 5 * torch.eye(6, WIDTH)
    made.classifier.bias.data.zero_()
    made.name_of_class.copy_(torch.tensor([0, 1, 2, 3, 4, 4]))
    made.pieces.copy_(torch.randn(5, NAME_PIECES, PIECE))
    return made.eval()


def seen(*places: tuple[int, int]) -> torch.Tensor:
    """A 3 x 4 map with feature `k` on in column `x`, for each (k, x)."""
    features = torch.zeros(1, WIDTH, 3, 4)
    for feature, column in places:
        features[0, feature, :, column] = 1.0
    return features


def told(tags: TagTokens, token: torch.Tensor, half: int = 0) -> int:
    """The name whose pieces a token holds."""
    pieces = tags.pieces[:, 2 * half : 2 * half + 2].flatten(1)
    return int(torch.nn.functional.cosine_similarity(pieces, token[: 2 * PIECE], dim=1).argmax())


def test_regions_are_halves_that_share_a_middle_column():
    features = torch.zeros(1, 1, 3, 3)
    features[0, 0, 0, 2] = 6.0  # top right
    means = dict(zip(REGIONS, region_means(features)[0, :, 0].tolist(), strict=True))
    assert means[WHOLE] == pytest.approx(6 / 9)
    assert means[RIGHT] == means[TOP] == pytest.approx(1.0)
    assert means[LEFT] == means[BOTTOM] == 0.0


def test_the_best_names_are_told_in_order_with_all_their_pieces(tags):
    tokens = tags(seen((1, 0), (1, 1), (1, 2), (3, 3)))[0]
    assert tokens.shape == (tags.num_tokens, WIDTH) == (8, WIDTH)
    assert [told(tags, tokens[0]), told(tags, tokens[1], half=1)] == [1, 1]
    assert [told(tags, tokens[2]), told(tags, tokens[3], half=1)] == [3, 3]


def test_halves_tell_what_is_in_them(tags):
    tokens = tags(seen((0, 0), (2, 3)))[0]
    assert told(tags, tokens[4]) == 0 and told(tags, tokens[6]) == 2


def test_classes_of_one_name_are_added(tags):
    probabilities = tags.name_probabilities(seen((4, 0), (5, 1), (1, 2)))[0, 0]
    assert float(probabilities.sum()) == pytest.approx(1.0)
    assert float(probabilities[4]) == pytest.approx(2 * float(probabilities[1]), rel=1e-4)


def test_surer_tags_say_so(tags):
    sure, unsure = tags(seen(*((1, x) for x in range(4)))), tags(seen((1, 0)))
    assert sure[0, 0, -WIDTH + 2 * PIECE + len(REGIONS) + 2] > 2 * unsure[0, 0, -WIDTH + 2 * PIECE + len(REGIONS) + 2]


def test_words_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="cannot hold"):
        TagTokens(16, classes=2, names=2, piece_width=8, tags={WHOLE: 1})


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return MiniGPT4VisionModel(MiniGPT4VisionConfig.efficientnet_lite2(drawing_names=7, photograph_names=3, piece_width=576)).eval()


def test_the_pocket_encoder_gives_patches_the_photograph_branchs_mean_and_tags(encoder):
    pixels = torch.rand(1, 3, 260, 260)
    tokens = encoder(pixels).last_hidden_state
    assert tokens.shape == (1, 82 + 1 + 14 + 6, 1280)
    drawn = encoder.trunk.forward_features(pixels)
    torch.testing.assert_close(tokens[:, :82], encoder.finish_features(drawn))
    torch.testing.assert_close(tokens[:, 83:97], encoder.drawing_tags(drawn))
    torch.testing.assert_close(tokens[:, 97:], encoder.photograph_tags(encoder.photograph_trunk.forward_features(pixels)))
