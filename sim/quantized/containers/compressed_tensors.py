"""Writer of compressed-tensors: integers, FP8, NVFP4 and MX."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from numerics import ElementScheme, QuantizedTensor, Scheme
from numerics.formats import constants as c
from numerics.schemes.granularity import PerTensor
from sim.quantized.containers.container import group_of, integer_scheme, offset_codes, words

#: Version whose bit streams are written.
VERSION = "0.20.1"
PACKED, INTEGERS, FLOATS = "pack-quantized", "int-quantized", "float-quantized"
#: Formats of named schemes.
NAMED = {
    "nvfp4": "nvfp4-pack-quantized",
    "mxfp4": "mxfp4-pack-quantized",
    "mxfp6_e2m3": "mxfp6-pack-quantized",
    "mxfp8_e4m3": "mxfp8-quantized",
}
_SCALE = "weight_scale"
_TENSORS = {
    PACKED: ("weight_packed", _SCALE, "weight_shape"),
    INTEGERS: ("weight", _SCALE),
    FLOATS: ("weight", _SCALE),
    "mxfp8-quantized": ("weight", _SCALE),
    "mxfp4-pack-quantized": ("weight_packed", _SCALE),
    "mxfp6-pack-quantized": ("weight_packed", _SCALE),
    "nvfp4-pack-quantized": ("weight_packed", _SCALE, "weight_global_scale"),
}


@dataclass(frozen=True)
class CompressedTensors:
    """The container; see :class:`sim.quantized.containers.container.Container`."""

    name: str = "compressed-tensors"

    def check(self, scheme: Scheme, shape: tuple[int, int]) -> None:
        """Raise ``ValueError`` for a scheme or a shape that the container can't hold."""
        kind = format_of(scheme)
        assert isinstance(scheme, ElementScheme)
        group_of(scheme, shape[1])
        if kind == PACKED and scheme.granularity == PerTensor():
            raise ValueError("integers of fewer than 8 bits need a scale for each row or group")

    def names(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the names of a layer's tensors."""
        has_zeros = "asym" in scheme.name.split(":")
        return (*_TENSORS[format_of(scheme)], *(("weight_zero_point",) if has_zeros else ()))

    def tensors(self, q: QuantizedTensor) -> dict[str, np.ndarray]:
        """Return the tensors of a layer."""
        kind, arrays = format_of(q.scheme), {n: np.asarray(a) for n, a in q.arrays.items()}
        assert isinstance(q.scheme, ElementScheme)
        scales = arrays["scales"].reshape(-1) if arrays["scales"].size == 1 else arrays["scales"]
        found = {_SCALE: scales.view(np.uint8) if q.scheme.has_power_of_two_scales else scales}
        if kind == PACKED:
            return {**_packed(q, arrays), **found}
        if kind == INTEGERS:
            return {"weight": arrays["codes"].view(np.int8), **found}
        if kind in (FLOATS, "mxfp8-quantized"):
            return {"weight": arrays["codes"].view(ml_dtypes.float8_e4m3fn), **found}
        codes = arrays["codes"]
        packed = words(codes, q.scheme.element.bits).view(np.uint8)
        row_bytes = codes.shape[1] * q.scheme.element.bits // 8
        found["weight_packed"] = np.ascontiguousarray(packed[:, :row_bytes])
        if "tensor_scale" in arrays:
            with np.errstate(divide="ignore"):
                divisor = np.float32(1) / arrays["tensor_scale"].astype(np.float32)
            found["weight_global_scale"] = divisor.reshape(1)
        return found

    def settings(
        self, schemes: Mapping[str, Scheme], kept: tuple[str, ...], recipe: str
    ) -> dict[str, Any]:
        """Return the quantization settings of ``config.json``."""
        del recipe
        distinct = dict.fromkeys(schemes.values())
        groups: dict[str, Any] = {}
        for index, scheme in enumerate(distinct):
            modules = [name for name, one in schemes.items() if one == scheme]
            groups[f"group_{index}"] = {
                "targets": ["Linear"] if len(distinct) == 1 else modules,
                "weights": _arguments(scheme),
                "input_activations": None,
                "output_activations": None,
                "format": format_of(scheme),
            }
        formats = {group["format"] for group in groups.values()}
        return {
            "quant_method": "compressed-tensors",
            "version": VERSION,
            "format": formats.pop() if len(formats) == 1 else "mixed-precision",
            "quantization_status": "compressed",
            "global_compression_ratio": None,
            "kv_cache_scheme": None,
            "ignore": list(kept),
            "config_groups": groups,
        }


def format_of(scheme: Scheme) -> str:
    """Return the format of a scheme; raise ``ValueError`` if there is none."""
    if scheme.name in NAMED:
        return NAMED[scheme.name]
    if (found := integer_scheme(scheme)) is not None:
        element, granularity = found[1], found[0].granularity
        is_bytes = element.bits == 8 and found[0].group_size is None
        is_signed = element.kind != "unsigned"
        return INTEGERS if is_bytes and is_signed and granularity is not None else PACKED
    is_fp8 = isinstance(scheme, ElementScheme) and scheme.element == c.E4M3
    if is_fp8 and scheme.group_size is None:
        return FLOATS
    known = "int2 to int8, fp8_e4m3:channel, fp8_e4m3:tensor"
    raise ValueError(
        f"{scheme.name} has no format in compressed-tensors; those with one are {known}, "
        f"{', '.join(NAMED)}"
    )


def _packed(q: QuantizedTensor, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = integer_scheme(q.scheme)
    assert found is not None
    element = found[1]
    tensors = {
        "weight_packed": words(offset_codes(q, element), element.bits),
        "weight_shape": np.array(q.shape, np.int64),
    }
    if "zero_points" in arrays:
        columns = np.ascontiguousarray(arrays["zero_points"].T)
        tensors["weight_zero_point"] = np.ascontiguousarray(words(columns, element.bits).T)
    return tensors


def _arguments(scheme: Scheme) -> dict[str, Any]:
    """Return the arguments of the weights of a scheme."""
    assert isinstance(scheme, ElementScheme)
    size, is_integer = scheme.group_size, integer_scheme(scheme) is not None
    strategy = "group" if size else str(scheme.granularity)
    return {
        "num_bits": scheme.element.bits,
        "type": "int" if is_integer else "float",
        "symmetric": scheme.zero_point == "sym",
        "strategy": "tensor_group" if scheme.second_level is not None else strategy,
        "group_size": size,
        "block_structure": None,
        "dynamic": False,
        "actorder": None,
        "observer": "minmax",
        "observer_kwargs": {},
        **_scale_type(scheme),
    }


def _scale_type(scheme: ElementScheme) -> dict[str, Any]:
    names = {c.E8M0: "torch.uint8", c.E4M3: "torch.float8_e4m3fn"}
    given = names.get(scheme.scale_format)
    return {} if given is None else {"scale_dtype": given, "zp_dtype": None}
