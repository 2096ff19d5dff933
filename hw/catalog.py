"""Catalogs of files: machines, accelerators, models and PE records, one file each by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from numerics.names.suggest import unknown

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog(Generic[Entry]):
    """The files of one folder, each of which describes the entry that it is named after."""

    #: Kind of an entry, such as ``machine``, for messages.
    kind: str
    folder: Path
    read: Callable[[Path], Entry]
    suffix: str = ".toml"
    #: Command that lists the names.
    see: str

    def names(self) -> tuple[str, ...]:
        """Return the names of all entries in order."""
        return tuple(sorted(path.stem for path in self.folder.glob(f"*{self.suffix}")))

    def path(self, name: str) -> Path:
        """Return the file of an entry, or raise ValueError with the nearest name."""
        known = self.names()
        if name not in known:
            raise ValueError(unknown(self.kind, name, known, see=self.see))
        return self.folder / f"{name}{self.suffix}"

    def load(self, name: str) -> Entry:
        """Return an entry by its exact name."""
        return self.read(self.path(name))
