"""The GGUF schemes by name, each with its source."""

from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.scheme import GgufScheme

SOURCE = "block type {} of GGUF, as gguf.quants 0.19 defines it byte for byte"
#: Types whose quantizers are searches, which gguf.quants does not implement.
SEARCHED = "block type {} of GGUF, quantized as ggml 0.13.1 does without an importance matrix"


def _entry(scheme: GgufScheme) -> tuple[GgufScheme, str]:
    source = SEARCHED if scheme.block_type.rule.is_search else SOURCE
    return scheme, source.format(scheme.ggml_name)


ENTRIES = {name: _entry(GgufScheme(type_name=name)) for name in BLOCK_TYPES}
