"""Who made a picture and under which licence, as GCompris states it in the `README` beside its pictures.

A README is a list of paragraphs: `Copyright:`, `License:`, `Source:` and `Comment:` lines, then the files that they are about. Knows
which licences are open enough for the corpus; knows no pictures.
"""

import re
from dataclasses import dataclass

_FIELD = re.compile(r"(Copyright|License|Source|Comment|Files)s?\s*:\s*(.*)")
_FILE = re.compile(r"(?!https?:)\S+\.\w+")
_YEARS = re.compile(r"(?:(?:Copyright|©)\s*)?\b\d{4}(?:, \d{4})* (?=\w)|©\s*")
_OPEN = re.compile(r"public domain|CC0-1\.0|CC-BY(-SA)?-\d\.\d", re.IGNORECASE)
_BASED_ON = re.compile(r"based on (?:a photo|an original (?:image|photo)) by (.+?), license (\S+(?: \d\.\d)?), source at (\S+)")
_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Attribution:
    """`licence` is an SPDX identifier, or "Public domain". `source` is the page a picture was taken from, empty when none is given."""

    licence: str
    author: str
    source: str


def read_attributions(readme: str) -> dict[str, Attribution]:
    """File, as the README writes it -> attribution. Files without a stated licence are left out."""
    found = {}
    for paragraph in re.split(r"\n\s*\n", readme):
        fields, files = _fields(paragraph)
        if fields.get("License"):
            found |= dict.fromkeys(files, _attribution(fields))
    return found


def open_licence(stated: str) -> str | None:
    """The licence in one spelling when it is public domain, CC0, CC-BY or CC-BY-SA; None for any other."""
    licence = re.sub(r"(?<=[A-Z]) (?=\d)", "-", stated.strip())
    if not _OPEN.fullmatch(licence):
        return None
    return "Public domain" if licence.lower() == "public domain" else licence


def _fields(paragraph: str) -> tuple[dict[str, str], list[str]]:
    """The fields of one paragraph and the files it is about, some of which come without the word `Files:`."""
    fields: dict[str, str] = {}
    files: list[str] = []
    key = ""
    for line in paragraph.splitlines():
        match = _FIELD.match(line)
        key, text = (match[1], match[2].strip()) if match else (key, line.strip())
        if _FILE.fullmatch(text) and (key == "Files" or not match):
            files.append(text)
        elif key != "Files" and text:
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields, files


def _attribution(fields: dict[str, str]) -> Attribution:
    licence, author, comment = fields["License"], fields.get("Copyright", ""), fields.get("Comment", "")
    address = _ADDRESS.search(fields.get("Source", "") or comment)
    if original := _BASED_ON.search(comment):
        author = f"{original[1]} ({original[2].replace(' ', '-')}), changed by {author}"
    return Attribution(open_licence(licence) or licence, _YEARS.sub("", author), address[0] if address else "")
