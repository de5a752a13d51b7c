"""Walks over the headers of a tar file, skipping what its members hold: a tenth of the time that `tarfile` takes.

Reads what tarfile, GNU tar, bsdtar and webdataset write: ustar, GNU long names, and pax headers (webdataset puts one before
every member, for its time of writing). Knows nothing of what members mean.
"""

from collections.abc import Iterator
from pathlib import Path

_BLOCK = 512
_REGULAR = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices and folders, whatever their size field says


class TarDamage(ValueError):
    """The file is not a tar file from here on; the text says what was found."""


def tar_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """`(name, offset, size)` of every regular file in the order in which they lie. Raises `TarDamage` after the last whole one."""
    total = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        position, name, size = 0, None, None  # name and size are those that an extended header gives the next member
        while True:
            file.seek(position)
            block = file.read(3 * _BLOCK)  # a pax header, its text and the member's own header in one go
            header = block[:_BLOCK]
            if header == bytes(_BLOCK):
                return
            if len(header) < _BLOCK:
                raise TarDamage("is cut off: it has no end mark" if total else "is empty")
            kind = header[156:157]
            own_size = _number(header[124:136])
            if own_size is None or _number(header[148:156]) != sum(header[:148]) + sum(header[156:]) + 8 * 32:
                raise TarDamage("is not a tar file" if not position else "is damaged")
            start = position + _BLOCK
            if kind in (b"x", b"g", b"L", b"K"):
                if start + own_size > total:
                    raise TarDamage("is cut off")
                if kind == b"x":
                    name, size = _pax(_payload(file, block, start, own_size))
                elif kind == b"L":
                    name = _text(_payload(file, block, start, own_size))
                position = start + _padded(own_size)
                continue
            length = own_size if size is None else size
            called = _name(header) if name is None else name
            if kind in _REGULAR and not called.endswith("/"):
                if start + length > total:
                    raise TarDamage(f"is cut off in {called}")
                yield called, start, length
            position, name, size = start if kind in _WITHOUT_DATA else start + _padded(length), None, None


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _payload(file, block: bytes, start: int, size: int) -> bytes:
    if _BLOCK + size <= len(block):
        return block[_BLOCK : _BLOCK + size]
    file.seek(start)
    return file.read(size)


def _pax(text: bytes) -> tuple[str | None, int | None]:
    """The path and the size that a pax header gives, from its records `LENGTH KEY=VALUE\\n`."""
    found = {}
    while text:
        length, _, _ = text.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(text):
            raise TarDamage("is damaged: a pax header cannot be read")
        key, _, value = text[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key] = value
        text = text[int(length) :]
    path, size = found.get(b"path"), found.get(b"size")
    return None if path is None else _text(path), int(size) if size is not None and size.isdigit() else None


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int | None:
    """An octal number, or GNU's binary form for large ones; None for anything else, a sign included: a walk only goes forward."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        return None
    return int(digits, 8) if digits else 0
