"""Bits per weight of GGUF mixes, and the mixes that only predictions know.

A label such as ``Q4_K_M`` names a mix: ``attn_v`` and ``ffn_down`` of some layers have wider types
than the rest, and the head has Q6_K. :mod:`numerics.gguf.mixes` has the rules for each layer.
"""

from functools import cache

from numerics.gguf import mixes
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.mixes import FLOATS, Mix, Place, fitting
from roofline.model.model_shape import ModelShape

#: Bits per weight of the block types that only ik_llama.cpp has, from its ggml-common.h; the few
#: extra bytes a row of some types don't count.
IK_BITS = {
    "q6_0": 6.5, "iq2_k": 2.375, "iq3_k": 3.4375, "iq4_k": 4.5, "iq5_k": 5.5, "iq6_k": 6.625,
    "iq2_ks": 2.1875, "iq3_ks": 3.1875, "iq4_ks": 4.25, "iq5_ks": 5.25, "iq2_kl": 2.6875,
    "iq4_kss": 4.0, "iq1_kt": 1.75, "iq2_kt": 2.125, "iq3_kt": 3.125, "iq4_kt": 4.0,
}  # fmt: skip
#: Bits per weight of all types, those without an encoder from ggml-common.h.
TYPE_BITS = {
    **{name: 8 * BLOCK_TYPES[name].size / BLOCK_TYPES[name].values for name in mixes.UNIFORM},
    "f32": 32.0, "f16": 16.0, "bf16": 16.0, "mxfp4": 4.25, "iq3_s": 3.4375, "iq3_xxs": 3.0625,
    "iq2_s": 2.5625, "iq2_xs": 2.3125, "iq2_xxs": 2.0625, "iq1_s": 1.5625, "iq1_m": 1.75, **IK_BITS,
}  # fmt: skip
#: Types whose mixes in files are taken as uniform, with an embedding in Q4_K.
NARROW = ("iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_s", "iq1_m")
MIXES = {
    **mixes.MIXES,
    **{name: Mix(name=name, base=name, is_uniform=True) for name in (*FLOATS, "mxfp4", *IK_BITS)},
    **{name: Mix(name=name, base=name, embedding="q4_k", is_uniform=True) for name in NARROW},
}


def mix_bits(mix: Mix, tensor: str, row: int, shape: ModelShape) -> float:
    """Return the bits per weight of ``v``, ``down``, ``head`` and so on: the mean of all layers.

    Rows of ``row`` weights that are not whole blocks take another type, as in files.

    >>> from roofline.model.model_shape import load_model
    >>> mix_bits(MIXES["q4_k_m"], "down", 14336, load_model("llama-3.1-8b"))
    5.53125
    """
    if tensor == "head":
        return head_bits(mix, row)
    if tensor == "embedding":
        return _stored_bits(mix.embedding_type, row)
    if tensor == "router":
        # llama.cpp does not quantize the router of a mixture of experts.
        return TYPE_BITS["f32"]
    if shape.fused_qkv and tensor in ("q", "k"):
        tensor = "v"
    experts = shape.experts.count if shape.experts else 0
    return _mean_bits(mix, tensor, row, shape.layers, shape.heads // shape.kv_heads, experts)


def head_bits(mix: Mix, row: int) -> float:
    """Return the bits per weight of the head, for rows of ``row`` weights."""
    return _stored_bits(mix.head_type(row), row)


@cache
def _mean_bits(
    mix: Mix, tensor: str, row: int, layers: int, queries_per_key: int, experts: int
) -> float:
    places = (Place(layer, layers, queries_per_key, experts) for layer in range(layers))
    return sum(_stored_bits(mix.linear_type(tensor, place), row) for place in places) / layers


def _stored_bits(kind: str, row: int) -> float:
    return TYPE_BITS[fitting(kind, row) or "f16"]
