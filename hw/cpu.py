"""Operations a cycle of CPU cores, by instruction set.

Rates are those of one core with its widest instructions; a multiply-add counts two. Operand types
that a core lacks are computed in the next wider type. The rates follow from ports times lanes: AVX2
has two ports of eight float32, an AMX tile unit 16 x 16 dot products of four INT8 a cycle.
"""

from dataclasses import dataclass

from hw.toml_reader import Sourced

#: Operations a cycle and core, by instruction set and type of the operands.
OPS_PER_CYCLE: dict[str, dict[str, int]] = {
    # maddubs and madd take the place of INT8 dot products.
    "avx2": {"fp32": 32, "int8": 64},
    "avx2-vnni": {"fp32": 32, "int8": 128},
    # Two ports of 128 bits: the efficiency cores of Intel's hybrids.
    "avx2-vnni-2x128": {"fp32": 16, "int8": 64},
    "avx512": {"fp32": 64, "fp16": 128, "int8": 256},
    # AVX-512 split into two 256-bit operations, as in Zen 4, or on one port, as in client chips.
    "avx512-256b": {"fp32": 32, "fp16": 64, "int8": 128},
    "avx512-client": {"fp32": 32, "int8": 128},
    "amx": {"fp32": 64, "fp16": 1024, "int8": 2048},
    # Four ports of 128 bits, with SDOT, and with SMMLA.
    "neon": {"fp32": 32, "fp16": 64, "int8": 128},
    "neon-i8mm": {"fp32": 32, "fp16": 64, "int8": 256},
    # Two ports of 128 bits: Cortex-A76, and Neoverse N2 with SMMLA.
    "neon-2x128": {"fp32": 16, "fp16": 32, "int8": 64},
    "neon-2x128-i8mm": {"fp32": 16, "fp16": 32, "int8": 128},
    # Cortex-A72: multiplies 128 bits a cycle, and INT8 on one port into 16 bits; no dot products
    # and no FP16 arithmetic (its Software Optimization Guide, section 3).
    "neon-a72": {"fp32": 8, "int8": 16},
    # Two ports of 64 bits: Cortex-A55.
    "neon-2x64": {"fp32": 8, "fp16": 16, "int8": 32},
}
#: Matrix instructions: tokens that fill one, and the instruction set without them. SMMLA multiplies
#: 2 x 8 by 8 x 2, a tile of AMX has 16 rows.
MATRIX_TOKENS: dict[str, tuple[int, str]] = {
    "neon-i8mm": (2, "neon"),
    "neon-2x128-i8mm": (2, "neon-2x128"),
    "amx": (16, "avx512"),
}
#: Ports for vector instructions, shuffles included, and bytes of a vector.
VECTOR_PORTS: dict[str, tuple[int, int]] = {
    "avx2": (3, 32),
    "avx2-vnni": (3, 32),
    "avx512": (2, 64),
    "avx512-256b": (4, 32),
    "avx512-client": (2, 64),
    "amx": (2, 64),
    "neon": (4, 16),
    "neon-i8mm": (4, 16),
    "neon-2x128": (2, 16),
    "neon-2x128-i8mm": (2, 16),
    "avx2-vnni-2x128": (3, 16),
    "neon-2x64": (2, 8),
    "neon-a72": (2, 16),
}
#: Ports and bytes of 256-bit vectors, where wider vectors have fewer ports. Loops of llama.cpp over
#: one token, of bitnet.cpp and of T-MAC are AVX2 code on processors with AVX-512 too.
AVX2_PORTS: dict[str, tuple[int, int]] = {
    "avx512": (3, 32),
    "avx512-client": (3, 32),
    "amx": (3, 32),
}
#: Instruction sets with an INT8 dot-product instruction.
DOT_PRODUCTS = frozenset(OPS_PER_CYCLE) - {"avx2", "neon-a72"}
#: Accumulator type of a dot product, by operand type.
ACCUMULATE = {"fp32": "fp32", "fp16": "fp32", "int8": "int32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallCores:
    """The efficiency cores of a hybrid CPU."""

    count: Sourced
    clock_ghz: Sourced
    #: A key of :data:`OPS_PER_CYCLE`.
    instructions: str

    def __post_init__(self) -> None:
        _check_instructions(self.instructions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The cores of a CPU, all alike, and the efficiency cores of a hybrid."""

    count: Sourced
    #: Clock with all cores at work.
    clock_ghz: Sourced
    #: A key of :data:`OPS_PER_CYCLE`.
    instructions: str
    #: Bandwidth that one core reaches; all cores together reach at most that of the memory.
    bandwidth_gb_per_s: Sourced
    last_cache_mb: Sourced | None = None
    memory_channels: Sourced | None = None
    #: Efficiency cores; counted in bounds only, because a GEMM waits for its slowest core and users
    #: pin threads to the fast ones.
    small: SmallCores | None = None

    def __post_init__(self) -> None:
        _check_instructions(self.instructions)

    @property
    def cache_bytes(self) -> float:
        """Size of the last-level cache; 0 where it is unknown."""
        return self.last_cache_mb.value * 2**20 if self.last_cache_mb else 0.0

    @property
    def all_count(self) -> float:
        """Number of cores of both kinds."""
        return self.count.value + (self.small.count.value if self.small else 0.0)

    def used_share(self, operands: str, threads: int | None = None) -> float:
        """Return the peak of ``threads`` threads over the peak of the performance cores.

        Threads run on performance cores first; None means all cores of both kinds.
        """
        wanted = self.all_count if threads is None else threads
        big = min(1.0, wanted / self.count.value)
        if self.small is None:
            return big
        used = min(self.small.count.value, max(0.0, wanted - self.count.value))
        small_ops = OPS_PER_CYCLE[self.small.instructions][operands]
        rate = used * self.small.clock_ghz.value * 1e9 * small_ops
        return big + rate / self.ops_per_s(operands)

    def ops_per_s(self, operands: str) -> float:
        """Return the peak of the performance cores in one operand type."""
        return OPS_PER_CYCLE[self.instructions][operands] * self.count.value * self.hertz

    def matrix_tokens(self, operands: str) -> tuple[int, float]:
        """Return the tokens at which the peak is reached, and the fraction of it at one token.

        1 and 1 where vector instructions are as fast as matrix instructions.
        """
        tokens, vectors = MATRIX_TOKENS.get(self.instructions, (1, self.instructions))
        fastest = OPS_PER_CYCLE[self.instructions][operands]
        share = OPS_PER_CYCLE[vectors][operands] / fastest
        return (tokens, share) if share < 1 else (1, 1.0)

    def vector_ops_per_s(self, operands: str) -> float:
        """Return the peak of the performance cores without matrix instructions."""
        _, vectors = MATRIX_TOKENS.get(self.instructions, (1, self.instructions))
        return OPS_PER_CYCLE[vectors][operands] * self.count.value * self.hertz

    @property
    def is_arm(self) -> bool:
        """Whether the instructions are ARM's, not x86's."""
        return self.instructions.startswith("neon")

    def vector_bytes_per_s(self, instructions: float, *, widest: bool = False) -> float:
        """Return the vector bytes/s of a loop with ``instructions`` instructions for each vector.

        A byte is one lookup in a table of 16, or one INT8 weight. ``widest`` takes the widest
        vectors; AVX2 code does not.
        """
        ports, width = VECTOR_PORTS[self.instructions]
        if not widest:
            ports, width = AVX2_PORTS.get(self.instructions, (ports, width))
        return ports * width / instructions * self.count.value * self.hertz

    @property
    def hertz(self) -> float:
        """Clock in cycles a second."""
        return self.clock_ghz.value * 1e9


def _check_instructions(name: str) -> None:
    if name not in OPS_PER_CYCLE:
        raise ValueError(f"instructions is {name!r}, not one of {', '.join(OPS_PER_CYCLE)}")
