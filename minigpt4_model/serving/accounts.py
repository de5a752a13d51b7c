"""Who may log in: names and passwords of `--auth`, from the flag, a file or an environment variable. Nothing here is ever logged."""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path


class AccountsError(ValueError):
    """The accounts cannot be read; the text names the flag and the fix, never a password."""


class Accounts:
    """Names with their passwords, of which only salted hashes are kept."""

    def __init__(self, passwords: dict[str, str]):
        self._salt = secrets.token_bytes(16)
        self._kept = {name: self._hash(password) for name, password in passwords.items()}

    def __len__(self) -> int:
        return len(self._kept)

    def check(self, name: str, password: str) -> bool:
        """Whether this is somebody's name and password. Takes as long for a name that is nobody's."""
        given = self._hash(password)
        return hmac.compare_digest(given, self._kept.get(name, secrets.token_bytes(32)))

    def _hash(self, password: str) -> bytes:
        return hashlib.sha256(self._salt + password.encode()).digest()


def load_accounts(given: Iterable[str]) -> tuple[Accounts | None, list[str]]:
    """The accounts that `--auth` gives, each a file of lines `name:password` or such lines themselves, and warnings for the operator.

    None if none are given. Empty lines and lines that begin with # say nothing. Raises `AccountsError`.
    """
    passwords: dict[str, str] = {}
    warnings = []
    for value in given:
        lines, place, warning = _lines(value)
        warnings += warning
        for number, line in enumerate(lines, start=1):
            line = line.strip("\r\n")
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, colon, password = line.partition(":")
            name = name.strip()
            if not (name and colon and password):
                where = f"{place}, line {number}" if place else "--auth"
                raise AccountsError(f"{where}: write a name, a colon and a password, as in alice:correct-horse.")
            passwords[name] = password
    if not passwords:
        if warnings or list(given):
            raise AccountsError("--auth: there is no account in it. Write one name:password in each line.")
        return None, warnings
    return Accounts(passwords), warnings


def _lines(value: str) -> tuple[list[str], str, list[str]]:
    """The lines of `value`, the name of their file if they are one's, and what is wrong with it."""
    is_file = "\n" not in value and len(value) < 4096 and Path(value).is_file()
    if not is_file:
        if ":" not in value:
            raise AccountsError("--auth: this is neither a file that is there nor a name:password.")
        return value.splitlines(), "", []
    try:
        lines = Path(value).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise AccountsError(f"--auth {value}: cannot be read ({fault}).") from fault
    open_to_all = os.name == "posix" and stat.S_IMODE(Path(value).stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH)
    warning = f"--auth {value}: other users of this machine can read it. Mend it with: chmod 600 {value}"
    return lines, value, [warning] if open_to_all else []
