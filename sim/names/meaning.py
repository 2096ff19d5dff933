"""Meaning of a format's name in every command: weights, activations and KV cache.

One name is a scheme of :mod:`numerics` (``int4:g128``, ``nvfp4``), widths of integers (``w4a16``,
``w8a8kv8``), a mix of GGUF block types (``q4_k_m``) or a packing of an engine (``i2_s``). The
last kinds are defined in :mod:`roofline.runtime` and :mod:`numerics.gguf.mixes`, for sweeps and
predictions alike.
"""

import re
from dataclasses import dataclass

from numerics import parse_scheme
from numerics.gguf.mixes import MIXES, UNIFORM
from numerics.names.catalog import SCHEMES
from numerics.names.text import short_name
from numerics.schemes.scheme import Scheme
from roofline.runtime.gguf_mixes import MIXES as PREDICTED
from roofline.runtime.serving_format import TERNARY_BITS, TERNARY_WEIGHTS, parse_format
from sim.errors import UserError, user_errors
from sim.names.gguf_mix import GgufMix

#: Names of the float32 model.
FLOAT = (None, "none", "float32", "fp32", "f32")
#: 16-bit formats of unquantized models, whose rounding is not simulated.
HALF = ("fp16", "bf16", "f16")
#: Activation scheme by the operand type of a matrix product; FP16 and FP32 are not quantized.
OPERANDS = {"int8": "int8", "int4": "int4", "fp8": "fp8_e4m3", "fp4": "fp4"}
#: Activation scheme of bitnet.cpp's ternary packings.
TERNARY_ACTIVATIONS = "bitnet-int8"
GGUF_PREFIX = re.compile(r"gguf[-:]")
SERVING = re.compile(r"w\d+a\d+.*|fp8|t-?mac-w?\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """Formats of weights, activations and KV cache; ``None`` is float32."""

    weights: Scheme | GgufMix | None = None
    activations: Scheme | None = None
    kv: Scheme | None = None


def find_meaning(name: str | None, *, group_size: int | None = None) -> Meaning:
    """Return the meaning of a format's name; ``group_size`` is for weights that leave it open.

    Examples
    --------
    >>> meaning = find_meaning("w4a8kv8")
    >>> meaning.weights.name, meaning.activations.name, meaning.kv.name
    ('int4:g128:fp16', 'int8:token:fp32', 'int8:token:fp32')
    >>> find_meaning("q4_k_m").weights, find_meaning("w4a16") == find_meaning("int4")
    (GgufMix(kind='q4_k_m'), True)
    """
    if name in FLOAT:
        return Meaning()
    text = name.strip().lower()
    if (mix := mix_of(text)) is not None:
        if group_size is not None:
            raise UserError(f"{name} is a mix of GGUF blocks, whose sizes are fixed")
        return Meaning(weights=mix)
    if text in TERNARY_BITS:
        # bitnet.cpp has three packings of the same ternary weights.
        return Meaning(weights=SCHEMES[TERNARY_WEIGHTS], activations=SCHEMES[TERNARY_ACTIVATIONS])
    if SERVING.fullmatch(text):
        return _served(text, group_size)
    if text in HALF:
        raise UserError(
            f"'{name}' is not simulated: sweeps keep unquantized models in float32; "
            f"name a narrower format, or 'none' for float32 alone"
        )
    if GGUF_PREFIX.sub("", text, count=1) in PREDICTED and text not in SCHEMES:
        raise UserError(f"'{name}' is a format of qsim roofline alone: qsim can't quantize to it")
    with user_errors(ValueError):
        return Meaning(weights=parse_scheme(text, group_size=group_size))


def is_served(name: str) -> bool:
    """Return whether a name sets activations as well as weights, as ``w4a8`` and ``i2_s`` do."""
    text = name.strip().lower()
    return text in TERNARY_BITS or SERVING.fullmatch(text) is not None


def mix_of(name: str) -> GgufMix | None:
    """Return the mix of a name: ``q4_k_m``, or ``gguf-q4_0`` for the mix of a block type.

    Without prefix a block type is a scheme.
    """
    text = name.strip().lower()
    key = GGUF_PREFIX.sub("", text, count=1)
    is_mix = key in MIXES and (key != text or key not in UNIFORM)
    return GgufMix(key) if is_mix else None


def _served(text: str, group_size: int | None) -> Meaning:
    """Return the meaning of ``w4a8``, ``fp8`` and their like."""
    with user_errors(ValueError):
        served = parse_format(text)
        weights = served.weights.scheme
        if weights is None:
            raise ValueError(
                f"'{text}' has weights in {served.weights.name}, whose rounding is not simulated; "
                f"give --activations or --kv alone"
            )
        if group_size is not None:
            weights = _regrouped(weights, group_size, text)
        operand = OPERANDS.get(served.activations)
        cache = None if served.kv == "fp16" else served.kv
        return Meaning(
            weights=weights,
            activations=parse_scheme(operand, role="activation") if operand else None,
            kv=parse_scheme(cache, role="kv") if cache else None,
        )


def _regrouped(weights: Scheme, group_size: int, text: str) -> Scheme:
    element = short_name(weights).partition(":")[0]
    if f"g{group_size}" not in text and re.search(r"g\d+", text):
        raise ValueError(f"'{text}' and group_size={group_size} give different group sizes")
    return parse_scheme(element, group_size=group_size)
