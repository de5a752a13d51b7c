"""Cutting a text into sentences and words, in any script. Knows nothing of what is wrong with them."""

import re
import unicodedata
from collections.abc import Sequence

_END = re.compile(r"""([.!?…]+["'”’»)\]]*)(?=\s)|([。！？…]+[」』”’）]*)|(\n\s*\n)""")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|No|vs|etc|approx|Fig|e\.g|i\.e|a\.m|p\.m|ca|cf)|\b[A-Z])\.$")
# A letter or digit with what belongs to it; of scripts that write no spaces, each character by itself.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|[^\W_](?:[^\W_\u3040-\u30ff\u3400-\u9fff]|['’\-.](?=[^\W_]))*")
_FINISHED = re.compile(r"""[.!?…。！？][\s"'”’»)\]」』）*]*$""")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text without the white space around them; joined with it they are the text."""
    sentences, start = [], 0
    for end in _END.finditer(text):
        if end.group(1) == "." and _ABBREVIATION.search(text[start : end.end()]):
            continue
        sentences.append(text[start : end.end()])
        start = end.end()
    return [sentence.strip() for sentence in [*sentences, text[start:]] if sentence.strip()]


def words_of(text: str) -> list[str]:
    """The words in small letters, without punctuation."""
    return [word.casefold() for word in _WORD.findall(unicodedata.normalize("NFC", text))]


def ngrams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]


def is_finished(text: str) -> bool:
    """Whether the last sentence has its end."""
    return bool(_FINISHED.search(text))


def essence(sentence: str) -> str:
    """What two sentences that say the same in the same words have in common, whatever their capitals and marks."""
    return " ".join(words_of(sentence))


def says_again(sentence: str, earlier: Sequence[str]) -> bool:
    """Whether an earlier sentence has all the words of this one, three at least, in this order."""
    words = words_of(sentence)
    if len(words) < 3:
        return False
    for other in earlier:
        left = iter(words_of(other))
        if all(word in left for word in words):  # `in` moves the iterator on to the word
            return True
    return False
