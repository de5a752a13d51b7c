"""CIDEr, BLEU-4 and ROUGE-L of captions against references, by the reference implementation.

The library is pycocoevalcap, the Python 3 packaging of the code that every published COCO caption figure was computed with. It is
finished rather than maintained, which for a yardstick is right: sacrebleu and rouge-score are maintained but have no CIDEr and
tokenise differently, aac-metrics brings torch code written for sound, the `evaluate` package downloads its metrics. Only its three
pure Python parts are used; METEOR and SPICE need Java and are left out, and so is its tokenizer, which is Java too.
`tokenize` does in Python what that tokenizer does to a caption: lower case, contractions split, punctuation dropped.
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from .items import EvaluationError, Figure, Judged
from .statistics import bootstrap, mean

# As the Penn Treebank tokenizer splits "isn't" into "is n't" and "dog's" into "dog 's".
_CONTRACTED = re.compile(r"(?<=\w)(n't|'s|'re|'ve|'ll|'d|'m)\b")
_CANNOT = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na"}
_TOKEN = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,:/]\d+)+|[^\W_]+(?:[-_][^\W_]+)*|[$%&#@+*/=<>]")
MISSING = "Caption metrics need pycocoevalcap: pip install -e '.[eval]'"


def tokenize(caption: str) -> str:
    """The caption's tokens, parted by single blanks."""
    text = _CONTRACTED.sub(r" \1", caption.lower().replace("’", "'").replace("\n", " "))
    text = " ".join(_CANNOT.get(word, word) for word in text.split())
    return " ".join(_TOKEN.findall(text))


def caption_figures(judged: Sequence[Judged]) -> list[Figure]:
    """The three metrics with bootstrap intervals over the pictures. Raises `EvaluationError` when the library is missing.

    CIDEr weighs words by how rare they are among the references of the same run: with a `--limit` it is not comparable.
    """
    if not judged:
        return []
    try:
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ModuleNotFoundError:
        raise EvaluationError(MISSING) from None
    references = {index: [tokenize(text) for text in one.verdict.values["references"]] for index, one in enumerate(judged)}
    captions = {index: [tokenize(one.verdict.values["caption"])] for index, one in enumerate(judged)}
    _, ciders = Cider().compute_score(references, captions)
    _, rouges = Rouge().compute_score(references, captions)
    scorer = BleuScorer(n=4)
    for index in references:
        scorer += (captions[index][0], references[index])
    counts = _bleu_counts(scorer.ctest)
    return [
        mean("CIDEr", list(map(float, ciders))),
        Figure("BLEU-4", _bleu(counts), len(counts), *bootstrap(counts, _bleu), unit="number"),
        mean("ROUGE-L", list(map(float, rouges))),
    ]


def _bleu_counts(sentences: Sequence[dict]) -> np.ndarray:
    """(N, 10): matched and possible n-grams of length one to four, own length, length of the closest reference."""
    closest = [min((abs(length - one["testlen"]), length) for length in one["reflen"])[1] for one in sentences]
    rows = [[*one["correct"], *one["guess"], one["testlen"], near] for one, near in zip(sentences, closest, strict=True)]
    return np.array(rows, float).reshape(-1, 10)


def _bleu(counts: np.ndarray) -> float:
    """Corpus BLEU-4 of resampled sentences, with the brevity penalty and the smoothing of the reference scorer."""
    total = counts.sum(0)
    matched, possible, length, reference = total[:4], total[4:8], total[8], total[9]
    score = float(np.prod((matched + 1e-15) / (possible + 1e-9)) ** 0.25)
    ratio = (length + 1e-15) / (reference + 1e-9)
    return score * math.exp(1 - 1 / ratio) if ratio < 1 else score
