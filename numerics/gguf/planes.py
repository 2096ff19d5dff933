"""Where the bits of a code lie in a block: planes of bits, or digits of base 3."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Place values of the digits of a byte, the first one highest.
PLACES = (81, 27, 9, 3, 1)
#: Values of five digits.
TRIT_CODES = 243


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Some bits of the ``count`` codes from ``first`` on.

    Of ``stride`` bytes the lowest ``bits`` belong to the first ``stride`` codes, the next ``bits``
    to the codes that follow; when the bytes are full or the codes done, the next ``stride`` bytes
    come. With a stride of 16, byte i of Q4_0 holds codes i and i + 16.
    """

    offset: int
    count: int
    bits: int
    stride: int
    #: Where in a byte the first codes lie.
    shift: int = 0
    first: int = 0
    #: Where in the code these bits belong.
    to: int = 0

    @property
    def per_byte(self) -> int:
        """Codes that a byte takes part in."""
        return min(8 // self.bits, self.count // self.stride)

    @property
    def size(self) -> int:
        """Bytes of the plane."""
        return self.count // self.per_byte

    def read(self, block: Sequence[int], index: int) -> int:
        """Return what the plane adds to code ``index``.

        >>> Plane(offset=1, count=4, bits=4, stride=2).read([0, 0x3A, 0x4B], 3)
        4
        """
        if not 0 <= index - self.first < self.count:
            return 0
        at, shift = self._place(index - self.first)
        return (block[at] >> shift & (1 << self.bits) - 1) << self.to

    def write(self, block: bytearray, codes: Sequence[int]) -> None:
        """Put these bits of a block's codes into bytes that are zero there."""
        for index, code in enumerate(codes[self.first : self.first + self.count]):
            at, shift = self._place(index)
            block[at] |= (code >> self.to & (1 << self.bits) - 1) << shift

    def _place(self, index: int) -> tuple[int, int]:
        """Return byte and lowest bit of a code of the plane."""
        chunk, rest = divmod(index, self.stride * self.per_byte)
        nth, byte = divmod(rest, self.stride)
        return self.offset + chunk * self.stride + byte, self.shift + nth * self.bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Trits:
    """Codes 0, 1 and 2: digit n of byte i is code ``first + n * stride + i``.

    The byte is ``ceil(256 * number / 243)``, so that a multiplication by a power of 3 and one by 3
    bring a digit above bit 7.
    """

    offset: int
    count: int
    stride: int
    first: int = 0

    @property
    def digits(self) -> int:
        """Digits of a byte in use."""
        return self.count // self.stride

    @property
    def size(self) -> int:
        """Bytes of these codes."""
        return self.stride

    def read(self, block: Sequence[int], index: int) -> int:
        """Return code ``index``, 0 for one that lies elsewhere.

        >>> Trits(offset=0, count=5, stride=1).read([byte_of_trits((2, 0, 1, 1, 2))], 2)
        1
        """
        if not 0 <= index - self.first < self.count:
            return 0
        digit, byte = divmod(index - self.first, self.stride)
        return (block[self.offset + byte] * PLACES[-1 - digit] % 256) * 3 >> 8

    def write(self, block: bytearray, codes: Sequence[int]) -> None:
        """Put those of a block's codes that lie here into its bytes."""
        own = codes[self.first : self.first + self.count]
        for byte in range(self.stride):
            block[self.offset + byte] = byte_of_trits(own[byte :: self.stride])


def byte_of_trits(digits: Sequence[int]) -> int:
    """Return the byte of up to five digits of base 3, the highest first.

    >>> [byte_of_trits(digits) for digits in [(0,) * 5, (1,) * 5, (2,) * 5]]
    [0, 128, 255]
    """
    number = sum(digit * place for digit, place in zip(digits, PLACES, strict=False))
    return -(-number * 256 // TRIT_CODES)
