"""The tables of a project's database, version 1. Rows are added and marked; nothing that somebody wrote is ever deleted.

Times are seconds since 1970. `settings` and `details` are JSON objects.
"""

APPLICATION = 0x4D344355  # "M4CU": says whose SQLite file this is
VERSION = 1

OPEN, KEPT, EDITED, DROPPED, DISPUTED = STATUSES = ("open", "kept", "edited", "dropped", "disputed")
KEEP, EDIT, DROP = VERDICTS = ("keep", "edit", "drop")
GIVEN, DESCRIBE, REFINE, EDITING = STEPS = ("given", "describe", "refine", "edit")

SCHEMA = """
-- Where pictures come from and under which licence.
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, name TEXT NOT NULL, licence TEXT NOT NULL, added_at REAL NOT NULL
);
-- A picture. `digest` names its pixels, `thumbnail` is 16 x 16 RGB, `lot` is drawn from the digest, 0 to 1, and decides who is shown to
-- two people; `status` follows from the decisions.
CREATE TABLE items (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL, thumbnail BLOB NOT NULL,
    lot REAL NOT NULL, status TEXT NOT NULL DEFAULT 'open', added_at REAL NOT NULL
);
CREATE INDEX items_by_status ON items(status, id);
-- Each place of a source: which picture lies there, or why none could be had. `stamp` tells whether the place has changed.
CREATE TABLE places (
    source_id INTEGER NOT NULL REFERENCES sources, place TEXT NOT NULL, stamp TEXT NOT NULL, item_id INTEGER REFERENCES items,
    problem TEXT NOT NULL DEFAULT '', PRIMARY KEY (source_id, place)
) WITHOUT ROWID;
CREATE INDEX places_by_item ON places(item_id);
-- Every version of every text. `author` is a model, "rules" or an annotator; `parent_id` the version it was made from.
CREATE TABLE texts (
    id INTEGER PRIMARY KEY, item_id INTEGER NOT NULL REFERENCES items, parent_id INTEGER REFERENCES texts, step TEXT NOT NULL,
    author TEXT NOT NULL, text TEXT NOT NULL, details TEXT NOT NULL DEFAULT '{}', added_at REAL NOT NULL
);
CREATE INDEX texts_by_item ON texts(item_id, id);
-- The text of an item that counts until somebody edits it: the last one that no annotator wrote.
CREATE VIEW current AS
    SELECT * FROM texts WHERE id IN (SELECT MAX(id) FROM texts WHERE step != 'edit' GROUP BY item_id);
-- What could not be described or refined, and why; another try adds a row.
CREATE TABLE failures (
    id INTEGER PRIMARY KEY, item_id INTEGER NOT NULL REFERENCES items, step TEXT NOT NULL, problem TEXT NOT NULL, added_at REAL NOT NULL
);
-- What the last cleaning found. `detail` is what was found, a part of the text where that is possible.
CREATE TABLE marks (
    text_id INTEGER NOT NULL REFERENCES texts, rule TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (text_id, rule)
) WITHOUT ROWID;
CREATE INDEX marks_by_rule ON marks(rule);
-- What people decided. `base_id` is the version they saw, `text_id` the one that counts after it. The last row of an annotator about
-- an item counts, unless it was undone; `settles` was decided about a dispute.
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY, item_id INTEGER NOT NULL REFERENCES items, annotator TEXT NOT NULL, verdict TEXT NOT NULL,
    base_id INTEGER NOT NULL REFERENCES texts, text_id INTEGER NOT NULL REFERENCES texts, settles INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL, added_at REAL NOT NULL, undone_at REAL
);
CREATE INDEX decisions_by_item ON decisions(item_id, annotator, id);
CREATE INDEX decisions_by_annotator ON decisions(annotator, id);
CREATE VIEW verdicts AS
    SELECT * FROM decisions WHERE id IN (SELECT MAX(id) FROM decisions WHERE undone_at IS NULL GROUP BY item_id, annotator);
-- What an annotator is typing, and which item is on whose screen until when.
CREATE TABLE drafts (
    item_id INTEGER NOT NULL REFERENCES items, annotator TEXT NOT NULL, base_id INTEGER NOT NULL REFERENCES texts, text TEXT NOT NULL,
    PRIMARY KEY (item_id, annotator)
) WITHOUT ROWID;
CREATE TABLE claims (
    item_id INTEGER NOT NULL REFERENCES items, annotator TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (item_id, annotator)
) WITHOUT ROWID;
-- Which step was run when, and how.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, step TEXT NOT NULL, settings TEXT NOT NULL, started_at REAL NOT NULL, finished_at REAL,
    summary TEXT NOT NULL DEFAULT '{}'
);
"""
