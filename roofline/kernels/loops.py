"""CPU loops over stored weights: vector instructions for one token, and tiles for many.

Instructions are counted for one vector of weights as INT8, in the sources of llama.cpp
(``ggml/src/ggml-cpu/arch/{arm,x86}/quants.c``) and of bitnet.cpp: every vector instruction that
unpacks, multiplies, scales and sums; those for a block of weights are divided by its vectors. Loads
and scalar integer instructions have ports of their own. Compilers differ by one or two.

An engine without tiles for a type (:class:`roofline.runtime.engine.CpuTiles`) runs such a loop once
for each token of a prompt.
"""

from dataclasses import replace

from hw.cpu import DOT_PRODUCTS, Cores
from roofline.runtime.engine import Engine
from roofline.runtime.serving_format import ServingFormat

#: Share of the counted rate that a loop reaches: bitnet.cpp's I2_S kernels of January 2026 take
#: 0.058 to 0.076 ms for 2048 x 2048 weights on one core of an EPYC 7V13; 3.75 instructions for 32
#: weights on three ports at 3.5 GHz would take 0.047 ms.
LOOP_SHARE = 0.70
#: NEON instructions to multiply 16 weights. Blocks of 32: multiply, convert two scales and the sum,
#: multiply and accumulate. K-quants: multiply, sum each group of 16 or 32 weights across the
#: vector, multiply the sum by an integer scale. Ternary weights: multiply and accumulate.
NEON_BLOCK, NEON_K32, NEON_K16, NEON_TERNARY = 3.5, 3.0, 4.0, 1.0
#: Extra NEON instructions where there is no dot-product instruction (ggml's ``ggml_vdotq_s32``):
#: two multiplications of half vectors, two pairwise additions, and two additions.
NEON_WITHOUT_DOT = 5.0
#: AVX2 instructions to multiply 32 weights; the instructions multiply unsigned by signed numbers.
#: Blocks of 32 without an offset (signed): move the sign from one factor to the other, multiply,
#: convert and scale, multiply and broadcast the scale; with an offset (unsigned) no sign moves.
#: Without VNNI ``maddubs`` and ``madd`` are one instruction more. K-quants: multiply, broadcast and
#: multiply integer scales, add, and subtract the block's offsets. Ternary weights: multiply and
#: add.
AVX2_SIGNED, AVX2_UNSIGNED, AVX2_WITHOUT_DOT = 7.0, 5.0, 1.0
AVX2_K, AVX2_TERNARY = 5.5, 2.0
SIGNED = ("q8_0", "q4_0", "q5_0", "q6_0", "iq4_nl", "mxfp4")
UNSIGNED = ("q4_1", "q5_1")
TERNARY = ("i2_s", "tq1_0", "tq2_0")
#: K-quants with a scale for 32 weights; the others have one for 16.
K32 = ("q4_k", "q5_k", "iq4_xs")
#: Instructions to unpack a vector of weights, in NEON and in AVX2: shifts, masks, high bits joined,
#: offsets subtracted.
UNPACK: dict[str, tuple[float, float]] = {
    "q8_0": (0, 0), "q4_0": (2, 4), "q4_1": (1, 3), "q4_k": (1, 1.5), "q5_0": (4, 7),
    "q5_1": (3, 6), "q5_k": (3, 5.5), "q6_k": (4, 6), "q3_k": (4, 6), "q2_k": (2, 3),
    "i2_s": (1.75, 1.75), "tq2_0": (1.75, 1.75), "tq1_0": (4, 4), "iq4_nl": (2, 4),
    "iq4_xs": (2, 4), "mxfp4": (2, 4),
    # Types of ik_llama.cpp alone: one shuffle looks a value up in a register, as for iq4_nl.
    "q6_0": (4, 7), "iq4_k": (2, 4), "iq4_ks": (2, 4), "iq4_kss": (3, 5), "iq5_k": (4, 6),
    "iq5_ks": (4, 6), "iq6_k": (5, 7), "iq3_k": (4, 6), "iq3_ks": (4, 6), "iq2_k": (3, 4),
    "iq2_ks": (3, 4), "iq2_kl": (4, 6),
}  # fmt: skip
#: Instructions to unpack types with values in tables in memory, or computed by a trellis.
GATHER = 6.0


def loop_instructions(fmt: ServingFormat, engine: Engine, cores: Cores) -> float:
    """Return the instructions for one vector of weights in the loop of a single token.

    >>> from hw.machine import load_machine
    >>> from roofline.runtime.engine import LLAMA_CPP
    >>> from roofline.runtime.serving_format import parse_format
    >>> cores = load_machine("raspberry-pi-5").cores
    >>> formats = [parse_format(f"gguf-{name}") for name in ("q8_0", "q4_k_m")]
    >>> [loop_instructions(fmt, LLAMA_CPP, cores) for fmt in formats]
    [3.5, 4.0]
    """
    name = base_type(fmt)
    unpack = UNPACK.get(name, (GATHER, GATHER))[not cores.is_arm]
    return _multiply(name, cores, has_dot=_has_dot(engine, cores)) + unpack


def base_type(fmt: ServingFormat) -> str:
    """Return the type of most weights."""
    return fmt.mix.base if fmt.mix else fmt.weights.name


def is_ternary(fmt: ServingFormat) -> bool:
    """Return whether weights have one scale for a tensor, or one for a whole vector of them."""
    return base_type(fmt) in TERNARY


def shares_unpacking(fmt: ServingFormat, engine: Engine, cores: Cores) -> bool:
    """Return whether an engine has tiles for a type, in which a prompt's tokens share weights.

    >>> from hw.machine import load_machine
    >>> from roofline.runtime.engine import LLAMA_CPP
    >>> from roofline.runtime.serving_format import parse_format
    >>> cores = load_machine("ryzen-5950x").cores
    >>> formats = [parse_format(name) for name in ("gguf-q4_k_m", "gguf-q3_k_s")]
    >>> [shares_unpacking(fmt, LLAMA_CPP, cores) for fmt in formats]
    [True, False]
    """
    tiles = engine.cpu_tiles
    if tiles is None or (cores.is_arm and tiles.needs_dot_products and not _has_dot(engine, cores)):
        return False
    is_wide = cores.instructions.startswith(("avx512", "amx"))
    types = tiles.arm if cores.is_arm else tiles.avx512 if is_wide else tiles.avx2
    return types is None or base_type(fmt) in types


def tile_ops_per_s(engine: Engine, cores: Cores) -> float:
    """Return the peak INT8 rate of an engine's tiles, with the instructions that they use.

    >>> from hw.machine import load_machine
    >>> from roofline.runtime.engine import BITNET_CPP, LLAMA_CPP
    >>> cores = load_machine("core-i7-13800h").cores
    >>> tile_ops_per_s(LLAMA_CPP, cores) / tile_ops_per_s(BITNET_CPP, cores)
    2.0
    """
    tiles = engine.cpu_tiles
    assert tiles is not None
    if cores.instructions in tiles.as_avx2:
        return replace(cores, instructions="avx2").ops_per_s("int8")
    return (cores.ops_per_s if tiles.uses_matrix_instructions else cores.vector_ops_per_s)("int8")


def _has_dot(engine: Engine, cores: Cores) -> bool:
    return engine.has_dot_products and cores.instructions in DOT_PRODUCTS


def _multiply(name: str, cores: Cores, *, has_dot: bool) -> float:
    is_block = name in SIGNED or name in UNSIGNED
    if cores.is_arm:
        ternary = NEON_TERNARY if name in TERNARY else NEON_K32 if name in K32 else NEON_K16
        return (NEON_BLOCK if is_block else ternary) + (not has_dot) * NEON_WITHOUT_DOT
    if is_block:
        return (AVX2_SIGNED if name in SIGNED else AVX2_UNSIGNED) + (not has_dot) * AVX2_WITHOUT_DOT
    return AVX2_TERNARY if name in TERNARY else AVX2_K
