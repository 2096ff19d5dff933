"""How one quantized linear layer is stored: its tensors, their meaning, and how to decode them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from numerics.schemes.scheme import Scheme
from sim.sources.hf_files import StoredTensor
from sim.sources.readers.grid import Grid

#: Bits of an entry of each storage type of safetensors.
TYPE_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip
FLOATS = ("F16", "BF16", "F32")

Arrays = Mapping[str, np.ndarray]
Stored = Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True)
class Part:
    """What a stored tensor must be: one of these storage types, and this shape."""

    types: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A linear layer of shape (out, in), whose tensors are named after the module."""

    #: Tensors that the weight is decoded from, by the name after that of the module.
    parts: Mapping[str, Part]
    #: Values of the weight: a grid of codes, or floats of shape (out, in).
    decode: Callable[[Arrays], Grid | Float32[np.ndarray, "out in"]]
    #: Short description of the format, such as ``int4_full:g128:bf16``.
    about: str
    #: Scheme of the grid; ``None`` if no scheme of qsim has these values.
    scheme: Scheme | None = None
    #: Tensors that are not decoded, such as the scale of activations.
    others: Mapping[str, Part] = field(default_factory=dict)
    #: Scheme of the layer's inputs, given the tensors in ``others`` that the file has.
    activations: Callable[[Arrays], Scheme | None] | None = None

    def stored_bits(self, stored: Stored) -> int:
        """Return the bits of the tensors that the weight is decoded from, scalars left out."""
        counted = (stored[name] for name in self.parts if math.prod(stored[name].shape) > 2)
        return sum(TYPE_BITS[tensor.type] * math.prod(tensor.shape) for tensor in counted)


def check_parts(layer: Layer, stored: Stored, module: str) -> None:
    """Raise ValueError for a missing tensor of a layer, and for another type or shape."""
    for name in layer.parts:
        if name not in stored:
            raise ValueError(f"no tensor {module}.{name}, which {layer.about} needs")
    for name, part in {**layer.parts, **layer.others}.items():
        if name not in stored:
            continue
        tensor = stored[name]
        # A number may be stored with one axis or none.
        is_scalar = math.prod(part.shape) == math.prod(tensor.shape) == 1
        if tensor.type not in part.types or (tensor.shape != part.shape and not is_scalar):
            raise ValueError(
                f"tensor {module}.{name} is {tensor.type}{list(tensor.shape)}, but {layer.about} "
                f"needs {' or '.join(part.types)}{list(part.shape)}"
            )
