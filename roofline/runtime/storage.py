"""Storage of weights: bytes of a linear layer, and the operand type that it is multiplied as."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

# Schemes take as long to import as all of roofline, and plain formats don't need them.
if TYPE_CHECKING:
    from numerics.schemes.scheme import Scheme

#: Vector operations to expand one stored weight to an operand: for arithmetic codes a shift or mask
#: and a multiply-add with scale and zero point (arXiv:2306.00978, section 4.1); for codes of a
#: table a gather and a multiplication; for a plain conversion one.
CODE_OPS = 3.0
TABLE_OPS = 2.0
CONVERT_OPS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How weights are stored: by a scheme of ``numerics``, or in a number of bits each."""

    name: str
    scheme: "Scheme | None" = None
    bits: float | None = None
    #: Operand type that multiplies the codes without expanding them; None if there is none.
    operand: str | None = None
    #: Vector operations to expand one code to an operand of a wider type.
    dequantize_ops: float = CODE_OPS

    @property
    def is_two_of_four(self) -> bool:
        """Whether two of every four weights are stored, which some machines multiply faster."""
        scheme = self.scheme
        if scheme is None:
            return False
        from numerics.structures.sparse import Sparse

        return isinstance(scheme, Sparse) and (scheme.keep, scheme.block) == (2, 4)

    def bytes(self, inputs: int, outputs: int) -> float:
        """Return the bytes of a weight of ``outputs`` x ``inputs`` with all side data.

        >>> weight_storage("int4").bytes(4096, 4096) * 8 / 4096**2
        4.125
        """
        return self.bits_per_weight(inputs, outputs) * inputs * outputs / 8

    def bits_per_weight(self, inputs: int, outputs: int) -> float:
        """Return the bits of one weight of ``outputs`` x ``inputs`` with its share of side data."""
        if self.bits is not None:
            return self.bits
        assert self.scheme is not None
        return _bits(self.scheme, outputs, inputs)


@cache
def _bits(scheme: "Scheme", outputs: int, inputs: int) -> float:
    return scheme.bits_per_weight((outputs, inputs), kind="full")


FP16 = Storage(name="fp16", bits=16.0, operand="fp16", dequantize_ops=CONVERT_OPS)
FP32 = Storage(name="fp32", bits=32.0, operand="fp32", dequantize_ops=CONVERT_OPS)
PLAIN = {"fp16": FP16, "bf16": FP16, "f16": FP16, "fp32": FP32, "f32": FP32}


@cache
def weight_storage(text: str) -> Storage:
    """Return the storage that the text of a scheme means, such as ``int4:g64`` or ``nvfp4``.

    >>> weight_storage("nvfp4").operand, weight_storage("nf4").operand
    ('fp4', None)
    """
    if text in PLAIN:
        return PLAIN[text]
    from numerics.names.text import parse_scheme

    scheme = parse_scheme(text)
    return Storage(
        name=text,
        scheme=scheme,
        operand=operand_of(scheme),
        dequantize_ops=CODE_OPS if _is_arithmetic(scheme) else TABLE_OPS,
    )


def operand_of(scheme: "Scheme") -> str | None:
    """Return the narrowest operand type that holds every code of a scheme exactly."""
    from numerics.formats import FloatFormat, IntFormat

    formats = scheme.formats
    if len(formats) != 1 or not _is_arithmetic(scheme):
        return None
    (fmt,) = formats
    if isinstance(fmt, IntFormat):
        return "int4" if fmt.bits <= 4 else "int8"
    if fmt.name in ("fp4", "fp4_e2m1"):
        return "fp4"
    return "fp8" if isinstance(fmt, FloatFormat) and fmt.bits <= 8 else None


def _is_arithmetic(scheme: "Scheme") -> bool:
    from numerics.formats import FloatFormat, IntFormat

    return all(isinstance(fmt, (IntFormat, FloatFormat)) for fmt in scheme.formats)


#: Bits of a float32, which a number of the KV cache may take at most.
WIDEST = 32.0
#: Formats of ``numerics`` by the names that formats of a KV cache have here. Caches in FP8 have one
#: scale for a tensor (vLLM's ``--kv-cache-dtype fp8``, TensorRT-LLM), so a token stores none.
KV_NAMES = {
    "fp8": "fp8_e4m3:tensor",
    "fp8_e4m3": "fp8_e4m3:tensor",
    "fp8_e5m2": "fp8_e5m2:tensor",
}
#: Tokens and heads of a cache over which the scale of a tensor is counted.
CACHED_ROWS = 1 << 30


@cache
def kv_bits(text: str, head_dim: int) -> float:
    """Return the bits of one number of the KV cache, with the scales of a head of a token.

    A scale of a whole tensor takes none of them.

    >>> [kv_bits(name, 128) for name in ("fp16", "int8", "fp8", "nvfp4")]
    [16.0, 8.25, 8.0, 4.5]
    """
    if text in PLAIN:
        return PLAIN[text].bits or 0.0
    from numerics.names.text import parse_scheme

    scheme = parse_scheme(KV_NAMES.get(text, text), role="kv")
    alone = scheme.bits_per_weight((1, head_dim), kind="full")
    if alone > WIDEST:
        raise ValueError(
            f"{text!r} takes {alone:g} bits for a number of the KV cache, where each head of a"
            " token is stored by itself; take a format without a codebook"
        )
    return round(scheme.bits_per_weight((CACHED_ROWS, head_dim), kind="full"), 6)


def known_storages() -> list[str]:
    """Return the names of all storages: plain ones and those of the catalog of schemes."""
    from numerics.names.catalog import SCHEMES

    return [*PLAIN, *SCHEMES]
