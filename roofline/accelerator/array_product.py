"""A product on an array of PEs, and the cycles in which its operands cross the memory port."""

from dataclasses import dataclass
from math import ceil, gcd

from hw.array_machine import ArrayMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayProduct:
    """A product of (m, k) and (k, n), ``count`` times; a convolution has ``taps`` > 1.

    ``k`` is the sum over all taps: a kernel of 3 x 3 over 64 channels has ``taps = 9, k = 576``,
    and ``m`` output pixels.
    """

    m: int
    k: int
    n: int
    count: int = 1
    taps: int = 1
    #: Input pixels for each output pixel: the square of a convolution's stride.
    inputs_per_output: float = 1.0
    #: Values added to each result before it is stored, 1 for a residual connection.
    added: int = 0

    def __post_init__(self) -> None:
        for name in ("m", "k", "n", "count", "taps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not at least 1")
        if self.k % self.taps:
            raise ValueError(f"k is {self.k}, which {self.taps} taps do not divide")

    @property
    def macs(self) -> int:
        """Multiply-adds of all products."""
        return self.m * self.k * self.n * self.count


def weight_bytes(machine: ArrayMachine, values: int, *, side: bool = True) -> float:
    """Return the bytes of weights, with their share of scales unless ``side`` is false."""
    bits = machine.weight_bits + (machine.side_bits if side else 0.0)
    return values * bits / 8


def input_bytes(machine: ArrayMachine, product: ArrayProduct) -> float:
    """Return the bytes of the inputs of one product, each once."""
    values = product.m * product.inputs_per_output * product.k / product.taps
    return values * machine.activation_bits / 8


def output_bytes(machine: ArrayMachine, product: ArrayProduct) -> float:
    """Return the bytes of the results of one product."""
    return product.m * product.n * machine.result_bits / 8


def block_count(machine: ArrayMachine, product: ArrayProduct) -> int:
    """Return the blocks of an array whose PEs hold weights, partly filled ones included.

    >>> from hw.array_machine import load_array_machine
    >>> block_count(load_array_machine("tpu-v1"), ArrayProduct(m=1, k=600, n=600))
    9
    """
    channels = product.k // product.taps
    across = ceil(product.n / machine.columns)
    return product.taps * ceil(channels / (machine.rows * machine.lanes)) * across


def busy_cycles(machine: ArrayMachine, product: ArrayProduct) -> int:
    """Return the least cycles of one product: partly filled rows, columns and lanes count whole."""
    m, k, n = product.m, product.k, product.n
    if machine.dataflow == "weight":
        return block_count(machine, product) * m
    if machine.dataflow == "output":
        return ceil(m / machine.rows) * ceil(n / machine.columns) * ceil(k / machine.lanes)
    return ceil(n / machine.rows) * ceil(m / machine.columns) * ceil(k / machine.lanes)


def rows_cycles(
    machine: ArrayMachine, *, rows: int, row_bytes: int, stride: int, offset: int, cached: bool
) -> float:
    """Return the cycles to load ``rows`` pieces of ``row_bytes`` that lie ``stride`` bytes apart.

    A row is asked for in segments of at most ``line_bytes``. From DRAM each segment takes every
    aligned line that it touches; from the cache it takes its bytes at the port's rate. Without
    ``line_bytes`` only bytes count.

    Examples
    --------
    Rows of 64 bytes that start 8 bytes after a line take two lines of 64 bytes each:

    >>> from hw.array_machine import load_array_machine
    >>> gemmini = load_array_machine("gemmini")
    >>> [rows_cycles(gemmini, rows=8, row_bytes=64, stride=64, offset=offset, cached=False)
    ...     for offset in (0, 8)]
    [64.0, 128.0]
    """
    if cached or not machine.line_bytes:
        return rows * row_bytes / (machine.read_rate if cached else machine.dram_rate)
    line = machine.line_bytes
    whole, rest = divmod(rows, line // gcd(stride, line))
    found = 0
    for row in range(min(rows, line // gcd(stride, line))):
        first = (offset + row * stride) % line
        for start in range(0, row_bytes, line):
            end = min(start + line, row_bytes)
            lines = (first + end - 1) // line - (first + start) // line + 1
            found += lines * (whole + (row < rest))
    return found * line / machine.dram_rate
