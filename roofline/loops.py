"""Instructions of the loops that multiply stored weights by one token on a processor.

Counted for one vector of weights as INT8, as llama.cpp's and bitnet.cpp's loops have them: load
activations, multiply, scale and sum; and before that what makes the vector from stored weights. A
loop over one token does that again for each; prompts share it, so that their rate is a share of the
peak (:mod:`roofline.calibration`). These counts are an approximation: compilers and instruction
sets differ by one or two.
"""

from roofline.gguf_mixes import MIXES
from roofline.recipe import Recipe

MULTIPLY = 3.0
#: Loads of stored weights, shifts and masks, high bits joined, offsets subtracted.
UNPACK = {
    "q8_0": 1.0, "q4_0": 2.5, "q4_1": 1.5, "q4_k": 1.5, "q5_0": 4.5, "q5_1": 3.5, "q5_k": 3.5,
    "q6_k": 4.5, "q3_k": 4.0, "q2_k": 3.25, "i2_s": 2.0, "tq2_0": 2.0, "tq1_0": 4.0,
    "iq4_nl": 2.5, "iq4_xs": 2.5, "mxfp4": 2.5,
}  # fmt: skip
#: Of types whose values are gathered from tables in memory.
GATHER = 6.0


def loop_instructions(recipe: Recipe) -> float:
    """Return the instructions for a vector of weights of a GGUF recipe.

    >>> from roofline.recipe import parse_recipe
    >>> [loop_instructions(parse_recipe(f"gguf-{name}")) for name in ("q8_0", "q4_k_m", "q2_k")]
    [4.0, 4.5, 6.25]
    """
    name = MIXES[recipe.mix].base if recipe.mix else recipe.weights.name
    return MULTIPLY + UNPACK.get(name, GATHER)
