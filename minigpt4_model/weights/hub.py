"""A language model from the Hugging Face Hub at a pinned revision: which files it has, and bringing those that are needed.

The Hub lists every file of a revision with its sha256 (large files) or Git's hash of it (small ones), and a revision is itself a hash of
that list, so a pinned revision pins every byte. `HF_ENDPOINT`, `HF_TOKEN` and the login that `hf auth login` made are respected. A gated
repository's refusal becomes a message with the steps to get access.
"""

import json
import os
import urllib.error
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .cache import write_atomically
from .download import NOTES, RefusedError, Source, download, open_url
from .errors import WeightsError
from .progress import Progress, silent
from .sources import HubRepository
from .tensor_files import weight_files

_SMALL = (
    "config.json", "generation_config.json", "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "LICENSE.txt", "LICENSE", "USE_POLICY.md",
)  # fmt: skip
# Of the same weights in two formats the first is taken.
_FORMATS = (("model", ".safetensors"), ("pytorch_model", ".bin"))
_WHOLE = "whole.json"  # beside the notes of single files: that all of a repository is there


@dataclass(frozen=True)
class HubFile:
    """One file of a revision. Exactly one of the hashes is there."""

    path: str
    size_bytes: int
    sha256: str | None
    git_sha1: str | None


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def token() -> str | None:
    """The person's token, where there is one: `HF_TOKEN`, or what `hf auth login` wrote."""
    from huggingface_hub import get_token

    return get_token()


def list_files(repository: HubRepository) -> list[HubFile]:
    """Every file at the top of the pinned revision. Raises `WeightsError`."""
    name, revision = urllib.parse.quote(repository.name), urllib.parse.quote(repository.revision)
    url = f"{endpoint()}/api/models/{name}/tree/{revision}"
    secret = token()
    try:
        with open_url(url, {"Authorization": f"Bearer {secret}"} if secret else {}) as response:
            entries = json.loads(response.read())
        files = [entry for entry in entries if entry["type"] == "file"]
        return [
            HubFile(entry["path"], entry["size"], (entry.get("lfs") or {}).get("oid"), None if entry.get("lfs") else entry["oid"])
            for entry in files
        ]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise _refused(repository, error.code, error.headers.get("X-Error-Code") or "", bool(secret)) from error
        raise WeightsError(f"{repository.title}: {url} answers {error.code} {error.reason}. {_without_hub(repository)}") from error
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(f"{repository.title}: no connection to {endpoint()} ({reason}). {_without_hub(repository)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{repository.title}: what {url} answers is no list of files. {_without_hub(repository)}") from error


def needed_files(files: Iterable[HubFile], repository: HubRepository) -> list[HubFile]:
    """Configuration, tokenizer and weights in one format, the small ones first. Raises `WeightsError` when there are no weights."""
    by_path = {file.path: file for file in files}
    chosen = [by_path[path] for path in _SMALL if path in by_path]
    for stem, ending in _FORMATS:
        weights = [file for path, file in sorted(by_path.items()) if path.startswith(stem) and path.endswith(ending)]
        if weights:
            index = by_path.get(f"{stem}{ending}.index.json")
            return [*chosen, *([index] if index else []), *weights]
    raise WeightsError(f"{repository.name} at {repository.revision} holds no weights. {_without_hub(repository)}")


def download_repository(repository: HubRepository, into: Path, progress: Progress = silent) -> Path:
    """The language model in the folder `into`, every file checked against the Hub's hash of it; returns the folder.

    Raises `WeightsError`; for a gated repository the message lists the steps to get access.
    """
    needed = needed_files(list_files(repository), repository)
    total = sum(file.size_bytes for file in needed)
    progress(f"{repository.title} from {repository.page}: {len(needed)} files, {total / 1e9:.2f} GB ({repository.licence})", None)
    secret = token()
    for file in needed:
        quoted = urllib.parse.quote(file.path)
        source = Source(
            title=f"{file.path} of {repository.title}",
            url=f"{endpoint()}/{urllib.parse.quote(repository.name)}/resolve/{repository.revision}/{quoted}",
            sha256=file.sha256,
            git_sha1=file.git_sha1,
            size_bytes=file.size_bytes,
            page=f"{repository.page}/tree/{repository.revision}",
            token=secret,
        )
        try:
            download(source, into / file.path, progress)
        except RefusedError as error:
            raise _refused(repository, error.status, error.code, bool(secret)) from error
    record = {"revision": repository.revision, "files": {file.path: _stamp(into / file.path) for file in needed}}
    write_atomically(into / NOTES / _WHOLE, json.dumps(record, indent=1).encode())
    return into


def fetched_repository(repository: HubRepository, into: Path) -> Path | None:
    """The folder `into` where `download_repository` has filled it and no file has changed since. Asks no server."""
    try:
        record = json.loads((into / NOTES / _WHOLE).read_bytes())
        is_whole = all(_stamp(into / path) == stamp for path, stamp in record["files"].items())
        return into if is_whole and record["revision"] == repository.revision else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stamp(path: Path) -> list[int]:
    """Size and time of a file that was checked."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def cached_snapshot(repository: HubRepository) -> Path | None:
    """The pinned revision in the cache of `huggingface_hub`, where another program has brought all of it."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.name.replace('/', '--')}" / "snapshots" / repository.revision
    try:
        weight_files(folder)
    except WeightsError:
        return None
    has_tokenizer = any((folder / name).is_file() for name in ("tokenizer.model", "tokenizer.json"))
    return folder if has_tokenizer and (folder / "config.json").is_file() else None


def _refused(repository: HubRepository, status: int, code: str, has_token: bool) -> WeightsError:
    """What a person has to do. The Hub answers 401 to strangers and 403 to those whom the owner hasn't let in."""
    if not repository.gated and code != "GatedRepo":
        return WeightsError(f"{repository.title}: {repository.page} refuses ({status}). {_without_hub(repository)}")
    steps = [
        f"Log in on {repository.page}, read the licence ({repository.licence}) and ask for access. It is granted there, often within a day."
    ]
    if has_token and status == 403:
        why = "your token is known, but access has not been granted to you yet, or the token may not read gated repositories"
        steps.append("If access was granted: allow the token to read gated repositories, on https://huggingface.co/settings/tokens.")
    else:
        why = "your token is not accepted" if has_token else "nobody is logged in here"
        steps.append("Make a token that may read, on https://huggingface.co/settings/tokens.")
        steps.append("Type `hf auth login` and paste it, or set HF_TOKEN to it.")
    numbered = "\n".join(f"  {number}. {step}" for number, step in enumerate([*steps, "Start again; what was fetched is kept."], 1))
    return WeightsError(
        f"{repository.title} is gated: its owner decides who may download it, and {why}.\n{numbered}\n{_without_hub(repository)}"
    )


def _without_hub(repository: HubRepository) -> str:
    return f"If you have {repository.title} already, in Hugging Face's layout: --local-dir DIR."
