"""The GGUF schemes by name, each with its source."""

from numerics.gguf.block_types import BLOCK_TYPES, ENCODABLE
from numerics.gguf.scheme import GgufScheme

SOURCE = "block type {} of GGUF, as gguf.quants 0.19 defines it byte for byte"
_ALL = {
    name: (GgufScheme(type_name=name), SOURCE.format(name.removesuffix("-gguf").upper()))
    for name in BLOCK_TYPES
}
#: Schemes that quantize.
ENTRIES = {name: _ALL[name] for name in ENCODABLE}
#: Schemes that can only dequantize.
DECODE_ONLY_ENTRIES = {name: entry for name, entry in _ALL.items() if name not in ENCODABLE}
