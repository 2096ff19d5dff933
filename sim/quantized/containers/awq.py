"""Writer of AWQ checkpoints in the layout ``gemm``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from numerics import QuantizedTensor, Scheme
from sim.quantized.containers.container import integer_scheme, offset_codes, words
from sim.quantized.containers.gptq import fp16_integers, only_scheme
from sim.sources.readers.awq import BITS, NIBBLES, PER_WORD


@dataclass(frozen=True)
class Awq:
    """The container; see :class:`sim.quantized.containers.container.Container`."""

    name: str = "awq"

    def check(self, scheme: Scheme, shape: tuple[int, int]) -> None:
        """Raise ``ValueError`` for a scheme or a shape that the container can't hold."""
        element = fp16_integers(scheme, shape, "AWQ")
        if element.bits != BITS:
            raise ValueError(f"AWQ holds 4 bits, not {element.bits}; GPTQ holds 2, 3, 4 and 8")
        if shape[0] % PER_WORD:
            raise ValueError(f"{shape[0]} outputs are not a multiple of {PER_WORD}")

    def names(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the names of a layer's tensors."""
        del scheme
        return ("qweight", "qzeros", "scales")

    def tensors(self, q: QuantizedTensor) -> dict[str, np.ndarray]:
        """Return the tensors of a layer; symmetric ones have 8 as their zero points."""
        found = integer_scheme(q.scheme)
        assert found is not None
        scales = np.asarray(q.scales)
        zeros = np.full(scales.shape, 1 << (BITS - 1), np.uint8)
        if q.zero_points is not None:
            zeros = np.asarray(q.zero_points)
        return {
            "qweight": _words_of_outputs(offset_codes(q, found[1])),
            "qzeros": _words_of_outputs(zeros),
            "scales": np.ascontiguousarray(scales.T),
        }

    def settings(
        self, schemes: Mapping[str, Scheme], kept: tuple[str, ...], recipe: str
    ) -> dict[str, Any]:
        """Return the quantization settings of ``config.json``."""
        del recipe
        return {
            "quant_method": "awq",
            "bits": BITS,
            "group_size": only_scheme(schemes, "AWQ").group_size or -1,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": list(kept) or None,
        }


def _words_of_outputs(codes: UInt8[np.ndarray, "out n"]) -> Int32[np.ndarray, "n words"]:
    """Return words of eight outputs in AWQ's order of nibbles."""
    outputs = np.ascontiguousarray(codes.T).reshape(codes.shape[1], -1, PER_WORD)
    order = [NIBBLES.index(nibble) for nibble in range(PER_WORD)]
    return words(np.ascontiguousarray(outputs[..., order]).reshape(codes.shape[1], -1), BITS)
