"""The description of a GGUF block type: the layout of its bytes and the meaning of its codes."""

from dataclasses import dataclass
from enum import StrEnum

from numerics.gguf.planes import PLACES, Plane, Trits


class Rule(StrEnum):
    """How the quantizer of a type chooses ``d``, ``m`` and codes; all in float32.

    ``d`` and ``m`` are stored in FP16, but codes are chosen with the unrounded numbers.
    """

    #: ``d = x / levels[0]`` for the x of largest magnitude, the first on ties;
    #: ``code = trunc(x * (1 / d) + 0.5 - levels[0])``, at most the last.
    EXTREME = "extreme"
    #: ``d = (max - min) / last``, ``m = min``, zeros without sign;
    #: ``code = trunc((x - min) * (1 / d) + 0.5)``.
    RANGE = "range"
    #: ``d = amax / largest``; ``level = x * (1 / d)`` rounded half away from zero.
    ABSMAX = "absmax"
    #: ``d = 2**(floor(log2(amax)) - 3)`` with the logarithm rounded to float32; nearest level,
    #: ties towards zero.
    POWER = "power"
    #: Search of :func:`numerics.gguf.searches.search_affine` per group for the least absolute
    #: error weighted by magnitudes.
    AFFINE_MAGNITUDE = "affine magnitude"
    #: Search of :func:`numerics.gguf.searches.search_affine` per group for the least squared error
    #: weighted by the root mean square plus the magnitude.
    AFFINE_SQUARE = "affine square"
    #: Search of :func:`numerics.gguf.searches.search_symmetric` per group.
    SYMMETRIC = "symmetric"
    #: Search of :func:`numerics.gguf.searches.search_refined` per group.
    REFINED = "refined"
    #: Search of :func:`numerics.gguf.searches.search_levels` per group.
    LEVELS = "levels"

    @property
    def is_search(self) -> bool:
        """Whether scales are searched group by group."""
        return self in (
            Rule.AFFINE_MAGNITUDE,
            Rule.AFFINE_SQUARE,
            Rule.SYMMETRIC,
            Rule.REFINED,
            Rule.LEVELS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Integers that multiply ``d`` or ``dmin``, one per group of a block."""

    planes: tuple[Plane, ...]
    #: ``factor = (number ^ flip) - minus``; 128 and 128 make an int8.
    flip: int = 0
    minus: int = 0

    @property
    def count(self) -> int:
        """Number of factors of a block."""
        return max(plane.first + plane.count for plane in self.planes)

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest factor."""
        numbers = 1 << max(plane.to + plane.bits for plane in self.planes)
        values = [self.value(number) for number in range(numbers)]
        return min(values), max(values)

    def value(self, number: int) -> int:
        """Return the factor with the bits ``number``.

        >>> Factors(planes=(), flip=128, minus=128).value(255)
        -1
        """
        return (number ^ self.flip) - self.minus


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockType:
    """The bytes of a block; ``value = d * factor * levels[code] + m``.

    ``m`` is stored, or ``-dmin * factor``, or absent, and so are the factors of ``d``.
    """

    name: str
    #: Number of values of a block.
    values: int
    #: Number of bytes of a block.
    size: int
    codes: tuple[Plane, ...] | tuple[Trits, ...]
    #: Level of each code.
    levels: tuple[int, ...]
    #: Byte offset of ``d``: FP16, or for ``Rule.POWER`` an E8M0 of twice ``d``.
    d_at: int
    #: Byte offset of the FP16 ``m``, or of ``dmin`` if ``m`` has factors.
    m_at: int | None = None
    d_factors: Factors | None = None
    m_factors: Factors | None = None
    #: The quantizer.
    rule: Rule
    #: Candidates of an affine search: the least difference from the number of steps of a group,
    #: and how many candidates follow it, each with 0.1 more.
    candidates: tuple[float, int] | None = None

    @property
    def groups(self) -> int:
        """Number of groups of a block, which have a scale each."""
        return 1 if self.d_factors is None else self.d_factors.count

    @property
    def index_bits(self) -> float:
        """Bits of all codes of a block; with five trits in a byte a trit has 1.6 bits."""
        if isinstance(self.codes[0], Trits):
            return self.values * 8 / len(PLACES)
        return 8.0 * sum(part.size for part in self.codes)

    @property
    def largest(self) -> int:
        """Largest magnitude of which both signs are levels."""
        return min(max(self.levels), -min(self.levels))
