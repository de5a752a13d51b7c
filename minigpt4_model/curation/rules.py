"""What can be wrong with a text: one rule a fault, each with a name, a reason for people, and a function that finds it.

A rule looks at one text alone and returns what it found, a part of the text where that is possible, or "". To add a rule, write
its function and its row in `RULES`. Faults that only the whole set shows are in `duplicates`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from . import phrases
from .languages import foreign_sentence, foreign_word
from .naming import names_again
from .sentences import essence, is_finished, ngrams, says_again, split_sentences, words_of


@dataclass(frozen=True)
class Setting:
    """What the rules may be told. `language` "" judges none; `questions` are what the describing model was asked."""

    min_words: int = 20
    language: str = "en"
    questions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A text with what it was made from ("" for a first version)."""

    text: str
    before: str = ""

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.text)

    @cached_property
    def sentences(self) -> list[str]:
        return split_sentences(self.text)


@dataclass(frozen=True)
class Rule:
    name: str
    reason: str
    find: Callable[[Text, Setting], str]


def _too_short(text: Text, setting: Setting) -> str:
    return f"{len(text.words)} words" if len(text.words) < setting.min_words else ""


def _repeated_sentence(text: Text, setting: Setting) -> str:
    seen = set()
    for sentence in text.sentences:
        said = essence(sentence)
        if said and said in seen:
            return sentence
        seen.add(said)
    return ""


def _nothing_new(text: Text, setting: Setting) -> str:
    for place, sentence in enumerate(text.sentences):
        if says_again(sentence, text.sentences[:place]):
            return sentence
    return ""


def _names_again(text: Text, setting: Setting) -> str:
    return next((sentence for place, sentence in enumerate(text.sentences) if names_again(sentence, text.sentences[:place])), "")


def _repeated_words(text: Text, setting: Setting) -> str:
    """A run of words again and again: one word three times in a row, or four words and more, three times anywhere."""
    words = text.words
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        if first == second == third:
            return " ".join((first, second, third))
    most, times = next(iter(Counter(ngrams(words, 4)).most_common(1)), ((), 0))
    return f"{' '.join(most)} (×{times})" if times >= 3 else ""


def _unfinished(text: Text, setting: Setting) -> str:
    if not text.sentences or is_finished(text.text):
        return ""
    return text.sentences[-1][-80:]


def _foreign(text: Text, setting: Setting) -> str:
    if not setting.language:
        return ""
    sentence, found = foreign_sentence(text.text, setting.language)
    return f"{sentence} ({found})" if sentence else ""


def _foreign_script(text: Text, setting: Setting) -> str:
    return foreign_word(text.text, setting.language) if setting.language else ""


def _mentions_instruction(text: Text, setting: Setting) -> str:
    """A phrase that speaks of the task, or five words and more of the question itself."""
    if found := _matching(phrases.INSTRUCTION)(text, setting):
        return found
    asked = {run for question in setting.questions for run in ngrams(words_of(question), 5)}
    return next((" ".join(run) for run in ngrams(text.words, 5) if run in asked), "")


def _rewritten(text: Text, setting: Setting) -> str:
    """A correction keeps most words: one that brings many of its own tells what nobody saw."""
    if not text.before:
        return ""
    known = set(words_of(text.before))
    new = [word for word in text.words if word not in known and len(word) > 3]
    # A few words are needed to mend a sentence.
    if len(new) <= 5 or len(new) <= 0.3 * len(text.words):
        return ""
    return f"{len(new)} of {len(text.words)} words are new: {', '.join(dict.fromkeys(new[:8]))}"


def _matching(patterns: tuple[str, ...]) -> Callable[[Text, Setting], str]:
    pattern = phrases.compiled(patterns)

    def find(text: Text, setting: Setting) -> str:
        found = pattern.search(text.text)
        return found[0].strip() or "invisible characters" if found else ""

    return find


RULES = (
    Rule("too-short", "It has fewer words than a description needs.", _too_short),
    Rule("repeated-sentence", "A sentence stands there twice.", _repeated_sentence),
    Rule("nothing-new", "A sentence says only what an earlier one says, in the same words.", _nothing_new),
    Rule("names-again", "A sentence only names what was named before it.", _names_again),
    Rule("repeated-words", "The same run of words comes again and again.", _repeated_words),
    Rule("unfinished", "The last sentence has no end.", _unfinished),
    Rule("template-leak", "A part of the prompt's template has got into it.", _matching(phrases.TEMPLATE)),
    Rule("foreign-script", "It has words in letters of another script.", _foreign_script),
    Rule("foreign-language", "A sentence is in another language.", _foreign),
    Rule("speaks-of-itself", "The model speaks of itself instead of the picture.", _matching(phrases.SELF)),
    Rule("apologises", "The model apologises or speaks of its mistakes.", _matching(phrases.APOLOGY)),
    Rule("mentions-instruction", "It speaks of what the model was told to do.", _mentions_instruction),
    Rule("boxes", "It has coordinates, which are no words.", _matching(phrases.BOXES)),
    Rule("links", "It has an address of the web or of mail.", _matching(phrases.LINKS)),
    Rule("markup", "It has HTML, Markdown or a list in place of sentences.", _matching(phrases.MARKUP)),
    Rule("odd-characters", "It has characters that mean nothing.", _matching(phrases.ODD_CHARACTERS)),
    Rule("rewritten", "The correction says much that the description did not.", _rewritten),
)


def findings(text: Text, setting: Setting, skip: frozenset[str] = frozenset()) -> dict[str, str]:
    """What each rule found, by its name; rules that found nothing are not there."""
    found = {rule.name: rule.find(text, setting) for rule in RULES if rule.name not in skip}
    return {name: detail for name, detail in found.items() if detail}
