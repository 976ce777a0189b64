"""The application's memory: one SQLite file in the state directory.

Every request that needs it opens its own connection, so any number of gunicorn processes and threads can share the
file. Write-ahead logging lets them read while one of them writes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from flask import current_app, g

FILE_NAME = "api.sqlite3"
LOCK_TIMEOUT = 5.0  # seconds to wait for another process's write

SCHEMA = """
CREATE TABLE IF NOT EXISTS visits (page TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS health (id INTEGER PRIMARY KEY CHECK (id = 1), checked_at TEXT NOT NULL);
"""

COUNT_VISIT = """
INSERT INTO visits (page, count) VALUES (?, 1) ON CONFLICT (page) DO UPDATE SET count = count + 1 RETURNING count
"""


def connect() -> sqlite3.Connection:
    """The request's connection, opened at its first use. Raises ``sqlite3.Error`` or ``OSError``."""
    if "database" not in g:
        directory = Path(current_app.config["STATE_DIRECTORY"])
        directory.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(directory / FILE_NAME, timeout=LOCK_TIMEOUT)
        g.database = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(SCHEMA)
    connection_of_request: sqlite3.Connection = g.database
    return connection_of_request


def close(_error: BaseException | None = None) -> None:
    """Close the request's connection, if it opened one."""
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


def count_visit(page: str) -> int:
    """Count one visit of ``page`` and return how many there have been."""
    with connect() as transaction:
        row = transaction.execute(COUNT_VISIT, (page,)).fetchone()
    return int(row[0])


def check_writable() -> None:
    """Write to the database and commit. Raises ``sqlite3.Error`` or ``OSError`` when that is not possible."""
    with connect() as transaction:
        transaction.execute("INSERT OR REPLACE INTO health (id, checked_at) VALUES (1, datetime('now'))")
