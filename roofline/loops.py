"""Instructions of the loops that multiply stored weights by one token on a processor.

Counted for one vector of weights as INT8, as llama.cpp's and bitnet.cpp's loops have them:
multiply, scale and sum; before that what makes the vector from stored weights. Loads have ports of
their own. A loop over one token does that again for each; prompts share it, so that their rate is a
share of the peak (:mod:`roofline.calibration`). These counts are an approximation: compilers and
instruction sets differ by one or two.
"""

from hw.cpu import DOT_PRODUCTS, Cores
from roofline.gguf_mixes import MIXES
from roofline.recipe import Recipe

#: Multiply; convert, scale and sum once for two vectors.
MULTIPLY = 2.0
#: Without dot products, ggml's ``ggml_vdotq_s32``: two products of halves, two sums of pairs and
#: two of those, and the half of a scale.
MULTIPLY_WITHOUT_DOT = 7.0
#: In AVX2, for 32 weights. Products are of unsigned by signed numbers: blocks of 32 without an
#: offset take the sign from one factor to the other, then multiply, convert and scale; those with
#: an offset need no sign. ``maddubs`` and ``madd`` are two instructions where there is no dot
#: product. Groups of K-quants multiply, scale by integers and sum; ternary weights multiply and
#: sum.
AVX2_SIGNED, AVX2_UNSIGNED, AVX2_WITHOUT_DOT = 5.0, 3.0, 1.0
AVX2_K, AVX2_TERNARY = 3.0, 2.0
SIGNED = ("q8_0", "q4_0", "q5_0", "q6_0", "iq4_nl", "mxfp4")
UNSIGNED = ("q4_1", "q5_1")
TERNARY = ("i2_s", "tq1_0", "tq2_0")
#: Shifts and masks, high bits joined, offsets subtracted, scales of short groups.
UNPACK = {
    "q8_0": 0.0, "q4_0": 2.0, "q4_1": 1.0, "q4_k": 1.0, "q5_0": 4.0, "q5_1": 3.0, "q5_k": 3.0,
    "q6_k": 4.0, "q3_k": 4.0, "q2_k": 3.0, "i2_s": 1.75, "tq2_0": 1.75, "tq1_0": 4.0,
    "iq4_nl": 2.0, "iq4_xs": 2.0, "mxfp4": 2.0,
    # Of ik_llama.cpp: one shuffle looks a value up in a register, as for iq4_nl.
    "q6_0": 4.0, "iq4_k": 2.0, "iq4_ks": 2.0, "iq4_kss": 3.0, "iq5_k": 4.0, "iq5_ks": 4.0,
    "iq6_k": 5.0, "iq3_k": 4.0, "iq3_ks": 4.0, "iq2_k": 3.0, "iq2_ks": 3.0, "iq2_kl": 4.0,
}  # fmt: skip
#: Of types whose values are gathered from tables in memory, or computed by a trellis.
GATHER = 6.0


def loop_instructions(recipe: Recipe, cores: Cores | None = None) -> float:
    """Return the instructions for a vector of weights of a GGUF recipe; on ARM unless cores differ.

    >>> from roofline.recipe import parse_recipe
    >>> [loop_instructions(parse_recipe(f"gguf-{name}")) for name in ("q8_0", "q4_k_m", "q2_k")]
    [2.0, 3.0, 5.0]
    """
    name = MIXES[recipe.mix].base if recipe.mix else recipe.weights.name
    return _multiply(name, cores) + UNPACK.get(name, GATHER)


def _multiply(name: str, cores: Cores | None) -> float:
    has_dot = cores is None or cores.instructions in DOT_PRODUCTS
    if cores is None or cores.is_arm:
        return MULTIPLY if has_dot else MULTIPLY_WITHOUT_DOT
    if name in SIGNED or name in UNSIGNED:
        return (AVX2_SIGNED if name in SIGNED else AVX2_UNSIGNED) + (not has_dot) * AVX2_WITHOUT_DOT
    return AVX2_TERNARY if name in TERNARY else AVX2_K
