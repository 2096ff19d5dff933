"""The base of PEs whose beats hold ``lanes`` codes of weights and of activations."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numerics.formats import Format
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.bitmod_scaled import BitModScaled
from numerics.mixtures.selected import SelectedFormat
from rtl.element import ProcessingElement
from rtl.fields import Codes, Field, Operands

if TYPE_CHECKING:
    from numerics.schemes.tensor import QuantizedTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPe(ProcessingElement):
    """A PE of dot products of two rows of codes; subclasses may add fields for their weights."""

    @property
    @abstractmethod
    def formats(self) -> Mapping[str, Format]:
        """Formats of the fields ``weights`` and ``activations``."""

    @abstractmethod
    def scheme(self) -> str:
        """Return the text of the weights' scheme, without the group size."""

    @abstractmethod
    def values(self, results: np.ndarray) -> np.ndarray:
        """Return the float32 values of results."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of a beat: ``weights`` and ``activations``."""
        return tuple(
            Codes(name=name, lanes=self.lanes, format=fmt) for name, fmt in self.formats.items()
        )

    @property
    def has_only_rows(self) -> bool:
        """Whether beats have only the fields ``weights`` and ``activations``."""
        return len(self.fields) == len(self.formats)

    def codes(self, weights: "QuantizedTensor") -> np.ndarray:
        """Return a matrix in :meth:`scheme` as the PE's codes."""
        return np.asarray(weights.codes)

    def beats(self, weights: np.ndarray, activations: np.ndarray) -> Operands:
        """Return rows of codes, each of shape (groups, length), as beats of ``lanes`` codes."""
        groups, length = weights.shape
        if length % self.lanes:
            raise ValueError(f"rows of {length} values are not a multiple of {self.lanes} lanes")
        shape = (groups, length // self.lanes, self.lanes)
        return {"weights": weights.reshape(shape), "activations": activations.reshape(shape)}

    def rows(self, operands: Operands) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of weights and activations, each of shape (groups, length)."""
        weights, activations = operands["weights"], operands["activations"]
        shape = len(weights), -1
        return weights.reshape(shape), activations.reshape(shape)


def selected_codes(fmt: Format, weights: "QuantizedTensor") -> np.ndarray:
    """Return codes; the bits above a code hold its group's selector, if the format has one."""
    codes, scheme = np.asarray(weights.codes), weights.scheme
    if not isinstance(fmt, SelectedFormat):
        return codes
    assert isinstance(scheme, BitMod | BitModScaled)
    selectors = np.repeat(np.asarray(weights.arrays["selectors"]), scheme.size, axis=1)
    above = selectors[:, : codes.shape[1]] << fmt.code_bits
    return np.asarray(codes | above, np.uint8)
