"""Reads Qt's binary resource files (.rcc, format versions 1 to 3): a tree of named files, some of them deflated.

Knows the file format only (Qt's `rcc.cpp` writes it). Zstandard, which newer versions of Qt may use, is refused with a sentence.
"""

import struct
import zlib
from pathlib import Path

_COMPRESSED, _DIRECTORY, _ZSTANDARD = 1, 2, 4  # flags of a node


def read_resources(path: Path) -> dict[str, bytes]:
    """Path inside the file, without a leading slash -> contents. Raises ValueError, naming the file, for one that cannot be read."""
    content = path.read_bytes()
    if content[:4] != b"qres":
        raise ValueError(f"{path} is not a Qt resource file.")
    try:
        return _read(content)
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _read(content: bytes) -> dict[str, bytes]:
    version, tree, data, names = struct.unpack_from(">4I", content, 4)
    if version not in (1, 2, 3):
        raise ValueError(f"its format version is {version}, not 1, 2 or 3")
    node_size = 14 if version == 1 else 22  # from version 2 on a node ends with the time of its last change
    found: dict[str, bytes] = {}
    seen: set[int] = set()
    waiting = [(0, "")]  # the root, which has no name
    while waiting:
        number, folder = waiting.pop()
        if number in seen:
            raise ValueError("its tree runs in a circle")
        seen.add(number)
        node = tree + number * node_size
        name_at, flags = struct.unpack_from(">IH", content, node)
        path = f"{folder}/{_name(content, names + name_at)}".lstrip("/") if number else ""
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">2I", content, node + 6)
            waiting += [(child, path) for child in range(first, first + count)]
        else:
            found[path] = _contents(content, data + struct.unpack_from(">I", content, node + 10)[0], flags)
    return found


def _name(content: bytes, at: int) -> str:
    """A name is its length in UTF-16 units, a hash of it, then the units."""
    (length,) = struct.unpack_from(">H", content, at)
    return content[at + 6 : at + 6 + 2 * length].decode("utf-16-be")


def _contents(content: bytes, at: int, flags: int) -> bytes:
    (length,) = struct.unpack_from(">I", content, at)
    stored = content[at + 4 : at + 4 + length]
    if len(stored) < length:
        raise ValueError("it ends before its contents do")
    if flags & _ZSTANDARD:
        raise ValueError("it is compressed with Zstandard")
    return zlib.decompress(stored[4:]) if flags & _COMPRESSED else stored  # four bytes say how long it is when unpacked
