"""The results store: one SQLite file with a row per finished point, keyed by content."""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from sim.errors import UserError
from sim.sweep.result import PointResult

#: Name of the store's file in the directory of a sweep.
FILE = "results.sqlite"
#: Version of the store, incremented when the table or the fields of a result change.
STORE_VERSION = 2
#: Longest wait for another sweep's transaction, in s.
LOCK_TIMEOUT_S = 60.0


def point_key(parts: Mapping[str, str]) -> str:
    """Return the content key of a point: the SHA-256 of everything that determines its numbers."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table; ``result`` is JSON."""

    key: str
    sample: str
    model: str
    recipe: str
    result: str
    finished: str


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a store, the oldest first, without writing to it."""
    with _connect(f"{path.resolve().as_uri()}?mode=ro", path) as db:
        _check_version(db, path, "leave it out", empty=False)
        rows = db.execute(
            "SELECT key, sample, model, recipe, result, finished FROM points ORDER BY rowid"
        ).fetchall()
    names = Row.__slots__
    return [Row(**dict(zip(names, row, strict=True))) for row in rows]


class Store:
    """Finished points of any number of sweeps.

    Each :meth:`put` is one transaction: a killed process loses at most the point being measured,
    and sweeps that share a store wait for each other. An existing key keeps its result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        try:
            self._prepare()
        except UserError:
            # A full disk leaves a file without tables.
            if is_new and path.exists() and path.stat().st_size == 0:
                path.unlink()
            raise

    def _prepare(self) -> None:
        """Make the table of a new store; refuse a store of another version."""
        with self._connect() as db:
            _check_version(db, self.path, "give another --out")
            db.execute(
                "CREATE TABLE IF NOT EXISTS points (key TEXT PRIMARY KEY, sample TEXT NOT NULL, "
                "model TEXT NOT NULL, recipe TEXT NOT NULL, result TEXT NOT NULL, "
                "finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            db.execute(f"PRAGMA user_version = {STORE_VERSION}")

    def get(self, key: str) -> PointResult | None:
        """Return the finished point of a key, or ``None``."""
        with self._connect() as db:
            row = db.execute("SELECT result FROM points WHERE key = ?", (key,)).fetchone()
        return None if row is None else PointResult.from_json(row[0])

    def fitting(self, sample: str) -> dict[str, PointResult]:
        """Return the points of one sample by key, the oldest first."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT key, result FROM points WHERE sample = ? ORDER BY rowid", (sample,)
            ).fetchall()
        return {key: PointResult.from_json(result) for key, result in rows}

    def all(self) -> list[PointResult]:
        """Return the points of all samples, the oldest first."""
        with self._connect() as db:
            rows = db.execute("SELECT result FROM points ORDER BY rowid").fetchall()
        return [PointResult.from_json(result) for (result,) in rows]

    def put(self, key: str, result: PointResult, *, sample: str) -> None:
        """Store a finished point; ``sample`` is equal for points that may be compared."""
        row = (key, sample, result.model, result.recipe, result.to_json())
        with self._connect() as db:
            db.execute(
                "INSERT OR IGNORE INTO points (key, sample, model, recipe, result) "
                "VALUES (?, ?, ?, ?, ?)",
                row,
            )

    def replace(self, rows: Sequence[Row]) -> None:
        """Store rows in one transaction; an existing key gets the new row."""
        with self._connect() as db:
            db.executemany(
                "INSERT OR REPLACE INTO points (key, sample, model, recipe, result, finished) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [astuple(row) for row in rows],
            )

    def _connect(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return _connect(self.path.resolve().as_uri(), self.path)


def _check_version(db: sqlite3.Connection, path: Path, advice: str, *, empty: bool = True) -> None:
    """Refuse a store of another version; ``empty`` allows a file without tables."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != STORE_VERSION and not (empty and version == 0):
        raise UserError(
            f"{path} was written by another version of qsim (store version {version}, "
            f"not {STORE_VERSION}); {advice}"
        )


@contextlib.contextmanager
def _connect(uri: str, path: Path) -> Iterator[sqlite3.Connection]:
    """Open one transaction on the database of a URI."""
    try:
        db = sqlite3.connect(uri, timeout=LOCK_TIMEOUT_S, uri=True)
        try:
            with db:
                yield db
        finally:
            db.close()
    except sqlite3.Error as error:
        raise UserError(f"cannot use the results store {path}: {error}") from error
