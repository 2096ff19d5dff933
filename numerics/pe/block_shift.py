"""Dot products with power-of-two block scales: block sums shifted into one fixed-point sum.

The codes of a block's E8M0 scales (of the weights, optionally also of the activations) are added.
The block's sum is shifted left by their sum minus ``lowest``, the sum of codes that stands for one
unit of the result. A result exact for all scales would need 508 bits more than a block's sum, so
the result has a window of ``shifts`` scales. A block below the window is shifted right and rounded
down, an error of less than one unit; a scale above the window saturates to the window's largest.
The result is exact if every block is in the window (:meth:`BlockShifted.is_exact`).

Sources: OCP MX v1.0, dot products of MX blocks; MixPE, arXiv:2411.16158, for power-of-two scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numerics.formats import E8M0, Format
from numerics.pe.block_scale import BlockScaled, check_scales
from numerics.pe.exact_dot import LARGEST_SUM, exact_dot, largest_sum

#: E8M0 code of NaN; a block with such a scale counts as 0.
NAN_CODE = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShifted:
    """Formats of the elements, number of E8M0 scales per block, and size of the scale window."""

    weights: Format
    activations: Format
    scales: int
    block: int
    shifts: int = 32

    def unit(self, lowest: int) -> float:
        """Return the value of the integer 1 in a sum.

        >>> from numerics.formats import E2M1
        >>> mxfp4 = BlockShifted(weights=E2M1, activations=E2M1, scales=2, block=32)
        >>> mxfp4.unit(254)
        0.25
        """
        return self._elements.unit * 2.0 ** (lowest - 127 * self.scales)

    def dot(
        self,
        weight_codes: Sequence[int],
        codes: Sequence[int],
        scale_codes: Sequence[Sequence[int]],
        lowest: int,
    ) -> int:
        """Return the sum of blocks, each shifted by its scales; the last block may be shorter.

        >>> from numerics import FORMATS
        >>> int8 = FORMATS["int8"]
        >>> pairs = BlockShifted(weights=int8, activations=int8, scales=1, block=2)
        >>> pairs.dot([1, 2, 3], [10, 10, 11], [[130, 126]], 127)
        256
        """
        total = 0
        for block, of_block in enumerate(zip(*scale_codes, strict=True)):
            part = slice(block * self.block, (block + 1) * self.block)
            added = exact_dot(self.weights, self.activations, weight_codes[part], codes[part])
            if NAN_CODE not in of_block:
                total += self._shifted(added, sum(of_block) - lowest)
        return total

    def _shifted(self, added: int, shift: int) -> int:
        if shift < 0:
            return added >> -shift
        return added << min(shift, self.shifts - 1)

    def dots(
        self,
        weight_codes: np.ndarray,
        codes: np.ndarray,
        scale_codes: Sequence[np.ndarray],
        lowest: np.ndarray,
    ) -> np.ndarray:
        """Return the dot products of rows as int64; the last block of a row may be shorter.

        Codes have shape (rows, length), codes of scales (rows, blocks), ``lowest`` (rows,).
        """
        need = self.largest_sum(codes.shape[-1])
        if need >= LARGEST_SUM:
            raise ValueError(f"sums of up to {need} don't fit in 64 bits; take a smaller window")
        sums = self._elements.block_sums(weight_codes, codes)
        check_scales(sums, scale_codes)
        by_format = np.stack([np.asarray(codes, np.int64) for codes in scale_codes])
        shift = by_format.sum(axis=0) - lowest[:, None]
        # A shift by 63 leaves only the sign, like all larger shifts.
        lower = sums >> np.clip(-shift, 0, 63)
        shifted = np.where(shift < 0, lower, sums << np.clip(shift, 0, self.shifts - 1))
        is_number = (by_format != NAN_CODE).all(axis=0)
        return np.asarray(np.where(is_number, shifted, 0).sum(axis=-1))

    def is_exact(self, scale_codes: Sequence[Sequence[int]], lowest: int) -> bool:
        """Whether the scales of all blocks are in the window, so that the sum is exact.

        >>> from numerics.formats import E2M1
        >>> mxfp4 = BlockShifted(weights=E2M1, activations=E2M1, scales=2, block=32)
        >>> mxfp4.is_exact([[127, 100], [127, 123]], 223), mxfp4.is_exact([[127], [128]], 223)
        (True, False)
        """
        numbers = (block for block in zip(*scale_codes, strict=True) if NAN_CODE not in block)
        return all(0 <= sum(block) - lowest < self.shifts for block in numbers)

    @property
    def _elements(self) -> BlockScaled:
        return BlockScaled(
            weights=self.weights, activations=self.activations, scales=(), block=self.block
        )

    def largest_sum(self, length: int) -> int:
        """Return the largest magnitude of a sum of ``length`` elements."""
        return largest_sum(self.weights, self.activations, length) << (self.shifts - 1)

    def sum_bits(self, length: int) -> int:
        """Return the bits of a two's complement number that holds every sum.

        >>> from numerics.formats import E2M1
        >>> BlockShifted(weights=E2M1, activations=E2M1, scales=2, block=32).sum_bits(128)
        47
        """
        return self.largest_sum(length).bit_length() + 1

    @property
    def lowest_bits(self) -> int:
        """Bits of the largest sum of a block's scale codes."""
        return (self.scales * ((1 << E8M0.bits) - 1)).bit_length()
