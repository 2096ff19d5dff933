"""BitNet checkpoints: ternary codes in slabs of rows, with one scale for the tensor.

Source: the quantizer ``bitnet`` of transformers 5.24. The scale divides in files for ``bitlinear``
and multiplies in those for ``autobitlinear``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from numerics.formats import INTEGERS
from numerics.formats import constants as c
from numerics.schemes.element import ElementScheme, ScaleRule
from numerics.schemes.granularity import PerTensor
from numerics.schemes.scheme import Scheme
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import dynamic_scheme
from sim.sources.readers.settings import Settings

PER_BYTE = 4
#: Code of the scheme for each stored code: values -1, 0 and 1; the fourth is not used.
CODES = np.array([3, 0, 1, 2], np.uint8)
INT8 = dynamic_scheme(INTEGERS[8, "narrow"])
SCHEME = ElementScheme(
    element=c.TERNARY,
    granularity=PerTensor(),
    scale_format=c.FP32,
    rule=ScaleRule.ABSMEAN,
)


@dataclass(frozen=True, kw_only=True)
class BitNet(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    divides: bool

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "weight_scale" not in stored:
            return None
        if shape[0] % PER_BYTE:
            raise ValueError(f"{shape[0]} outputs of {module} are not four slabs")
        return Layer(
            parts={
                "weight": Part(("U8",), (shape[0] // PER_BYTE, shape[1])),
                "weight_scale": Part(FLOATS, (1,)),
            },
            decode=partial(_decode, shape=shape, divides=self.divides),
            about=SCHEME.name,
            scheme=SCHEME,
            activations=_inputs,
        )


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> BitNet:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "BitNet settings")
    divides = reader.choice(
        "linear_class", choices={"bitlinear": True, "autobitlinear": False}, default="bitlinear"
    )
    if reader.text("quantization_mode", default="offline") != "offline":
        raise ValueError("quantization_mode online stores weights in BF16; sweep ternary on them")
    return BitNet(title="BitNet", divides=divides)


def _inputs(arrays: Arrays) -> Scheme:
    """Return the scheme of activations, which are always INT8 by token."""
    del arrays
    return INT8


def _decode(arrays: Arrays, *, shape: tuple[int, int], divides: bool) -> Grid:
    packed = arrays["weight"]
    slabs = [(packed >> np.uint8(shift)) & np.uint8(3) for shift in (0, 2, 4, 6)]
    stored = np.concatenate(slabs)
    if (stored == 3).any():
        raise ValueError("a code is 3; ternary codes are 0, 1 and 2")
    scale = arrays["weight_scale"].astype(np.float32).reshape(1, 1)
    with np.errstate(divide="ignore"):  # the caller checks values
        scale = np.float32(1) / scale if divides else scale
    return Grid(scheme=SCHEME, shape=shape, stream=CODES[stored], bits=8, side={"scales": scale})
