"""What a classifier recognises, said in the LLM's own words: tag tokens `(B, T, Dv)` beside an encoder's patches.

A linear classifier over the mean of a convolution's features names things better than a small Q-Former learns to, and it can be
asked about parts of the picture as well as about the whole. Each of its best classes becomes vectors that hold the LLM's
embeddings of the class's name, so that a Q-Former has only to pass them on. The idea of telling a language model what a tagger
sees is from Tag2Text (Huang et al. 2023); classes are fixed and frozen like the rest of the encoder.
"""

import torch
from torch import nn

WHOLE, LEFT, RIGHT, TOP, BOTTOM = REGIONS = ("whole", "left", "right", "top", "bottom")
NAME_PIECES = 4  # word pieces of a class's name that are told; what is longer is cut
PIECES_PER_TOKEN = 2


def region_means(features: torch.Tensor) -> torch.Tensor:
    """`(B, Dv, H, W)` -> `(B, 5, Dv)`: the mean over each of `REGIONS`. Halves of an odd number of columns share the middle one."""
    height, width = features.shape[-2:]
    down, across = (height + 1) // 2, (width + 1) // 2
    parts = (features, features[..., :across], features[..., -across:], features[..., :down, :], features[..., -down:, :])
    return torch.stack([part.mean((2, 3)) for part in parts], dim=1)


class TagTokens(nn.Module):
    """`(B, Dv, H, W)` features -> `(B, T, Dv)` tag tokens; `T` is two for each tag.

    `tags` says how many best names are told of each region. Classes of the same name are one: their probabilities are added.
    """

    def __init__(self, width: int, classes: int, names: int, piece_width: int, tags: dict[str, int]):
        super().__init__()
        spare = width - PIECES_PER_TOKEN * piece_width
        if spare < len(REGIONS) + 4:
            raise ValueError(f"Tag tokens {width} wide cannot hold {PIECES_PER_TOKEN} word pieces of width {piece_width}.")
        self.tags, self.names, self.spare = tags, names, spare
        self.classifier = nn.Linear(width, classes)
        self.register_buffer("name_of_class", torch.zeros(classes, dtype=torch.long))  # which of the names a class has
        self.register_buffer("pieces", torch.zeros(names, NAME_PIECES, piece_width))  # the LLM's embeddings of each name

    @property
    def num_tokens(self) -> int:
        return sum(self.tags.values()) * NAME_PIECES // PIECES_PER_TOKEN

    def name_probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """`(B, 5, names)`: how sure the classifier is of each name, for each region."""
        by_class = self.classifier(region_means(features.float())).softmax(-1)
        by_name = by_class.new_zeros(*by_class.shape[:2], self.names)
        return by_name.index_add_(2, self.name_of_class, by_class)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        probabilities = self.name_probabilities(features)
        told = []
        for region, count in self.tags.items():
            sure, names = probabilities[:, REGIONS.index(region)].topk(count)  # (B, count)
            told.append(self.tell(names, sure, region))
        return torch.cat(told, dim=1)

    def tell(self, names: torch.Tensor, sure: torch.Tensor, region: str = WHOLE) -> torch.Tensor:
        """`(B, n)` names, best first, and how sure each is -> `(B, 2 n, Dv)`."""
        pieces = self.pieces[names].float()  # (B, n, 4, D)
        pieces = pieces * (pieces.square().mean((2, 3), keepdim=True) + 1e-6).rsqrt()
        tokens = []
        for rank in range(names.shape[1]):
            for half in range(NAME_PIECES // PIECES_PER_TOKEN):
                said = pieces[:, rank, half * PIECES_PER_TOKEN : (half + 1) * PIECES_PER_TOKEN].flatten(1)
                tokens.append(torch.cat([said, self._marks(sure[:, rank], region, rank, half)], dim=1))
        return torch.stack(tokens, dim=1)

    def _marks(self, sure: torch.Tensor, region: str, rank: int, half: int) -> torch.Tensor:
        """`(B, spare)`: where a tag is from, which one it is and how sure, on scales like the rest of the token."""
        marks = sure.new_zeros(len(sure), self.spare)
        marks[:, REGIONS.index(region)] = 4.0
        marks[:, len(REGIONS)] = 4.0 * half
        marks[:, len(REGIONS) + 1] = 4.0 / (1 + rank)
        marks[:, len(REGIONS) + 2] = 4.0 * sure
        marks[:, len(REGIONS) + 3] = (sure.clamp(1e-4, 1 - 1e-4).logit() / 2).clamp(-4, 4)
        return marks
