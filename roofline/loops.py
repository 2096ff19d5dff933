"""Instructions of the loops that multiply stored weights by one token on a processor.

Counted for one vector of weights as INT8, as llama.cpp's and bitnet.cpp's loops have them:
multiply, scale and sum; before that what makes the vector from stored weights. Loads have ports of
their own. A loop over one token does that again for each; prompts share it, so that their rate is a
share of the peak (:mod:`roofline.calibration`). These counts are an approximation: compilers and
instruction sets differ by one or two.
"""

from roofline.gguf_mixes import MIXES
from roofline.recipe import Recipe

MULTIPLY = 2.0
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


def loop_instructions(recipe: Recipe) -> float:
    """Return the instructions for a vector of weights of a GGUF recipe.

    >>> from roofline.recipe import parse_recipe
    >>> [loop_instructions(parse_recipe(f"gguf-{name}")) for name in ("q8_0", "q4_k_m", "q2_k")]
    [2.0, 3.0, 5.0]
    """
    name = MIXES[recipe.mix].base if recipe.mix else recipe.weights.name
    return MULTIPLY + UNPACK.get(name, GATHER)
