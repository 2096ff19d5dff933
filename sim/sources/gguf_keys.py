"""Typed access to the metadata keys of one architecture, which remembers what was read."""

from collections.abc import Mapping

import numpy as np

from sim.errors import UserError
from sim.sources.gguf_header import GgufHeader

#: Keys without effect on the mathematics: sizes that tensors show, provenance, and the epsilon of
#: the kind of norm that an architecture does not have.
_HARMLESS = frozenset(
    {
        "vocab_size",
        "rope.scaling.finetuned",
        "tensor_data_layout",
        "attention.layer_norm_epsilon",
        "attention.layer_norm_rms_epsilon",
    }
)
#: Keys that switch a part on, each with the value that leaves it off, llama.cpp's default.
_SWITCHED_OFF: Mapping[str, object] = {
    "attention.causal": True,
    "expert_count": 0,
    "expert_used_count": 0,
    "nextn_predict_layers": 0,
    "pooling_type": 0,
}


class Keys:
    """The keys ``ARCHITECTURE.*`` of a file, and its tensors."""

    def __init__(self, header: GgufHeader, architecture: str) -> None:
        self.header = header
        self.prefix = f"{architecture}."
        self._read: set[str] = set()

    def get(self, key: str) -> object:
        """Return a value as it is, ``None`` if absent."""
        self._read.add(self.prefix + key)
        return self.header.metadata.get(self.prefix + key)

    def wrong(self, key: str, rule: str) -> UserError:
        """Return the error for a key that breaks ``rule``."""
        value = self.header.metadata.get(self.prefix + key, "nothing")
        shown = f"{type(value).__name__} of {len(value)}" if np.ndim(value) else repr(value)  # type: ignore[arg-type]
        return UserError(f"{self.header.path}: {self.prefix}{key} must be {rule}, not {shown:.60}")

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer; an array of one value for all layers counts as that value."""
        value = self.get(key)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and len(set(value)) == 1:
            value = int(value[0])
        if value is None and default is not None:
            return default
        if type(value) is not int:
            raise self.wrong(key, "one integer for the whole model")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a float32 as the shortest decimal that stands for it: 1e-5, not 9.99999975e-6."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if type(value) is not float:
            raise self.wrong(key, "a floating-point number")
        with np.errstate(over="ignore"):
            return float(str(np.float32(value)))

    def text(self, key: str, default: str) -> str:
        """Return a string."""
        value = self.get(key)
        if not isinstance(value, str | None):
            raise self.wrong(key, "a string")
        return default if value is None else value

    def has(self, key: str) -> bool:
        """Return whether the file has a key."""
        return self.prefix + key in self.header.metadata

    def has_tensor(self, *names: str) -> bool:
        """Return whether the file has any of some tensors."""
        return any(name in self.header.tensors for name in names)

    def rows(self, tensor: str) -> int:
        """Return the number of rows of a tensor."""
        if tensor not in self.header.tensors:
            raise UserError(f"{self.header.path} has no tensor {tensor}")
        return self.header.tensors[tensor].shape[0]

    def finish(self) -> None:
        """Refuse keys that were not read and that might change the mathematics."""
        for full, value in self.header.metadata.items():
            key = full.removeprefix(self.prefix)
            if key == full or full in self._read or key in _HARMLESS:
                continue
            if key in _SWITCHED_OFF and _SWITCHED_OFF[key] == value:
                continue
            raise UserError(
                f"{self.header.path}: metadata key {full} is not supported; it may change what "
                "the model computes, so it can't be ignored"
            )
