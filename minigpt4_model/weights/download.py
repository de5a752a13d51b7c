"""Downloads of single large files over HTTP: resumed where they broke off, checked, and never seen half-done under their names.

`download(source, path)` writes `path.partial` beside its end and renames it when its length and hash are right. A transfer that breaks
off is taken up at the byte it reached (HTTP Range), in this run and in the next; a file that changed on its server is begun anew
(If-Range). A file that was once checked is trusted as long as its size and time are those of then. Knows nothing of models.
"""

import contextlib
import email.utils
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from .cache import locked, sha256_of, write_atomically
from .errors import WeightsError, explained_disk_errors
from .progress import Progress, silent

ATTEMPTS = 5  # in a row that bring no new byte
PAUSE_S = 1.0  # before the second attempt; doubled for each further one
TIMEOUT_S = 60.0  # without a byte
NOTES = ".downloads"  # a folder apart: transformers takes any neighbour for a tokenizer whose name begins like one's
_BLOCK = 1 << 20
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Source:
    """Where a file is and what it has to be: its sha256, or the hash that Git gives it, or none that is known.

    `page` is for people, when the address fails. `token` is sent to the address's own host only.
    """

    title: str
    url: str
    sha256: str | None = None
    git_sha1: str | None = None
    size_bytes: int | None = None
    page: str = ""
    token: str | None = None


class RefusedError(WeightsError):
    """The server knows the file and does not give it. `status` is HTTP's; `code` is the Hub's word for why, if it said one."""

    def __init__(self, message: str, status: int, code: str = ""):
        super().__init__(message)
        self.status, self.code = status, code


class _Broken(Exception):
    """The transfer failed in a way that another attempt may mend."""

    def __init__(self, why: str, wait_s: float = 0.0):
        super().__init__(why)
        self.wait_s = wait_s


def download(source: Source, path: Path, progress: Progress = silent) -> str:
    """Brings `path`, whole and checked; returns what it was checked against. Nothing is sent when it is there already.

    Raises `WeightsError` that says what failed, what is kept to go on from, and how to bring the file by hand (`RefusedError`: 401, 403).
    """
    with explained_disk_errors(path.parent, source.size_bytes or 0, source.title):
        (path.parent / NOTES).mkdir(parents=True, exist_ok=True)
        with locked(path.parent / NOTES / f"{path.name}.lock", source.title, progress):
            known = _checked_before(source, path)
            if known:
                return known
            if path.exists():  # brought by hand, or changed since it was checked
                with contextlib.suppress(_Broken):
                    return _accept(source, path, path, progress)
                progress(f"{path} is damaged or another file: its hash is not the expected one. Fetching it again.", None)
            for again in (False, True):
                partial = _fetch(source, path, progress)
                try:
                    return _accept(source, partial, path, progress)
                except _Broken as error:
                    _discard(path)
                    if again:
                        raise WeightsError(f"{source.title} ({source.url}): {error} {_by_hand(source, path)}") from None
                    progress(f"{error} Fetching it once more from the start.", None)
    raise AssertionError("unreachable")


def open_url(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Opens an address. Proxies are those of the environment; a token goes to no other host than the one asked."""
    request = urllib.request.Request(url, headers={"User-Agent": f"minigpt4-model/{__version__}", "Accept-Encoding": "identity", **headers})
    return urllib.request.build_opener(_KeepTokenHome).open(request, timeout=TIMEOUT_S)


class _KeepTokenHome(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but leaves the token behind when they lead to another host (urllib would send it along)."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new


def _fetch(source: Source, path: Path, progress: Progress) -> Path:
    """The whole file under its temporary name, over as many attempts as bring it forward."""
    partial, failures = _partial(path), 0
    while True:
        before = _size(partial)
        if before and not failures:
            progress(f"Going on with {path.name} at {before / 1e6:.1f} MB", None)
        try:
            _transfer(source, path, progress)
            return partial
        except _Broken as error:
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                kept = f" to go on from the {_size(partial) / 1e6:.1f} MB that are kept" if _size(partial) else ""
                raise WeightsError(
                    f"{source.title} could not be fetched from {source.url}: {error}. Check the network and start again{kept}. "
                    f"{_by_hand(source, path)}"
                ) from error
            progress(f"{path.name}: {error}; trying again.", None)
            time.sleep(max(error.wait_s, PAUSE_S * 2 ** max(failures - 1, 0)))


def _transfer(source: Source, path: Path, progress: Progress) -> None:
    """One request: appends to the temporary file where the server allows it, or begins it anew. Raises `_Broken`."""
    partial, state = _partial(path), _read_state(path)
    have = _size(partial) if state.get("url") == source.url else 0
    headers = {"Authorization": f"Bearer {source.token}"} if source.token else {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    try:
        response = open_url(source.url, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # what is there is all there is, or more: begun anew unless its length is right
            if have == state.get("total"):
                return
            _discard(path)
            raise _Broken("what was kept of it is longer than the file") from None
        raise _explained(error, source, path) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise _Broken(f"no connection ({getattr(error, 'reason', error)})") from None
    with response:
        if "text/html" in response.headers.get("Content-Type", ""):
            raise WeightsError(
                f"{source.url} gives a web page instead of {source.title}: the server wants a person, or its quota is used up. "
                f"{_by_hand(source, path)}"
            )
        start, total = _range_of(response)
        if start and (start != have or state.get("total") not in (None, total)):
            _discard(path)
            raise _Broken("the server sends another part or another file than before")
        if total is not None:
            _require_space(partial.parent, total - start, source)
        validator = response.headers.get("ETag") or ""
        if not validator or validator.startswith("W/"):
            validator = response.headers.get("Last-Modified") or ""
        write_atomically(_state(path), json.dumps({"url": source.url, "total": total, "validator": validator}).encode())
        _copy(response, partial, start, total, path.name, progress)


def _range_of(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """(first byte of the answer, length of the whole file if told). It starts at 0 if Range is ignored, or the file is another now."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return (0, int(length)) if length else (0, None)
    try:
        span, whole = response.headers["Content-Range"].removeprefix("bytes ").split("/")
        return int(span.split("-")[0]), None if whole == "*" else int(whole)
    except (TypeError, AttributeError, ValueError):
        raise _Broken("the server's answer to a request for the rest makes no sense") from None


def _copy(response: http.client.HTTPResponse, partial: Path, start: int, total: int | None, name: str, progress: Progress) -> None:
    done = start
    with partial.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        try:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                if total:
                    progress(f"Fetching {name}", done / total)
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            raise _Broken(f"the transfer broke off after {(done + len(error.partial)) / 1e6:.1f} MB") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno is not None and not isinstance(error, (ConnectionError, TimeoutError)):
                raise  # the disk, not the network
            raise _Broken(f"the transfer broke off after {done / 1e6:.1f} MB ({type(error).__name__})") from None
    if total is not None and done < total:
        raise _Broken(f"the transfer broke off after {done / 1e6:.1f} of {total / 1e6:.1f} MB")


def _explained(error: urllib.error.HTTPError, source: Source, path: Path) -> Exception:
    told = f"{source.url} answers {error.code} {error.reason}"
    if error.code in (401, 403):
        return RefusedError(f"{told}. {_by_hand(source, path)}", error.code, error.headers.get("X-Error-Code") or "")
    if error.code in _AGAIN:
        return _Broken(told, _wait_asked_for(error.headers.get("Retry-After")))
    return WeightsError(f"{source.title} is not to be had: {told}. {_by_hand(source, path)}")


def _wait_asked_for(header: str | None) -> float:
    """Seconds that the server asks to wait, a minute at most."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        moment = email.utils.parsedate_to_datetime(header) if email.utils.parsedate_tz(header) else None
        seconds = moment.timestamp() - time.time() if moment else 0.0
    return min(max(seconds, 0.0), 60.0)


def _accept(source: Source, found: Path, path: Path, progress: Progress) -> str:
    """Checks `found` and gives it its name. Raises `_Broken` when it isn't the file."""
    size = found.stat().st_size
    if source.sha256:
        actual, expected, against = sha256_of(found, progress), source.sha256, "sha256"
    elif source.git_sha1:
        actual, expected, against = _git_sha1(found), source.git_sha1, "Git's hash of it on its server"
    else:
        total = _read_state(path).get("total")
        actual, expected, against = (
            size,
            total if total is not None else size,
            "its length on its server" if total is not None else "nothing",
        )
    if actual != expected:
        raise _Broken(f"what came is not the file: its {against} is {actual} instead of {expected}.")
    if found != path:
        with found.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(found, path)
    stat = path.stat()
    record = {"url": source.url, "checked": against, "expected": expected, "size": size, "mtime_ns": stat.st_mtime_ns}
    write_atomically(_record(path), json.dumps(record).encode())
    _state(path).unlink(missing_ok=True)
    return against


def _checked_before(source: Source, path: Path) -> str | None:
    """What `path` was once checked against, if it is still the same file and the same is asked for."""
    try:
        record = json.loads(_record(path).read_bytes())
        stat = path.stat()
        same = (record["size"], record["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
        wanted = source.sha256 or source.git_sha1
        return str(record["checked"]) if same and (wanted in (None, record["expected"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _git_sha1(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _state(path: Path) -> Path:
    return path.parent / NOTES / f"{path.name}.partial.json"


def _record(path: Path) -> Path:
    return path.parent / NOTES / f"{path.name}.checked.json"


def _read_state(path: Path) -> dict:
    try:
        state = json.loads(_state(path).read_bytes())
        return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(path: Path) -> None:
    _partial(path).unlink(missing_ok=True)
    _state(path).unlink(missing_ok=True)


def _require_space(directory: Path, needed: int, source: Source) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise WeightsError(
            f"{source.title} needs {needed / 1e9:.1f} GB more in {directory}, and {free / 1e9:.1f} GB are free. "
            "Free some space, or set MINIGPT4_HOME to a folder on another disk."
        )


def _by_hand(source: Source, path: Path) -> str:
    elsewhere = f" (or look for it on {source.page})" if source.page else ""
    return f"Or bring it by hand: open {source.url} in a browser{elsewhere} and put the file into {path.parent} as {path.name}."
