"""The GGUF schemes by name, each with its source."""

from numerics.gguf.block_types import BLOCK_TYPES, ENCODABLE
from numerics.gguf.scheme import GgufScheme

SOURCE = "block type {} of GGUF, as gguf.quants 0.19 defines it byte for byte"
_SCHEMES = [GgufScheme(type_name=name) for name in BLOCK_TYPES]
_ALL = {scheme.name: (scheme, SOURCE.format(scheme.ggml_name)) for scheme in _SCHEMES}
#: Schemes that quantize.
ENTRIES = {name: _ALL[name] for name in ENCODABLE}
#: Schemes that can only dequantize.
DECODE_ONLY_ENTRIES = {name: entry for name, entry in _ALL.items() if name not in ENCODABLE}
