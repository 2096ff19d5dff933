"""Weights of mixtures with the group's selector in the upper bits: self-contained codes."""

from dataclasses import dataclass

from numerics.formats import Format, Real


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedFormat(Format):
    """Codes of several candidate formats, with the index of the candidate in the upper bits.

    Processing elements for mixtures read weights in this form; ``encode`` takes the first candidate
    with the nearest value.

    Examples
    --------
    >>> from numerics import SCHEMES
    >>> fmt = SelectedFormat(name="bitmod-fp4", candidates=SCHEMES["bitmod-fp4"].formats)
    >>> fmt.bits, fmt.decode(0b01_1000), fmt.decode(0b10_1000), fmt.encode(8.0) == 0b10_1000
    (6, -5.0, 8.0, True)
    """

    name: str
    candidates: tuple[Format, ...]

    def __post_init__(self) -> None:
        widths = {fmt.bits for fmt in self.candidates}
        if len(widths) != 1:
            raise ValueError(f"all candidates of {self.name} need one width, not {sorted(widths)}")

    @property
    def code_bits(self) -> int:
        """Bits of a code without its selector."""
        return self.candidates[0].bits

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of a code with its selector."""
        return self.code_bits + (len(self.candidates) - 1).bit_length()

    @property
    def min(self) -> float:
        """Least value of any candidate."""
        return min(fmt.min for fmt in self.candidates)

    @property
    def max(self) -> float:
        """Largest value of any candidate."""
        return max(fmt.max for fmt in self.candidates)

    @property
    def unit(self) -> float | None:
        """Smallest unit of the candidates, whose units are all powers of two."""
        units = [fmt.unit for fmt in self.candidates]
        return min(unit for unit in units if unit) if all(units) else None

    def encode(self, x: Real) -> int:
        """Return selector and code of the value nearest to ``x``."""
        rounded = [fmt.round(x) for fmt in self.candidates]
        best = min(range(len(rounded)), key=lambda i: abs(rounded[i] - x))
        return best << self.code_bits | self.candidates[best].encode(x)

    def decode(self, code: int) -> float:
        """Return the value of a code with its selector."""
        index, code = divmod(code, 2**self.code_bits)
        # Selectors without a candidate select the last one.
        value: float = self.candidates[min(index, len(self.candidates) - 1)].decode(code)
        return value
