"""The results store: one SQLite file with a row per finished point, keyed by content."""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from sim.errors import UserError
from sim.sweep.result import PointResult

#: Version of the store, incremented when the table or the fields of a result change.
STORE_VERSION = 2
#: Longest wait for another sweep's transaction, in s.
LOCK_TIMEOUT_S = 60.0


def point_key(parts: Mapping[str, str]) -> str:
    """Return the content key of a point: the SHA-256 of everything that determines its numbers."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()


class Store:
    """Finished points of any number of sweeps.

    Each :meth:`put` is one transaction: a killed process loses at most the point being measured,
    and sweeps that share a store wait for each other. An existing key keeps its result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._connect() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, STORE_VERSION):
                raise UserError(
                    f"{path} was written by another version of qsim (store version {version}, "
                    f"not {STORE_VERSION}); give another --out"
                )
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

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_S)
            try:
                with db:
                    yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise UserError(f"cannot use the results store {self.path}: {error}") from error
