"""The position of codes in a block: planes of bits, or digits of base 3."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Place values of the digits of a byte, highest first.
PLACES = (81, 27, 9, 3, 1)
#: Number of values of five digits.
TRIT_CODES = 243


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Some bits of the ``count`` codes from ``first`` on.

    The lowest ``bits`` of ``stride`` bytes hold the first ``stride`` codes, the next ``bits`` the
    next codes. When the bytes are full, the next ``stride`` bytes follow. With a stride of 16, byte
    i of Q4_0 holds codes i and i + 16.
    """

    offset: int
    count: int
    bits: int
    stride: int
    #: Bit offset of the first codes in their byte.
    shift: int = 0
    first: int = 0
    #: Bit offset of the plane in a code.
    to: int = 0

    @property
    def per_byte(self) -> int:
        """Number of codes with bits in one byte."""
        return min(8 // self.bits, self.count // self.stride)

    @property
    def size(self) -> int:
        """Number of bytes of the plane."""
        return self.count // self.per_byte

    def read(self, block: Sequence[int], index: int) -> int:
        """Return the bits of the plane in code ``index``.

        >>> Plane(offset=1, count=4, bits=4, stride=2).read([0, 0x3A, 0x4B], 3)
        4
        """
        if not 0 <= index - self.first < self.count:
            return 0
        at, shift = self._place(index - self.first)
        return (block[at] >> shift & (1 << self.bits) - 1) << self.to

    def write(self, block: bytearray, codes: Sequence[int]) -> None:
        """Write the bits of the plane of a block's codes into bytes that are zero there."""
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

    The byte is ``ceil(256 * number / 243)``: multiplied by a power of 3 modulo 256 and then by 3,
    it has the digit above bit 7.
    """

    offset: int
    count: int
    stride: int
    first: int = 0

    @property
    def digits(self) -> int:
        """Number of digits used in a byte."""
        return self.count // self.stride

    @property
    def size(self) -> int:
        """Number of bytes of these codes."""
        return self.stride

    def read(self, block: Sequence[int], index: int) -> int:
        """Return code ``index``, 0 if it is not stored here.

        >>> Trits(offset=0, count=5, stride=1).read([byte_of_trits((2, 0, 1, 1, 2))], 2)
        1
        """
        if not 0 <= index - self.first < self.count:
            return 0
        digit, byte = divmod(index - self.first, self.stride)
        return (block[self.offset + byte] * PLACES[-1 - digit] % 256) * 3 >> 8

    def write(self, block: bytearray, codes: Sequence[int]) -> None:
        """Write the codes stored here into the bytes of a block."""
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
