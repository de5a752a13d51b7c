"""Writing systems: which one a letter belongs to, which ones a person wrote or asked for, and which tokens would write another.

Small and bilingual LLMs change script in mid-answer; the script guard (`guards.py`) keeps them to what the person uses. Latin is always
allowed, because names, numbers' units and code are written in it everywhere. Knows nothing of templates, logits or settings. Systems are
called by the first word of their letters' Unicode names: "LATIN", "CJK", "CYRILLIC".
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

LATIN = "LATIN"
ALL = None  # of `allowed_systems`: whatever the model likes

# Letters used like signs whatever the text's script is; "" is no writing system.
_SIGNS = (
    "MODIFIER FEMININE MASCULINE MICRO MATHEMATICAL SCRIPT DOUBLE-STRUCK BLACK-LETTER KELVIN ANGSTROM OHM PLANCK EULER SUPERSCRIPT "
    "SUBSCRIPT TURNED ROTATED REVERSED INFORMATION ALEF BET GIMEL DALET CARON MASU VERTICAL"
)
# Who writes the first also uses the others.
_COMPANIONS = {
    "CJK": {"BOPOMOFO"},
    "HIRAGANA": {"KATAKANA", "KATAKANA-HIRAGANA", "CJK"},
    "KATAKANA": {"HIRAGANA", "KATAKANA-HIRAGANA", "CJK"},
}
# Beginnings of words, in English, German, French, Spanish, Portuguese and Italian, that name a language or a country.
_NAMED = {
    "CJK": "china chine chino cines mandarin canton taiwan",
    "HIRAGANA": "japan japon japão giappon kanji kana hiragana katakana",
    "HANGUL": "korea corea coréen hangul",
    "CYRILLIC": "russ rusia ruso ukrain ucran ucrân bulgar bulgár serb belarus mazedon macedon kazakh mongol cyrill kyrill ciríl ciril",
    "GREEK": "greek greece griech grec grieg math formul equation gleichung physic physik",
    "HEBREW": "hebr hebrä hébr yiddish israel",
    "ARABIC": "arab árab persia farsi iran urdu pasht",
    "DEVANAGARI": "hindi devanagari nepal marathi sanskrit",
    "BENGALI": "bengal bangla",
    "TAMIL": "tamil",
    "TELUGU": "telugu",
    "KANNADA": "kannada",
    "MALAYALAM": "malayalam",
    "GUJARATI": "gujarat",
    "GURMUKHI": "punjab panjab gurmukhi",
    "SINHALA": "sinhal singhal",
    "THAI": "thai tailand tailan",
    "LAO": "laos laotian",
    "KHMER": "khmer cambod kambod",
    "MYANMAR": "burm birm myanmar",
    "GEORGIAN": "georgia georgisch géorgien",
    "ARMENIAN": "armeni",
    "ETHIOPIC": "amhar ethiop äthiop éthiop",
    "TIBETAN": "tibet",
}
# Who speaks of translating, languages or scripts in general may get any.
_ANY = (
    "translat transliterat übersetz traduc traduz tradui language sprache langue idioma lingua "
    "alphabet alfabet calligraph hieroglyph unicode"
)


@lru_cache(maxsize=4096)
def system_of(letter: str) -> str:
    """The writing system of one character; "" for what is no letter and for letters that all systems share."""
    if not letter.isalpha():
        return ""
    words = unicodedata.name(letter, "").split() or [""]
    first = words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1 else words[0]
    return "CJK" if first == "IDEOGRAPHIC" else "" if first in _SIGNS.split() else first


def systems_in(text: str) -> frozenset[str]:
    return frozenset(map(system_of, text)) - {""}


def allowed_systems(texts: Iterable[str]) -> frozenset[str] | None:
    """What an answer to `texts` may be written in: Latin, their own systems and those asked for; `ALL` when they ask in general."""
    allowed = {LATIN}
    for text in texts:
        allowed |= systems_in(text)
        for word in re.findall(r"[^\W\d_]+", text.casefold()):
            if word.startswith(tuple(_ANY.split())):
                return ALL
            allowed |= {system for system, names in _NAMED.items() if word.startswith(tuple(names.split()))}
    for system in tuple(allowed):
        allowed |= _COMPANIONS.get(system, set())
    return frozenset(allowed)


def first_foreign(text: str, allowed: frozenset[str]) -> int:
    """Where in `text` the first letter of another system stands; -1 without one."""
    if text.isascii():
        return -1
    return next((index for index, letter in enumerate(text) if system_of(letter) not in allowed and system_of(letter)), -1)


@lru_cache(maxsize=256)
def _systems_of_beginning(start: bytes) -> frozenset[str]:
    """What an incomplete UTF-8 character may become. "" is among them unless most of what begins so are letters."""
    if start[0] >= 0xF0:
        return frozenset({""})  # emoji; the systems there are dead, or rare forms of Chinese
    missing = (2 if start[0] < 0xE0 else 3) - len(start)
    ends = [b""]
    for _ in range(missing):
        ends = [end + bytes([byte]) for end in ends for byte in range(0x80, 0xC0)]
    characters = [
        character for end in ends if (character := (start + end).decode("utf-8", "ignore")) and unicodedata.category(character) != "Cn"
    ]
    letters = [system for character in characters if (system := system_of(character))]
    # Latin letters from U+2000 on stand in nobody's alphabet, and would keep the first byte of most Korean syllables allowed.
    found = {system for system in letters if system != LATIN}
    found |= {LATIN for character in characters if character < "\u2000" and system_of(character) == LATIN}
    return frozenset(found | ({""} if 2 * len(letters) < len(characters) else set()))


class TokenSystems:
    """Which tokens of a vocabulary write which system. Made once a tokenizer; takes about a tenth of a second."""

    def __init__(self, tokenizer: Any):
        """`tokenizer` is transformers'; its tokens are byte-level (GPT-2's alphabet) or sentencepiece with bytes to fall back on."""
        self.size = len(tokenizer)
        tokens = tokenizer.convert_ids_to_tokens(list(range(self.size)))
        special = set(tokenizer.all_special_ids)
        byte_level = not any("▁" in (token or "") for token in tokens)
        # id -> (systems of its whole letters, what its incomplete last character may be of), for the few that are not plain Latin
        self._systems: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
        for token_id, token in enumerate(tokens):
            if token and token_id not in special and not token.lstrip("Ġ▁").isascii() or re.fullmatch(r"<0x[0-9A-F]{2}>", token or ""):
                found = _systems_of_bytes(bytes_of(token, byte_level))
                if found != (frozenset(), frozenset()):
                    self._systems[token_id] = found
        self._foreign: dict[frozenset[str], tuple[int, ...]] = {}

    def foreign_tokens(self, allowed: frozenset[str]) -> tuple[int, ...]:
        """The ids that write, or could only begin, a letter of a system that is not allowed."""
        if allowed not in self._foreign:
            always = allowed | {""}
            self._foreign[allowed] = tuple(
                token for token, (whole, begun) in self._systems.items() if whole - always or (begun and not begun & always)
            )
        return self._foreign[allowed]


def _systems_of_bytes(data: bytes) -> tuple[frozenset[str], frozenset[str]]:
    while data and 0x80 <= data[0] < 0xC0:  # the end of a character that another token began
        data = data[1:]
    begun = next((data[-back:] for back in (1, 2, 3) if len(data) >= back and data[-back] >= 0xC0), b"")
    try:
        begun.decode()
        begun = b""
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            begun = b""
    whole = systems_in(data[: len(data) - len(begun)].decode("utf-8", "ignore")) - {LATIN}
    return whole, _systems_of_beginning(begun) if begun else frozenset()


def bytes_of(token: str, byte_level: bool) -> bytes:
    """What a token of a vocabulary stands for: byte-level (GPT-2's letters), or sentencepiece with bytes to fall back on."""
    if byte_level:
        alphabet = _byte_alphabet()
        return bytes(alphabet[letter] for letter in token if letter in alphabet)
    if re.fullmatch(r"<0x[0-9A-F]{2}>", token):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()


@lru_cache
def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for the bytes: printable ones stand for themselves, the others follow from code point 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}
