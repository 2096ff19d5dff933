"""Writer of GPTQ checkpoints of the first version, which every loader reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numerics import ElementScheme, QuantizedTensor, Scheme
from numerics.formats import FP16, IntFormat
from numerics.schemes.granularity import PerTensor
from sim.quantized.containers.container import group_of, integer_scheme, offset_codes, words

BITS = (2, 3, 4, 8)
#: Multiple of both sides of a matrix that loaders ask for.
MULTIPLE = 32


def fp16_integers(scheme: Scheme, shape: tuple[int, int], container: str) -> IntFormat:
    """Return the element of integers with FP16 scales by row or group; refuse others."""
    found = integer_scheme(scheme)
    if found is None or found[0].scale_format != FP16 or found[0].granularity == PerTensor():
        raise ValueError(
            f"{scheme.name} has no place in {container}, which holds integers with an FP16 scale a "
            f"group or row, such as int4:g128 and int4:g128:asym"
        )
    group_of(found[0], shape[1])
    return found[1]


@dataclass(frozen=True)
class Gptq:
    """The container; see :class:`sim.quantized.containers.container.Container`."""

    name: str = "gptq"

    def check(self, scheme: Scheme, shape: tuple[int, int]) -> None:
        """Raise ``ValueError`` for a scheme or a shape that the container can't hold."""
        element = fp16_integers(scheme, shape, "GPTQ")
        if element.bits not in BITS:
            raise ValueError(f"GPTQ holds 2, 3, 4 and 8 bits, not {element.bits}")
        if shape[0] % MULTIPLE or shape[1] % MULTIPLE:
            raise ValueError(f"a matrix of {shape[0]}x{shape[1]} is not a multiple of {MULTIPLE}")

    def names(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the names of a layer's tensors."""
        del scheme
        return ("qweight", "qzeros", "scales", "g_idx")

    def tensors(self, q: QuantizedTensor) -> dict[str, np.ndarray]:
        """Return the tensors of a layer; zero points are stored less one."""
        found = integer_scheme(q.scheme)
        assert found is not None
        bits, mask = found[1].bits, (1 << found[1].bits) - 1
        scales = np.asarray(q.scales)
        zeros = np.full(scales.shape, 1 << (bits - 1), np.uint8)
        if q.zero_points is not None:
            zeros = np.asarray(q.zero_points)
        less_one = ((zeros.astype(np.int16) - 1) & mask).astype(np.uint8)
        size = q.scheme.group_size or q.shape[1]
        return {
            "qweight": np.ascontiguousarray(words(offset_codes(q, found[1]), bits).T),
            "qzeros": words(np.ascontiguousarray(less_one.T), bits),
            "scales": np.ascontiguousarray(scales.T),
            "g_idx": (np.arange(q.shape[1]) // size).astype(np.int32),
        }

    def settings(
        self, schemes: Mapping[str, Scheme], kept: tuple[str, ...], recipe: str
    ) -> dict[str, Any]:
        """Return the quantization settings of ``config.json``."""
        scheme = only_scheme(schemes, "GPTQ")
        return {
            "quant_method": "gptq",
            "bits": scheme.element.bits,
            "group_size": scheme.group_size or -1,
            "sym": scheme.zero_point == "sym",
            "desc_act": False,
            "checkpoint_format": "gptq",
            "pack_dtype": "int32",
            "lm_head": "lm_head" in schemes,
            "meta": {"quantizer": [f"qsim {recipe}"]},
            **({"dynamic": {f"-:{name}$": {} for name in kept}} if kept else {}),
        }


def only_scheme(schemes: Mapping[str, Scheme], container: str) -> ElementScheme:
    """Return the one scheme of all layers; raise ``ValueError`` for several."""
    distinct = list(dict.fromkeys(schemes.values()))
    if len(distinct) > 1:
        raise ValueError(
            f"{container} has one format for all layers, not {distinct[0].name} and "
            f"{distinct[1].name}; compressed-tensors has several"
        )
    assert isinstance(distinct[0], ElementScheme)
    return distinct[0]
