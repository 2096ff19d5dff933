"""Catalog entries of the ternary and binary schemes: name, scheme, source."""

from numerics.schemes.scheme import Scheme
from numerics.ternary.schemes import BitNetInt8, BitNetTernary, ColumnBinary, Twn

ENTRIES: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for scheme, source in (
        (BitNetTernary(), "BitNet b1.58, arXiv:2402.17764, section 2, per tensor"),
        (BitNetInt8(), "the activations of BitNet b1.58, arXiv:2402.17764, per token"),
        (Twn(), "Ternary Weight Networks, arXiv:1605.04711, section 2, FP16 scale a group"),
        (ColumnBinary(), "FBI-LLM, arXiv:2407.07093, section 3.1, at its initial scales"),
    )
}
