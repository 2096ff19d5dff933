"""Gemma's quantization-aware checkpoints (``quant_method: gemma``): integers with a row scale.

Source: the quantizer ``gemma`` of transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from numerics.formats import INTEGERS
from numerics.schemes.granularity import PerChannel
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import stored_scheme

SCALES = tuple(f"{place}_activation_scale" for place in ("input", "output"))
NOTE = "Static INT8 ranges of activations, which the checkpoint may have, are not applied."


@dataclass(frozen=True, kw_only=True)
class Gemma(FloatCache):
    """A checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str = "Gemma QAT"
    notes: tuple[str, ...] = (NOTE,)

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "weight_scale" not in stored or "weight" not in stored:
            return None
        weight = stored["weight"]
        width = weight.shape[-1] if weight.shape else 0
        per_byte = shape[1] // width if width else 0
        if (weight.type, per_byte) not in (("I8", 1), ("U8", 2), ("U8", 4)):
            found = f"{weight.type}{list(weight.shape)}"
            raise ValueError(f"{module}.weight is {found}, not integers of 2, 4 or 8 bits")
        bits = 8 // per_byte
        scheme = stored_scheme(INTEGERS[bits, "full"], PerChannel(), "F32")
        return Layer(
            parts={
                "weight": Part((weight.type,), (shape[0], width)),
                "weight_scale": Part(("F32",), (shape[0], 1)),
            },
            others={name: Part(("F32",), (1,)) for name in SCALES},
            decode=partial(_decode, scheme=scheme, shape=shape),
            about=scheme.name,
            scheme=scheme,
        )


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Gemma:
    """Return the layout; what is stored says the rest."""
    del settings, metadata
    return Gemma()


def _decode(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    bits = scheme.element.bits
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays["weight"].view(np.uint8),
        bits=bits,
        flip=0 if bits == 8 else 1 << (bits - 1),
        side={"scales": arrays["weight_scale"]},
    )
