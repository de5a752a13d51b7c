"""Where the corpus comes from: one table of openly licensed collections, and their download.

Every file is pinned by version and sha256. The packages come through `npm pack` and `apt-get download`, so that the user's
own registry settings apply. Only what is needed is unpacked, into `<cache>/corpus/<collection>/`. What the pictures show is
`names`; their pixels are `render`. Which sets are for training and which only for testing is decided here and nowhere else.
Photographs have a table of their own, for they are no sprites: see `snapshots`.
"""

import hashlib
import logging
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ...weights.cache import home, sha256_of

logger = logging.getLogger(__name__)

TRAIN, HELD_OUT_STYLE = "train", "held-out style"


class CorpusError(RuntimeError):
    """A collection could not be fetched or read; the text names it and the fix."""


@dataclass(frozen=True)
class Collection:
    """One row of the table. `sha256` is of the downloaded archive. An optional collection may be missing without failing the build.

    Of a Debian package the files below `folder` that match one of `files` are kept, in a directory called as the folder's last part.
    """

    name: str
    source: str  # npm | debian
    package: str
    version: str
    sha256: str
    licence: str  # SPDX
    author: str
    homepage: str
    split: str = TRAIN
    optional: bool = False
    folder: str = ""
    files: tuple[str, ...] = ()


COLLECTIONS = (
    Collection(
        "noto", "npm", "@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        "Apache-2.0", "Google Inc", "https://github.com/googlefonts/noto-emoji",
    ),
    Collection(
        "noto-v1", "npm", "@iconify-json/noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        "Apache-2.0", "Google Inc", "https://github.com/googlefonts/noto-emoji",
    ),
    Collection(
        "twemoji", "npm", "@iconify-json/twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        "CC-BY-4.0", "Twitter", "https://github.com/jdecked/twemoji",
    ),
    Collection(
        "fluent-emoji", "npm", "@iconify-json/fluent-emoji", "1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
        "MIT", "Microsoft Corporation", "https://github.com/microsoft/fluentui-emoji",
    ),
    Collection(
        "emojione", "npm", "@iconify-json/emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        "CC-BY-4.0", "Emoji One", "https://github.com/EmojiTwo/emojitwo",
        split=HELD_OUT_STYLE,
    ),
    Collection(
        "fxemoji", "npm", "@iconify-json/fxemoji", "1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        "Apache-2.0", "Mozilla", "https://github.com/mozilla/fxemoji",
    ),
    Collection(
        "flat-color-icons", "npm", "@iconify-json/flat-color-icons", "1.2.3",
        "d8878a9b0f02d749bc8671eb7d47882eb711185cbcefbb365cbfb488773c4786",
        "MIT", "Icons8", "https://github.com/icons8/flat-Color-icons",
    ),
    Collection(
        "tuxpaint-stamps", "debian", "tuxpaint-stamps-default", "2022.06.04-1",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        "GPL-2.0-or-later", "Bill Kendrick and contributors", "https://tuxpaint.org/stamps/",
        optional=True, folder="usr/share/tuxpaint/stamps", files=("*.png", "*.svg", "*.txt"),  # sounds are left out
    ),
    Collection(
        "fluent-emoji-flat", "npm", "@iconify-json/fluent-emoji-flat", "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        "MIT", "Microsoft Corporation", "https://github.com/microsoft/fluentui-emoji",
    ),
    Collection(
        "openmoji", "npm", "@iconify-json/openmoji", "1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
        "CC-BY-SA-4.0", "OpenMoji", "https://github.com/hfg-gmuend/openmoji",
        split=HELD_OUT_STYLE,
    ),
)  # fmt: skip

# Packages with photographs. The licence of GCompris's is that of each picture; `snapshots` reads it and takes open ones only.
PHOTOGRAPH_COLLECTIONS = (
    Collection(
        "gcompris", "debian", "gcompris-qt-data", "3.1-2", "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        "per picture", "GCompris and the photographers", "https://gcompris.net/",
        optional=True, folder="usr/share/gcompris-qt/rcc",
        files=("categorization.rcc", "details.rcc", "erase.rcc", "explore_*.rcc", "solar_system.rcc"),
    ),
    Collection(
        "scratch", "debian", "scratch", "1.4.0.6~dfsg1-6.1", "36c582eb93110f64f06c4e685c41e933ccba2fa68db12f79b10bfe840b21fc10",
        "CC-BY-SA-3.0", "Massachusetts Institute of Technology", "https://scratch.mit.edu/",
        optional=True, folder="usr/share/scratch/Media",
        files=("backgrounds/*.jpg", "costumes/animals/*", "costumes/things/*", "costumes/transportation/*"),
    ),
)  # fmt: skip


def corpus_home() -> Path:
    """Where the corpus is cached. It may not exist yet."""
    return home() / "corpus"


def collection(name: str) -> Collection:
    return next(row for row in (*COLLECTIONS, *PHOTOGRAPH_COLLECTIONS) if row.name == name)


def fetch(row: Collection, root: Path | None = None) -> Path:
    """The directory with the unpacked collection; downloaded and checked when it is not there yet.

    A directory appears whole or not at all. Raises `CorpusError` when the archive cannot be had or is not the pinned one.
    """
    directory = (root or corpus_home()) / row.name
    if (directory / "archive.sha256").is_file() and (directory / "archive.sha256").read_text().strip() == row.sha256:
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{row.name}-") as scratch:
        archive = _download(row, Path(scratch))
        found = sha256_of(archive)
        if found != row.sha256:
            raise CorpusError(f"{archive.name} has sha256 {found}, not {row.sha256}: the registry served another file. Try again.")
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        _unpack_npm(archive, unpacked) if row.source == "npm" else _unpack_debian(row, archive, unpacked)
        (unpacked / "archive.sha256").write_text(row.sha256 + "\n")
        if directory.exists():
            shutil.rmtree(directory)
        unpacked.rename(directory)
    return directory


def _download(row: Collection, scratch: Path) -> Path:
    if row.source == "npm":
        command, pattern = ["npm", "pack", "--silent", f"{row.package}@{row.version}"], "*.tgz"
    else:
        command, pattern = ["apt-get", "download", "-q", f"{row.package}={row.version}"], "*.deb"
    logger.info("Downloading %s %s", row.package, row.version)
    try:
        result = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=900)
    except FileNotFoundError as error:
        raise CorpusError(f"{row.name} needs the command `{command[0]}`, which is not installed.") from error
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"{row.name}: `{' '.join(command)}` took more than 15 minutes. Check the network and try again.") from error
    archives = sorted(scratch.glob(pattern))
    if result.returncode or not archives:
        if row.source == "debian":
            raise CorpusError(_why_apt_failed(row, result.stderr))
        tail = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["it gave no reason"]
        raise CorpusError(f"{row.name}: `{' '.join(command)}` failed: {tail[0]}")
    return archives[0]


def _why_apt_failed(row: Collection, said: str) -> str:
    """A sentence with the fix: another Debian carries another version, and a fresh container has no package lists at all."""
    if "was not found" in said:
        policy = subprocess.run(["apt-cache", "policy", row.package], capture_output=True, text=True, timeout=60).stdout
        offered = re.search(r"Candidate: (\S+)", policy)
        return (
            f"{row.name}: this system's package sources offer {row.package} {offered[1] if offered else 'in another version'}, but the "
            f"corpus is pinned to {row.version}, the version of Debian 12. Build the corpus on Debian 12, for example in a container."
        )
    if "Unable to locate package" in said:
        return f"{row.name}: no package source of this system has {row.package}. Run `apt-get update`; the package is part of Debian 12."
    reason = said.strip().splitlines()[-1:] or ["it gave no reason"]
    return f"{row.name}: `apt-get download {row.package}={row.version}` failed: {reason[0]}"


def _unpack_npm(archive: Path, directory: Path) -> None:
    """Takes `icons.json`, `info.json` and the readme of an Iconify package; nothing else is written."""
    with tarfile.open(archive) as tar:
        for wanted in ("icons.json", "info.json", "README.md"):
            try:
                source = tar.extractfile(f"package/{wanted}")
            except KeyError as error:
                raise CorpusError(f"{archive.name} holds no {wanted}: it is not an Iconify package.") from error
            with source, (directory / wanted).open("wb") as target:
                shutil.copyfileobj(source, target)


def _unpack_debian(row: Collection, archive: Path, directory: Path) -> None:
    """Takes the files that the row asks for and the copyright file."""
    whole = directory / "whole"
    try:
        subprocess.run(["dpkg-deb", "-x", str(archive), str(whole)], check=True, capture_output=True)
    except FileNotFoundError as error:
        raise CorpusError(f"{row.name} needs the command `dpkg-deb`, which is not installed.") from error
    except subprocess.CalledProcessError as error:
        raise CorpusError(f"{archive.name} cannot be unpacked: {error.stderr.decode(errors='replace').strip()}") from error
    folder = whole / row.folder
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.is_file() and any(fnmatch(inside.as_posix().lower(), pattern) for pattern in row.files):
            target = directory / folder.name / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
    shutil.copy(next(whole.glob("usr/share/doc/*/copyright")), directory / "copyright")
    shutil.rmtree(whole)


def fingerprint(*parts: str) -> str:
    """A short stable hash, for splits that must not change from run to run."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
