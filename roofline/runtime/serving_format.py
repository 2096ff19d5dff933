"""Serving formats: what a model is stored and computed in, such as ``w4a16`` or ``q4_k_m``."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from numerics.gguf.mixes import UNIFORM, Mix
from numerics.names.suggest import unknown
from roofline.model.model_shape import ModelShape
from roofline.runtime.gguf_mixes import IK_BITS, MIXES, TYPE_BITS, mix_bits
from roofline.runtime.online_work import NO_WORK, OnlineWork
from roofline.runtime.storage import FP16, PLAIN, Storage, known_storages, kv_bits, weight_storage

#: How weights are packed, which decides the engines that load them: tensors of a number format,
#: GGUF blocks of llama.cpp, block types of ik_llama.cpp alone, bitnet.cpp's I2_S, and planes of
#: bits or trits for kernels that look partial sums up.
Packing = Literal["plain", "gguf", "ik", "ternary", "lookup"]
#: Operand types of activations by their width.
BY_WIDTH = {"16": "fp16", "8": "int8", "4": "int4", "32": "fp32"}
ACTIVATIONS = ("fp32", "fp16", "fp8", "int8", "fp4", "int4")
#: Names by widths that are listed; any others of their form are known too.
WIDTHS = (
    *(f"w{bits}a16" for bits in range(2, 9)),
    *("w16a16", "w8a8", "w4a8", "w4a8kv4", "w4a4", "fp8"),
)
#: Weight format of ``numerics`` with the values of bitnet.cpp's packings: ternary weights with one
#: absmean scale for a tensor.
TERNARY_WEIGHTS = "bitnet-ternary"
#: Bits per weight of bitnet.cpp's packings: multiplied (I2_S), or looked up in tables of 16 sums of
#: two weights (TL1) or of three (TL2).
TERNARY_BITS = {"i2_s": 2.0, "tl1": 2.0, "tl2": 5 / 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """How a kernel replaces multiplications by lookups in tables of partial sums."""

    #: Weights whose sum one lookup gives.
    weights: float
    #: Instructions of the loop for one vector of lookups: index, shuffles, sign, widening, sum.
    instructions: float
    #: Instructions of the loop in AVX2; None where the number is that of NEON.
    avx2_instructions: float | None = None


#: Instructions of bitnet.cpp's loops. TL1: half an instruction each to mask and to shift indices,
#: two shuffles for the bytes of a sum, two to join them, two additions. TL2: in addition four to
#: spread two signs, and two each to add them to the low and high bytes and to invert those.
LOOKUPS = {"tl1": Lookup(weights=2, instructions=7), "tl2": Lookup(weights=3, instructions=15.5)}
#: Weights in one lookup of T-MAC, which takes one bit of each (arXiv:2407.00088), and instructions
#: of its kernel without the optional fast aggregation. NEON: a mask or a shift for the index, a
#: shuffle, and two widening additions. AVX2, for 32 lookups: two masks and a shift, an insertion of
#: the upper indices, a shuffle, and for each half of the vector a widening and an addition, with
#: one extraction of the upper half.
T_MAC_BITS, T_MAC_INSTRUCTIONS, T_MAC_AVX2_INSTRUCTIONS = 4, 4.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFormat:
    """Formats of weights, activations and KV cache of one model."""

    name: str
    #: Weights of linear layers; ``mix`` has other types for some of them.
    weights: Storage
    activations: str = "fp16"
    #: Operand type of activations that engines quantize to where a machine multiplies these weights
    #: in it, and none is named; None where ``activations`` decides on every machine.
    native_activations: str | None = None
    kv: str = "fp16"
    head: Storage = FP16
    embedding: Storage = FP16
    packing: Packing = "plain"
    #: Block types of a GGUF file; None for other files.
    mix: Mix | None = None
    #: Table lookups in place of multiplications, in the packing ``lookup``; None elsewhere.
    lookup: Lookup | None = None
    #: Size of a known file over the size that the formats give; 1 where no file is known.
    size_factor: float = 1.0
    #: Share of activations that are not zero; a token reads the weights of these alone.
    kept_activations: float = 1.0
    #: Run-time work of the method that chose the codes.
    online: OnlineWork = NO_WORK

    def tensor_bytes(self, tensor: str, inputs: int, outputs: int, shape: ModelShape) -> float:
        """Return the bytes of one weight of a model: ``q``, ``k``, ``v``, ``o``, ``up``, ...

        In a GGUF mix it is the mean of all layers.

        >>> from roofline.model.model_shape import load_model
        >>> shape = load_model("llama-3.1-8b")
        >>> parse_format("q4_k_m").tensor_bytes("head", 4096, 128256, shape) / (4096 * 128256)
        0.8203125
        """
        if self.mix is not None:
            bits = mix_bits(self.mix, tensor, inputs, shape)
            return self.size_factor * bits * inputs * outputs / 8
        storage = {"head": self.head, "embedding": self.embedding}.get(tensor, self.weights)
        return self.size_factor * storage.bytes(inputs, outputs)

    def storage(self, tensor: str) -> Storage:
        """Return the storage of a tensor, which says how it is multiplied."""
        return self.head if tensor == "head" and self.mix is None else self.weights

    def kv_bytes(self, shape: ModelShape) -> float:
        """Return the bytes of one layer's KV cache for one token."""
        if shape.latent is not None:
            width = shape.kv_values_per_token()
            return width * kv_bits(self.kv, width) / 8
        return shape.kv_values_per_token() * kv_bits(self.kv, shape.head_dim) / 8


def parse_format(
    text: str, *, activations: str | None = None, kv: str | None = None
) -> ServingFormat:
    """Return the serving format of a text.

    ``w4a16``, ``w8a8kv8`` and ``w4a16-g64`` give widths of integers; ``fp8`` and ``w8a8-fp8`` mean
    weights and activations in FP8; ``q4_k_m``, ``gguf-q4_k_m`` and ``gguf-q2_k`` are mixes of
    llama.cpp; ``q4_k`` and ``q2_k`` give all linear layers one GGUF block type; ``i2_s``, ``tl1``
    and ``tl2`` are packings of bitnet.cpp, ``tmac-2`` one of T-MAC; any other text is a weight
    format as in a sweep, with FP16 activations unless ``activations`` names others; ``int8-top54``
    keeps 54 % of them (Q-Sparse). Weights in FP4 get the activations that a machine multiplies
    (:func:`roofline.runtime.activations.as_run`), unless ``activations`` names others.

    Examples
    --------
    >>> fmt = parse_format("w4a16")
    >>> fmt.weights.bits_per_weight(4096, 4096), fmt.activations
    (4.125, 'fp16')
    """
    lowered = text.strip().lower()
    fmt = _format(lowered)
    if activations is not None:
        activations, kept = _kept(activations)
        fmt = replace(fmt, kept_activations=kept)
        operand = PLAIN[activations].operand if activations in PLAIN else activations
        if operand not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activations in {activations!r} are not known; known: {known}")
        sparse = f", {kept:.0%} of them" if kept < 1 else ""
        name = f"{fmt.name}, {operand} activations{sparse}"
        fmt = replace(fmt, name=name, activations=operand, native_activations=None)
    if kv is not None:
        kv_bits(kv, 128)
        fmt = replace(fmt, name=f"{fmt.name}, {kv} KV", kv=kv)
    return fmt


def _kept(activations: str) -> tuple[str, float]:
    """Return the operand and the share of activations that a text keeps."""
    match = re.fullmatch(r"(\w+)-top(\d{1,2})", activations)
    if match is None:
        return activations, 1.0
    if int(match[2]) < 1:
        raise ValueError(f"activations in {activations!r}: top-K keeps 1 to 99 percent")
    return match[1], int(match[2]) / 100


def _format(text: str) -> ServingFormat:
    if text in UNIFORM:
        return _gguf(text, UNIFORM[text])
    mix = text.removeprefix("gguf-").removeprefix("gguf:")
    if mix in MIXES and (text.startswith("gguf") or mix not in (*PLAIN, "mxfp4")):
        return _gguf(text, MIXES[mix])
    if text in TERNARY_BITS:
        return _ternary(text)
    if match := re.fullmatch(r"t-?mac-w?(\d)", text):
        return _t_mac(text, int(match[1]))
    if match := re.fullmatch(r"w(\d+)a(\d+)(?:kv(\d+))?(?:[-:]g(\d+))?", text):
        return _by_width(text, *match.groups())
    if text in ("fp8", "w8a8-fp8"):
        weights = weight_storage("fp8_e4m3:channel")
        return ServingFormat(name=text, weights=weights, activations="fp8")
    try:
        weights = weight_storage(text)
    except ValueError as error:
        raise ValueError(_unknown(text, str(error))) from None
    return ServingFormat(
        name=text,
        weights=weights,
        activations="fp32" if text in ("fp32", "f32") else "fp16",
        native_activations=_native_activations(text) if weights.operand == "fp4" else None,
    )


def _native_activations(text: str) -> str:
    """Return the activations of FP4 weights on machines that multiply FP4: FP4, MX ones in FP8.

    TensorRT-LLM (pull request 6908) and vLLM quantize the activations of gpt-oss, whose weights
    are in MXFP4, to MXFP8 or leave them in BF16; those of NVFP4 checkpoints are in NVFP4.
    """
    return "fp8" if text.startswith("mx") else "fp4"


def _gguf(text: str, mix: Mix) -> ServingFormat:
    operand = {"f16": "fp16", "bf16": "fp16", "f32": "fp32", "mxfp4": "fp4"}.get(mix.base)
    weights = Storage(name=mix.name, bits=TYPE_BITS[mix.base], operand=operand)
    packing: Packing = "ik" if mix.base in IK_BITS else "gguf"
    return ServingFormat(name=text, weights=weights, packing=packing, mix=mix)


def _ternary(text: str) -> ServingFormat:
    weights = Storage(name=text, bits=TERNARY_BITS[text], operand=None)
    lookup = LOOKUPS.get(text)
    return ServingFormat(
        name=text,
        weights=weights,
        activations="int8",
        packing="lookup" if lookup else "ternary",
        lookup=lookup,
    )


def _t_mac(text: str, bits: int) -> ServingFormat:
    if not 1 <= bits <= 4:
        raise ValueError(f"{text!r}: T-MAC stores 1 to 4 bits a weight")
    return ServingFormat(
        name=text,
        weights=weight_storage(f"int{bits}:g128"),
        activations="int8",
        packing="lookup",
        lookup=Lookup(
            weights=T_MAC_BITS / bits,
            instructions=T_MAC_INSTRUCTIONS,
            avx2_instructions=T_MAC_AVX2_INSTRUCTIONS,
        ),
    )


def _by_width(text: str, w: str, a: str, kv: str | None, group: str | None) -> ServingFormat:
    if a not in BY_WIDTH or (kv is not None and kv not in ("4", "8", "16")):
        raise ValueError(f"{text!r}: activations have 4, 8, 16 or 32 bits, a KV cache 4, 8 or 16")
    if not (w in ("16", "32") or 2 <= int(w) <= 8):
        raise ValueError(f"{text!r}: weights have 2 to 8, 16 or 32 bits")
    if w in ("16", "32"):
        weights = PLAIN["fp16" if w == "16" else "fp32"]
    elif a == "8" and w == "8" and group is None:
        weights = weight_storage("int8:channel")
    else:
        weights = weight_storage(f"int{w}:g{group or 128}")
    cache = "fp16" if kv in (None, "16") else f"int{kv}"
    return ServingFormat(name=text, weights=weights, activations=BY_WIDTH[a], kv=cache)


def _unknown(text: str, message: str) -> str:
    names = [*known_storages(), *(f"gguf-{name}" for name in MIXES), *TERNARY_BITS, "fp8", "w4a16"]
    if "unknown format" not in message:
        return message
    return unknown("format", text, names, see="qsim formats")
