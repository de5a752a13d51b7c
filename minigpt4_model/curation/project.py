"""A curation project: one folder with a database and its pictures, for any number of processes and threads at a time.

    curation.db            SQLite in WAL mode: what is committed survives a kill and a power cut
    pictures/ab/abc….jpg   every picture, upright, without the camera's metadata, named by its pixels

Knows tables and files; what a step does with them is its own business.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CurationError
from .schema import APPLICATION, SCHEMA, VERSION

DATABASE, PICTURES = "curation.db", "pictures"
DEFAULT_PROJECT = Path("data", "curation")
# Another process may be writing: adding thousands of marks takes a second or two.
_PATIENCE_S = 60


class Project:
    """An open project. Every thread has a connection of its own; a change is committed whole or not at all."""

    def __init__(self, folder: Path, *, create: bool = False):
        """Raises `CurationError` for a folder that holds no project (unless `create`), or another program's or version's."""
        self.folder = folder
        self.database = folder / DATABASE
        self._local = threading.local()
        if not create and not self.database.is_file():
            raise CurationError(f"--project {folder}: there is no {DATABASE} in this folder. curate describe makes a project.")
        with explained(self.database):
            folder.mkdir(parents=True, exist_ok=True)
            self._prepare()

    def picture_file(self, digest: str) -> Path:
        return self.folder / PICTURES / digest[:2] / f"{digest}.jpg"

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with explained(self.database):
            return self._connection().execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        return next(iter(self.rows(sql, *values)), None)

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row; None where there is none."""
        found = self.row(sql, *values)
        return found[0] if found else None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One change: no other writer comes in between, and it is all there or, after an error or a kill, nothing of it."""
        with explained(self.database):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Closes this thread's connection; other threads' close when they end."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.database, timeout=_PATIENCE_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")  # in WAL mode the default may lose the last commits at a power cut
            self._local.connection = connection
        return connection

    def _prepare(self) -> None:
        connection = self._connection()
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            connection.execute("BEGIN IMMEDIATE")  # so that of two processes one makes the tables
            try:
                self._make_tables(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise CurationError(f"{self.database} has format {version}, and this program reads {VERSION}: use the version that made it.")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise CurationError(f"{self.database} cannot be shared here (SQLite's WAL mode is refused): put the project on a local disk.")

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION:
            return  # made by another process meanwhile
        if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            raise CurationError(f"{self.database} is the database of another program: name another folder with --project.")
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")


@contextmanager
def explained(database: Path) -> Iterator[None]:
    """Turns what SQLite says of a file into a `CurationError` that names it."""
    try:
        yield
    except sqlite3.Error as error:
        raise CurationError(f"{database}: {error}. {_fix(str(error))}") from error


def _fix(told: str) -> str:
    for words, fix in (
        ("full", "Free some space on its disk and run the command again: nothing that was done is lost."),
        ("readonly", "Mend the rights of the file and its folder."),
        ("unable to open", "Mend the rights of its folder, or name another one with --project."),
        ("locked", "Another process holds it for too long: end that one, or wait."),
        ("not a database", "Name another folder with --project."),
        ("malformed", "The file is damaged: bring it back from a copy."),
    ):
        if words in told:
            return fix
    return "Is this a project that this version made?"


def storable(text: str) -> str:
    """`text` as the database can hold it: halves of surrogate pairs become U+FFFD, NUL goes."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "")


def add_text(
    connection: sqlite3.Connection, item: int, step: str, author: str, text: str, parent: int | None = None, details: dict | None = None
) -> int:
    """Adds a version of an item's text and returns its id. `text` is kept as it is, less the white space around it."""
    row = connection.execute(
        "INSERT INTO texts (item_id, parent_id, step, author, text, details, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (item, parent, step, author, storable(text).strip(), json.dumps(details or {}, ensure_ascii=True), time.time()),
    )
    return int(row.lastrowid)


def add_failure(connection: sqlite3.Connection, item: int, step: str, problem: str) -> None:
    connection.execute(
        "INSERT INTO failures (item_id, step, problem, added_at) VALUES (?, ?, ?, ?)", (item, step, storable(problem), time.time())
    )


@contextmanager
def recorded_run(project: Project, step: str, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Writes down that a step was run and how; what the block puts into the dictionary it gets is the run's summary."""
    with project.writing() as connection:
        run = connection.execute(
            "INSERT INTO runs (step, settings, started_at) VALUES (?, ?, ?)", (step, json.dumps(settings, default=str), time.time())
        ).lastrowid
    summary: dict[str, Any] = {}
    yield summary
    with project.writing() as connection:
        connection.execute("UPDATE runs SET finished_at = ?, summary = ? WHERE id = ?", (time.time(), json.dumps(summary), run))


def author_name(annotator: str) -> str:
    """How an annotator is called as the author of a text."""
    return f"person:{annotator}"
