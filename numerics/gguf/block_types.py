"""The GGUF block types by name. Source: ggml's ``ggml-common.h`` and ``gguf.quants``."""

from itertools import chain

from numerics.gguf.block_type import BlockType, Factors, Rule
from numerics.gguf.planes import Plane, Trits

BLOCK, SUPER_BLOCK = 32, 256
TWOS_COMPLEMENT = (*range(128), *range(-128, 0))
#: Values of E2M1 times two; the code of negative zero decodes to zero.
E2M1_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
#: Non-linear levels of IQ4.
IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _block(name: str, *, levels: tuple[int, ...], rule: Rule, head: int) -> BlockType:
    """Return a type of 32 values: ``head`` bytes of d and m, fifth bits if any, nibbles."""
    fifth = (Plane(offset=head, count=BLOCK, bits=1, stride=1, to=4),) if len(levels) > 16 else ()
    at = head + sum(plane.size for plane in fifth)
    return BlockType(
        name=name,
        values=BLOCK,
        size=at + BLOCK // 2,
        codes=(Plane(offset=at, count=BLOCK, bits=4, stride=16), *fifth),
        levels=levels,
        d_at=0,
        m_at=2 if head == 4 else None,
        rule=rule,
    )


def _six_bits(low: int, high: int, shift: int) -> Factors:
    """Return eight factors of six bits: four at ``low``, four at ``high`` and above the first."""
    return Factors(
        planes=(
            Plane(offset=low, count=4, bits=6, stride=4),
            Plane(offset=high, count=4, bits=4, stride=4, shift=shift, first=4),
            Plane(offset=low, count=4, bits=2, stride=4, shift=6, first=4, to=4),
        )
    )


def _wide(offset: int, *, bits: int, stride: int = 32, to: int = 0) -> Plane:
    return Plane(offset=offset, count=SUPER_BLOCK, bits=bits, stride=stride, to=to)


def _super_blocks() -> tuple[BlockType, ...]:
    d_factors, m_factors = _six_bits(4, 12, 0), _six_bits(8, 12, 4)
    return (
        BlockType(
            name="q2_k", values=SUPER_BLOCK, size=84, codes=(_wide(16, bits=2),),
            levels=tuple(range(4)), d_at=80, m_at=82,
            rule=Rule.AFFINE_MAGNITUDE, candidates=(-0.5, 15),
            d_factors=Factors(planes=(Plane(offset=0, count=16, bits=4, stride=16),)),
            m_factors=Factors(planes=(Plane(offset=0, count=16, bits=4, stride=16, shift=4),)),
        ),
        BlockType(
            name="q3_k", values=SUPER_BLOCK, size=110,
            codes=(_wide(32, bits=2), _wide(0, bits=1, to=2)),
            levels=tuple(range(-4, 4)), rule=Rule.REFINED, d_at=108,
            d_factors=Factors(
                planes=(
                    Plane(offset=96, count=16, bits=4, stride=8),
                    Plane(offset=104, count=16, bits=2, stride=4, to=4),
                ),
                minus=32,
            ),
        ),
        BlockType(
            name="q4_k", values=SUPER_BLOCK, size=144, codes=(_wide(16, bits=4),),
            levels=tuple(range(16)), rule=Rule.AFFINE_SQUARE, candidates=(-1.0, 20), d_at=0, m_at=2,
            d_factors=d_factors, m_factors=m_factors,
        ),
        BlockType(
            name="q5_k", values=SUPER_BLOCK, size=176,
            codes=(_wide(48, bits=4), _wide(16, bits=1, to=4)),
            levels=tuple(range(32)), rule=Rule.AFFINE_SQUARE, candidates=(-0.5, 15), d_at=0, m_at=2,
            d_factors=d_factors, m_factors=m_factors,
        ),
        BlockType(
            name="q6_k", values=SUPER_BLOCK, size=210,
            codes=(_wide(0, bits=4, stride=64), _wide(128, bits=2, to=4)),
            levels=tuple(range(-32, 32)), rule=Rule.SYMMETRIC, d_at=208,
            d_factors=Factors(
                planes=(Plane(offset=192, count=16, bits=8, stride=16),), flip=128, minus=128
            ),
        ),
        BlockType(
            name="iq4_xs", values=SUPER_BLOCK, size=136, codes=(_wide(8, bits=4, stride=16),),
            levels=IQ4_LEVELS, rule=Rule.LEVELS, d_at=0,
            d_factors=Factors(
                planes=(
                    Plane(offset=4, count=8, bits=4, stride=1),
                    Plane(offset=2, count=8, bits=2, stride=1, to=4),
                ),
                minus=32,
            ),
        ),
    )  # fmt: skip


def _ternary() -> tuple[BlockType, ...]:
    trits = (
        Trits(offset=0, count=160, stride=32),
        Trits(offset=32, count=80, stride=16, first=160),
        Trits(offset=48, count=16, stride=4, first=240),
    )
    return (
        BlockType(
            name="tq1_0",
            values=SUPER_BLOCK,
            size=54,
            codes=trits,
            levels=(-1, 0, 1),
            d_at=52,
            rule=Rule.ABSMAX,
        ),
        BlockType(
            name="tq2_0",
            values=SUPER_BLOCK,
            size=66,
            codes=(_wide(0, bits=2),),
            levels=(-1, 0, 1, 2),
            d_at=64,
            rule=Rule.ABSMAX,
        ),
    )


def _blocks() -> tuple[BlockType, ...]:
    return (
        _block("q4_0", levels=tuple(range(-8, 8)), rule=Rule.EXTREME, head=2),
        _block("q4_1", levels=tuple(range(16)), rule=Rule.RANGE, head=4),
        _block("q5_0", levels=tuple(range(-16, 16)), rule=Rule.EXTREME, head=2),
        _block("q5_1", levels=tuple(range(32)), rule=Rule.RANGE, head=4),
        BlockType(
            name="q8_0",
            values=BLOCK,
            size=34,
            d_at=0,
            codes=(Plane(offset=2, count=BLOCK, bits=8, stride=BLOCK),),
            levels=TWOS_COMPLEMENT,
            rule=Rule.ABSMAX,
        ),
        _block("iq4_nl", levels=IQ4_LEVELS, rule=Rule.LEVELS, head=2),
        _block("mxfp4-gguf", levels=E2M1_DOUBLED, rule=Rule.POWER, head=1),
    )


BLOCK_TYPES = {kind.name: kind for kind in chain(_blocks(), _ternary(), _super_blocks())}
