"""What the cores of a processor do in a cycle, by the instructions they have.

Operations count two for a multiply-add, for one core, in its widest instructions; types that a
core lacks are computed in the next wider one. The rates follow from ports times lanes: AVX2 has two
ports of eight float32, an AMX tile unit 16 x 16 dot products of four INT8 a cycle.
"""

from dataclasses import dataclass

from hw.toml_reader import Sourced

#: Operations a cycle and core, by instruction set and type of the operands.
OPS_PER_CYCLE: dict[str, dict[str, int]] = {
    # Chains of maddubs and madd stand in for dot products of INT8.
    "avx2": {"fp32": 32, "int8": 64},
    "avx2-vnni": {"fp32": 32, "int8": 128},
    # Two ports of 128 bits: the efficient cores of Intel's hybrids.
    "avx2-vnni-2x128": {"fp32": 16, "int8": 64},
    "avx512": {"fp32": 64, "fp16": 128, "int8": 256},
    # AVX-512 instructions in two halves, as in Zen 4, or with one port, as in client chips.
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
    # and no arithmetic on halves (its Software Optimization Guide, section 3).
    "neon-a72": {"fp32": 8, "int8": 16},
    # Two ports of 64 bits: Cortex-A55.
    "neon-2x64": {"fp32": 8, "fp16": 16, "int8": 32},
}
#: Instructions on matrices: tokens that fill one, and the set without them. SMMLA multiplies
#: 2 x 8 by 8 x 2, a tile of AMX has 16 rows.
MATRIX_TOKENS: dict[str, tuple[int, str]] = {
    "neon-i8mm": (2, "neon"),
    "neon-2x128-i8mm": (2, "neon-2x128"),
    "amx": (16, "avx512"),
}
#: Ports for instructions on vectors, shuffles among them, and bytes of a vector.
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
#: The same for vectors of 256 bits, where wider ones have fewer ports. Loops of llama.cpp over one
#: token, of bitnet.cpp and of T-MAC are written for AVX2, and use no wider ones with AVX-512.
AVX2_PORTS: dict[str, tuple[int, int]] = {
    "avx512": (3, 32),
    "avx512-client": (3, 32),
    "amx": (3, 32),
}
#: Instruction sets whose dot products of INT8 are one instruction.
DOT_PRODUCTS = frozenset(OPS_PER_CYCLE) - {"avx2", "neon-a72"}
#: Accumulator of a product, by the type of its operands.
ACCUMULATE = {"fp32": "fp32", "fp16": "fp32", "int8": "int32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallCores:
    """The efficient cores of a hybrid, at the clock that one of them reaches."""

    count: Sourced
    clock_ghz: Sourced
    #: A key of :data:`OPS_PER_CYCLE`.
    instructions: str

    def __post_init__(self) -> None:
        _check_instructions(self.instructions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The cores of a processor that compute, all alike; those of a hybrid beside them."""

    count: Sourced
    #: With all cores at work.
    clock_ghz: Sourced
    #: A key of :data:`OPS_PER_CYCLE`.
    instructions: str
    #: What one core can read; all together read no more than the memory gives.
    bandwidth_gb_per_s: Sourced
    last_cache_mb: Sourced | None = None
    memory_channels: Sourced | None = None
    #: Which only bounds count: runs are told to keep off them, since products wait for the slowest.
    small: SmallCores | None = None

    def __post_init__(self) -> None:
        _check_instructions(self.instructions)

    @property
    def cache_bytes(self) -> float:
        """Size of the last cache, whose megabytes are 2**20 bytes; 0 where it is not known."""
        return self.last_cache_mb.value * 2**20 if self.last_cache_mb else 0.0

    @property
    def all_count(self) -> float:
        """Cores of both kinds."""
        return self.count.value + (self.small.count.value if self.small else 0.0)

    def used_share(self, operands: str, threads: int | None = None) -> float:
        """Return the peak of so many threads over that of the big cores, which they take first.

        All cores of both kinds compute if no number is given.
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
        """Return the peak of all cores in one type of operands."""
        return OPS_PER_CYCLE[self.instructions][operands] * self.count.value * self.hertz

    def matrix_tokens(self, operands: str) -> tuple[int, float]:
        """Return the tokens that the peak needs, and the share of it that one token can have.

        1 and 1 where instructions on vectors are as fast.
        """
        tokens, vectors = MATRIX_TOKENS.get(self.instructions, (1, self.instructions))
        fastest = OPS_PER_CYCLE[self.instructions][operands]
        share = OPS_PER_CYCLE[vectors][operands] / fastest
        return (tokens, share) if share < 1 else (1, 1.0)

    def vector_ops_per_s(self, operands: str) -> float:
        """Return the peak of all cores without instructions on matrices."""
        _, vectors = MATRIX_TOKENS.get(self.instructions, (1, self.instructions))
        return OPS_PER_CYCLE[vectors][operands] * self.count.value * self.hertz

    @property
    def is_arm(self) -> bool:
        """Whether the instructions are ARM's, not x86's."""
        return self.instructions.startswith("neon")

    def vector_bytes_per_s(self, instructions: float, *, widest: bool = False) -> float:
        """Return the bytes of vectors that loops of so many instructions for each vector do.

        A byte is a lookup in a table of 16, or a weight in INT8. ``widest`` takes the widest
        vectors, which usual loops do not.
        """
        ports, width = VECTOR_PORTS[self.instructions]
        if not widest:
            ports, width = AVX2_PORTS.get(self.instructions, (ports, width))
        return ports * width / instructions * self.count.value * self.hertz

    @property
    def hertz(self) -> float:
        """Cycles a second."""
        return self.clock_ghz.value * 1e9


def _check_instructions(name: str) -> None:
    if name not in OPS_PER_CYCLE:
        raise ValueError(f"instructions is {name!r}, not one of {', '.join(OPS_PER_CYCLE)}")
