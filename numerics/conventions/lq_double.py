"""Normal floats with scales quantized relative to the least scale: LQ-LoRA's double quantization.

Source: LQ-LoRA, arXiv:2311.12023, section 3.1 and appendix, and its code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.conventions.nvfp4_reference import flush, flushed
from numerics.formats import BF16, FP16, FP32, NF2, NF3, NF4, SCALE_DTYPES, Format
from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

Float = np.float32
ELEMENTS = {2: NF2, 3: NF3, 4: NF4}
DEFAULT_GROUP, DEFAULT_SCALE_BITS, DEFAULT_SUPER_BLOCK = 64, 8, 256
SECOND = {"fp32": FP32, "fp16": FP16, "bf16": BF16}


@dataclass(frozen=True, slots=True, kw_only=True)
class LqDouble(Scheme, arrays="numerics.conventions.lq_double_arrays"):
    """NF2, NF3 or NF4 with scales of few bits: ``value = nf(code) * s``, ``s = q * step + least``.

    The unquantized scale of a group is its largest magnitude; ``least`` is the least of all groups.
    For each ``super_block`` consecutive groups (row by row) ``t`` is the largest difference from
    ``least``, 1 if all are equal, stored in the format ``second``;
    ``step = t / (2^scale_bits - 1)``, at least 2^-126, and ``q = rint(difference / step)``. Codes
    are found by dividing by the dequantized scale; a group of scale 0 dequantizes to zeros.
    :func:`quantize_groups` is the definition.

    Subnormal numbers count as zeros. A NaN or an infinity anywhere makes ``least`` and every ``t``
    NaN and every code 0.

    Examples
    --------
    >>> scheme = LqDouble(bits=4)
    >>> scheme.name, round(scheme.bits_per_weight((4096, 4096)), 3)
    ('nf4-lqdq', 4.127)
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="nf<bits>-lqdq[-s<scale bits>][-<fp16|bf16>][-b<scales>]",
            pattern=rf"nf{NUMBER}-lqdq(?:-s{NUMBER})?(?:-(fp32|fp16|bf16))?(?:-b{NUMBER})?",
            make=lambda m, _: LqDouble(
                bits=int(m[1]),
                scale_bits=int(m[2] or DEFAULT_SCALE_BITS),
                second=SECOND[m[3] or "fp32"],
                super_block=int(m[4] or DEFAULT_SUPER_BLOCK),
            ),
            like="nf4-lqdq",
        ),
    )

    bits: int
    scale_bits: int = DEFAULT_SCALE_BITS
    second: Format = FP32
    super_block: int = DEFAULT_SUPER_BLOCK
    size: int = DEFAULT_GROUP

    def __post_init__(self) -> None:
        if self.bits not in ELEMENTS:
            raise ValueError(f"LQ-LoRA has normal floats of 2, 3 or 4 bits, not {self.bits}")
        if not 2 <= self.scale_bits <= 8:
            raise ValueError(f"LQ-LoRA has scales of 2 to 8 bits, not {self.scale_bits}")
        name = self.second.name
        if name not in SECOND:
            raise ValueError(
                f"LQ-LoRA's second level is fp32, fp16 or bf16, not {self.second.name}"
            )
        if self.super_block < 1:
            raise ValueError(f"a super-block is 1 scale or more, not {self.super_block}")

    @property
    def name(self) -> str:
        """Name in the catalog: bits, and options that differ from QLoRA's."""
        words = [
            f"-s{self.scale_bits}" * (self.scale_bits != DEFAULT_SCALE_BITS),
            f"-{self.second.name}" * (self.second != FP32),
            f"-b{self.super_block}" * (self.super_block != DEFAULT_SUPER_BLOCK),
            f":g{self.size}" * (self.size != DEFAULT_GROUP),
        ]
        return f"nf{self.bits}-lqdq{''.join(words)}"

    @property
    def group_size(self) -> int:
        """Number of values in a group."""
        return self.size

    @property
    def element(self) -> Format:
        """The format of the codes."""
        return ELEMENTS[self.bits]

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    @property
    def top(self) -> int:
        """Largest code of a quantized scale."""
        return (1 << self.scale_bits) - 1

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields: codes, codes of scales, ``t`` of super-blocks, the least scale."""
        groups = (*shape[:-1], -(-shape[-1] // self.size))
        blocks = (-(-math.prod(groups) // self.super_block),)
        byte, second = np.dtype(np.uint8), SCALE_DTYPES[self.second]
        return (
            Field(name="codes", shape=shape, bits=self.bits, dtype=byte, is_index=True),
            Field(name="scale_codes", shape=groups, bits=self.scale_bits, dtype=byte),
            Field(name="scale_scales", shape=blocks, bits=self.second.bits, dtype=second),
            Field(name="least", shape=(), bits=32, dtype=np.dtype(np.float32)),
        )


def quantize_groups(
    groups: Sequence[Sequence[float]], scheme: LqDouble
) -> tuple[list[list[int]], list[int], list[np.generic], Float]:
    """Return the codes of groups, the codes of their scales, each ``t`` and the least scale.

    >>> quantize_groups([[1.0, -0.5], [-3.0, 1.0]], LqDouble(bits=2, scale_bits=2))
    ([[3, 0], [0, 2]], [0, 3], [np.float32(2.0)], np.float32(1.0))
    """
    dtype = SCALE_DTYPES[scheme.second].type
    parts = [flushed(group) for group in groups]
    if not all(math.isfinite(v) for part in parts for v in part):
        count = -(-len(groups) // scheme.super_block)
        codes = [[0] * len(part) for part in parts]
        return codes, [0] * len(parts), [dtype(np.nan)] * count, Float(np.nan)
    amaxes = [max(abs(v) for v in part) for part in parts]
    least = min(amaxes)
    scale_codes, tops = [], []
    for start in range(0, len(amaxes), scheme.super_block):
        differences = [flush(a - least) for a in amaxes[start : start + scheme.super_block]]
        tops.append(_stored(max(differences), scheme.second))
        step = step_of(Float(tops[-1]), scheme)
        scale_codes += [min(int(np.rint(flush(d / step))), scheme.top) for d in differences]
    codes = []
    for index, part in enumerate(parts):
        step = step_of(Float(tops[index // scheme.super_block]), scheme)
        codes.append(_codes(part, scale_of(scale_codes[index], step, least), scheme))
    return codes, scale_codes, tops, least


def step_of(t: Float, scheme: LqDouble) -> Float:
    """Return the step of the scales of a super-block.

    >>> step_of(np.float32(255), LqDouble(bits=4))
    np.float32(1.0)
    """
    return max(t / Float(scheme.top), Float(MIN_NORMAL))


def scale_of(code: int, step: Float, least: Float) -> Float:
    """Return the scale of a group: ``code * step + least``, each operation rounded, kept finite.

    >>> scale_of(3, np.float32(0.5), np.float32(1))
    np.float32(2.5)
    """
    with np.errstate(over="ignore"):
        return min(Float(flush(Float(code) * step) + least), Float(MAX_FLOAT32))


def _stored(t: Float, second: Format) -> np.generic:
    dtype = SCALE_DTYPES[second]
    if not t:
        return dtype.type(1)
    largest = Float(MAX_FLOAT32 if second != FP16 else np.finfo(np.float16).max)
    smallest = Float(MIN_NORMAL if second != FP16 else np.finfo(np.float16).smallest_subnormal)
    return dtype.type(min(max(t, smallest), largest))


def _codes(part: Sequence[Float], scale: Float, scheme: LqDouble) -> list[int]:
    if not scale:
        return [scheme.element.encode(0.0)] * len(part)
    with np.errstate(over="ignore"):
        return [scheme.element.encode(float(flush(v / scale))) for v in part]
