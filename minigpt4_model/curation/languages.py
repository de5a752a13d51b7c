"""Which script and language a text is in. Languages are py3langid's (naive Bayes over byte n-grams, 140 languages, no network)."""

import re
import unicodedata
from functools import lru_cache

from .errors import CurationError, import_extra
from .sentences import split_sentences, words_of

# A sentence of fewer words, or one that may well be in the right language, is not judged.
_MIN_WORDS = 5
_SURE = 0.5
_RIGHT_AFTER_ALL = 0.01
_LETTERS = re.compile(r"[^\W\d_]+")
_ODD_NAMES = {"IDEOGRAPHIC": "CJK", "HALFWIDTH": "", "FULLWIDTH": "", "MODIFIER": "", "FEMININE": "", "MASCULINE": "", "MICRO": "GREEK"}
# Languages that are not written in Latin letters; scripts as Unicode names begin.
_SCRIPTS = {
    "CYRILLIC": "ru uk bg be sr mk kk ky mn",
    "ARABIC": "ar fa ur ps ug",
    "CJK": "zh",
    "HIRAGANA KATAKANA CJK": "ja",
    "HANGUL CJK": "ko",
    "GREEK": "el",
    "HEBREW": "he",
    "DEVANAGARI": "hi mr ne",
    "THAI": "th",
    "BENGALI": "bn as",
    "TAMIL": "ta",
    "TELUGU": "te",
    "GUJARATI": "gu",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "GURMUKHI": "pa",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "KHMER": "km",
    "LAO": "lo",
    "SINHALA": "si",
}
_SCRIPTS_OF = {language: frozenset(scripts.split()) for scripts, languages in _SCRIPTS.items() for language in languages.split()}
_LATIN = frozenset({"LATIN"})


@lru_cache
def known_languages() -> frozenset[str]:
    """The codes that can be told apart, as in ISO 639-1."""
    return frozenset(_identifier().labels)


def check_language(code: str) -> None:
    """Raises `CurationError` for a code that is none."""
    if code not in known_languages():
        raise CurationError(f"--language {code}: there is no such language. There are: {', '.join(sorted(known_languages()))}.")


def foreign_word(text: str, language: str) -> str:
    """The first word in letters of a script that `language` is not written in, or "". One Greek letter is a sign, as in "µm"."""
    wanted = _SCRIPTS_OF.get(language, _LATIN) | _LATIN | {""}  # names and units are Latin everywhere
    for word in _LETTERS.findall(text):
        foreign = [script for script in map(_script, word) if script not in wanted]
        if foreign and foreign != ["GREEK"]:
            return word
    return ""


def foreign_sentence(text: str, language: str) -> tuple[str, str]:
    """The first sentence that is surely in another language, and that language's code; ("", "") where there is none."""
    for sentence in split_sentences(text):
        if len(words_of(sentence)) < _MIN_WORDS:
            continue
        ranked = _identifier().rank(sentence)
        found, likely = ranked[0]
        if found != language and likely > _SURE and dict(ranked).get(language, 0.0) < _RIGHT_AFTER_ALL:
            return sentence, found
    return "", ""


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """Of a letter, as Unicode calls it; "" for anything else."""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "UNKNOWN").split()[0].partition("-")[0]
    return _ODD_NAMES.get(name, name)


@lru_cache
def _identifier():
    langid = import_extra("py3langid.langid", "judge no language: --language ''")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
