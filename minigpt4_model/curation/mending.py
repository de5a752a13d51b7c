"""Mending a text by rules alone: what can be taken away without knowing the picture. Nothing is ever added.

Says what it did in words that the data set's card can count. A text of which nothing would be left stays as it is.
"""

import re
from collections.abc import Callable, Sequence

from . import phrases
from .languages import foreign_sentence
from .naming import names_again
from .sentences import essence, is_finished, says_again, split_sentences, words_of

_TEMPLATE = phrases.compiled(phrases.TEMPLATE)
_TALK = phrases.compiled(phrases.SELF, phrases.APOLOGY, phrases.INSTRUCTION)
_ODD = phrases.compiled(phrases.ODD_CHARACTERS)
_BOX = phrases.compiled(phrases.BOXES)
_TAG = re.compile(r"<(?:/?[a-z][a-z0-9]*(?:\s[^<>]*)?/?)>", re.IGNORECASE)
_SURELY_SAID_TWICE = 4
_LONGEST_RUN = 12  # words that are repeated at once: "it is a cat and it is a cat and"


def mend(text: str, language: str = "en") -> tuple[str, list[str]]:
    """The mended text and what was done, in order; nothing where it was fine. `language` "" keeps sentences in any."""
    done, mended = [], text.strip()
    for name, step in _steps(language):
        changed = step(mended)
        if changed != mended:
            done.append(name)
            mended = changed
    if not words_of(mended):
        return text.strip(), []
    return mended, done


def _steps(language: str) -> list[tuple[str, Callable[[str], str]]]:
    return [
        ("cut at a template's mark", _cut_template),
        ("took out characters that mean nothing", lambda text: _TAG.sub("", _BOX.sub("", _ODD.sub(_once, text)))),
        ("took out talk about itself or the task", lambda text: _without(text, lambda sentence: bool(_TALK.search(sentence)))),
        ("took out sentences in another language", lambda text: _in_language(text, language)),
        ("took out repeated words", _once_in_a_row),
        ("took out sentences said before", lambda text: _each_new(text, _is_said)),
        ("took out sentences that only name again", lambda text: _each_new(text, names_again)),
        ("took out an unfinished sentence", _cut_unfinished),
        ("set blanks right", _set_blanks),
    ]


def _cut_template(text: str) -> str:
    """What stands before the first mark of a template, or behind the marks that it begins with."""
    while (found := _TEMPLATE.search(text)) and not words_of(text[: found.start()]):
        text = text[found.end() :]
    if not found:
        return text
    # The pattern takes the full stop before "Human:" with it, which belongs to the text.
    kept = found[0].lstrip()[0] if found[0].lstrip()[:1] in (".", "!", "?") else ""
    return (text[: found.start()] + kept).strip()


def _once(odd: re.Match) -> str:
    """Of a mark again and again one is left; of anything else a blank."""
    return odd[1] or " "


def _without(text: str, unwanted: Callable[[str], bool]) -> str:
    sentences = split_sentences(text)
    kept = [sentence for sentence in sentences if not unwanted(sentence)]
    return text if len(kept) == len(sentences) else " ".join(kept)


def _in_language(text: str, language: str) -> str:
    return _without(text, lambda sentence: bool(foreign_sentence(sentence, language)[0])) if language else text


def _once_in_a_row(text: str) -> str:
    """A run of words that a sentence says twice at once is said once."""
    sentences = split_sentences(text)
    once = [_without_stutter(sentence) for sentence in sentences]
    return text if once == sentences else " ".join(once)


def _without_stutter(sentence: str) -> str:
    pieces = sentence.split()
    words = [essence(piece) for piece in pieces]
    size = min(_LONGEST_RUN, len(pieces) // 2)
    while size:
        start = 0
        while start + 2 * size <= len(pieces):
            first, second = slice(start, start + size), slice(start + size, start + 2 * size)
            if words[first] == words[second] and _is_stutter(words[first], pieces[second.start - 1]):
                pieces[second.start - 1] = pieces[second.stop - 1]  # with the marks that stand behind it
                del pieces[second], words[second]
            else:
                start += 1
        size -= 1
    return sentence if len(pieces) == len(sentence.split()) else " ".join(pieces)


def _is_stutter(run: list[str], last: str) -> bool:
    """ "had had" and "very very" may be meant, as may numbers, and a few words behind a mark: "a cat, a cat toy"."""
    words = [word for word in run if word]
    if last[-1:] in ",;:" and len(words) < _SURELY_SAID_TWICE:
        return False
    return bool(words) and words not in (["that"], ["had"], ["very"]) and not all(word.replace(".", "").isdigit() for word in words)


def _each_new(text: str, adds_nothing: Callable[[str, Sequence[str]], bool]) -> str:
    """The text without the sentences that add nothing to those before them."""
    kept: list[str] = []

    def is_unwanted(sentence: str) -> bool:
        if adds_nothing(sentence, kept):
            return True
        kept.append(sentence)
        return False

    return _without(text, is_unwanted)


def _is_said(sentence: str, earlier: Sequence[str]) -> bool:
    return essence(sentence) in map(essence, earlier) or says_again(sentence, earlier)


def _cut_unfinished(text: str) -> str:
    """The sentences that have their end; a text of one sentence without one keeps it."""
    sentences = split_sentences(text)
    if is_finished(text) or len(sentences) < 2:
        return text
    return " ".join(sentences[:-1])


def _set_blanks(text: str) -> str:
    """One blank between words, none before a mark; paragraphs stay."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)]
    text = "\n\n".join(filter(None, paragraphs))
    return re.sub(r"(?<=[^\s.]) ([,.;:!?])(?=\s|$)", r"\1", text)
