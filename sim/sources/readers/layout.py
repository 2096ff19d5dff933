"""The interface of a reader: what the settings of one quantized checkpoint say of its layers."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from numerics.schemes.scheme import Scheme
from sim.sources.readers.layer import Arrays, Layer, Stored


@runtime_checkable
class Layout(Protocol):
    """The quantization settings of a checkpoint, read and checked.

    A reader's ``open_layout(settings, metadata)`` makes it, raising ``ValueError`` for settings
    that it does not know. What is stored decides which layers are quantized; settings give numbers,
    and ``layer`` raises ``ValueError`` where the two contradict each other.
    """

    @property
    def title(self) -> str:
        """The layout, and the tool and version that wrote it where the settings say so."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report."""

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix (out, in) is stored; ``None`` if it is in floating point.

        ``stored`` has the tensors of the module by the name after the module's.
        """

    def is_cache_tensor(self, name: str) -> bool:
        """Return whether a tensor belongs to the quantization of the KV cache."""

    def cache_scheme(self, scales: Arrays) -> Scheme | None:
        """Return the scheme of a layer's KV cache, given its tensors in the file."""


#: Makes the layout of settings and of the metadata of the weights' files.
OpenLayout = Callable[[Mapping[str, Any], Mapping[str, str]], Layout]


class FloatCache:
    """The part of a :class:`Layout` without a quantized KV cache."""

    notes: tuple[str, ...] = ()

    def is_cache_tensor(self, name: str) -> bool:
        """Return ``False``."""
        del name
        return False

    def cache_scheme(self, scales: Arrays) -> Scheme | None:
        """Return ``None``."""
        del scales
        return None
