"""Mixes of llama.cpp: which block type each tensor of a file gets.

The rules are those of ``llama_tensor_get_type`` in llama.cpp's ``llama-quant.cpp`` (0.5.0, August
2026) without an importance matrix and without experts, for the types that can be quantized here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from numerics.gguf.block_types import BLOCK_TYPES

Kind = Literal["embedding", "head", "q", "k", "v", "qkv", "o", "gate", "up", "down"]

#: Query heads of each key/value head from which llama.cpp gives values more bits.
MANY_QUERIES = 4
#: Layers of the models that llama.cpp calls 70B if they share key/value heads.
LAYERS_OF_70B = 80
#: Type of rows that are not whole blocks of 256; FP16 where blocks of 32 don't fit either.
FALLBACK = {
    "q2_k": "q4_0", "q3_k": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0",
    "iq4_xs": "iq4_nl", "tq1_0": "q4_0", "tq2_0": "q4_0",
}  # fmt: skip
FLOAT = "f16"


class Where(Enum):
    """Layers that a rule holds for."""

    ALL = "all"
    #: The first and last eighth and every third layer between them.
    MORE_BITS = "more bits"
    FIRST_TWO = "first two"
    FIRST_FOUR = "first four"
    FIRST_EIGHTH = "first eighth"
    FIRST_SIXTEENTH = "first sixteenth"
    #: All layers of models with :data:`MANY_QUERIES`.
    SHARED_VALUES = "shared values"

    def holds(self, layer: int, model: "MixModel") -> bool:
        """Return whether a layer is among them."""
        n = model.layers
        match self:
            case Where.ALL:
                return True
            case Where.MORE_BITS:
                return layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2
            case Where.SHARED_VALUES:
                return model.heads // model.kv_heads >= MANY_QUERIES
        limits = {
            Where.FIRST_TWO: 2,
            Where.FIRST_FOUR: 4,
            Where.FIRST_EIGHTH: n // 8,
            Where.FIRST_SIXTEENTH: n // 16,
        }
        return layer < limits[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixModel:
    """What the rules ask about a model."""

    layers: int
    heads: int
    kv_heads: int
    #: Whether the head is the embedding.
    is_tied: bool

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp takes it for a model of 70B parameters."""
        return self.layers == LAYERS_OF_70B and self.heads != self.kv_heads


Rules = tuple[tuple[Where, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The types of one kind of file."""

    name: str
    #: ``general.file_type`` of the file: ``llama_ftype`` of llama.cpp.
    file_type: int
    base: str
    #: By kind of tensor: the first rule that holds for the layer gives the type, else ``base``.
    rules: Mapping[Kind, Rules] = field(default_factory=dict)
    embedding: str | None = None
    head: str = "q6_k"

    def tensor_type(self, kind: Kind, layer: int, row: int, model: MixModel) -> str:
        """Return the type of a matrix with rows of ``row`` values.

        >>> model = MixModel(layers=32, heads=32, kv_heads=8, is_tied=False)
        >>> [MIXES["q4_k_m"].tensor_type("down", layer, 4096, model) for layer in (3, 4)]
        ['q6_k', 'q4_k']
        """
        return fitting(self._preferred(kind, layer, row, model), row)

    def _preferred(self, kind: Kind, layer: int, row: int, model: MixModel) -> str:
        if kind == "head" or (kind == "embedding" and model.is_tied):
            return self.head if row % BLOCK_TYPES[self.base].values == 0 else "q8_0"
        if kind == "embedding":
            return self.embedding or self.base
        rules = self.rules.get("v" if kind == "qkv" else kind, ())
        found = next((name for where, name in rules if where.holds(layer, model)), self.base)
        is_raised = kind in ("v", "qkv") and model.is_70b and found in ("q3_k", "q4_k")
        return "q5_k" if is_raised else found


def fitting(name: str, row: int) -> str:
    """Return the type itself if rows are whole blocks of it, else what llama.cpp falls back to.

    >>> [fitting("q4_k", row) for row in (4096, 576, 40)]
    ['q4_k', 'q5_0', 'f16']
    """
    for candidate in (name, FALLBACK.get(name, name)):
        if row % BLOCK_TYPES[candidate].values == 0:
            return candidate
    return FLOAT


def _all(name: str) -> Rules:
    return ((Where.ALL, name),)


_MORE: Mapping[Kind, Rules] = {
    "v": ((Where.MORE_BITS, "q6_k"),),
    "down": ((Where.MORE_BITS, "q6_k"),),
}
_NON_LINEAR: Mapping[Kind, Rules] = {
    "v": ((Where.SHARED_VALUES, "q5_k"),),
    "down": ((Where.FIRST_EIGHTH, "q5_k"),),
}
_MIXES = (
    Mix(name="q4_0", file_type=2, base="q4_0"),
    Mix(name="q4_1", file_type=3, base="q4_1"),
    Mix(name="q8_0", file_type=7, base="q8_0", head="q8_0"),
    Mix(name="q5_0", file_type=8, base="q5_0"),
    Mix(name="q5_1", file_type=9, base="q5_1"),
    Mix(
        name="q2_k",
        file_type=10,
        base="q2_k",
        rules={
            "v": ((Where.SHARED_VALUES, "q4_k"), (Where.ALL, "q3_k")),
            "o": _all("q3_k"),
            "down": _all("q3_k"),
        },
    ),
    Mix(
        name="q2_k_s",
        file_type=21,
        base="q2_k",
        rules={"v": ((Where.SHARED_VALUES, "q4_k"),), "down": ((Where.FIRST_EIGHTH, "q4_k"),)},
    ),
    Mix(name="q3_k_s", file_type=11, base="q3_k"),
    Mix(
        name="q3_k_m",
        file_type=12,
        base="q3_k",
        rules={
            "v": ((Where.FIRST_TWO, "q5_k"), (Where.ALL, "q4_k")),
            "o": _all("q4_k"),
            "down": ((Where.FIRST_SIXTEENTH, "q5_k"), (Where.ALL, "q4_k")),
        },
    ),
    Mix(
        name="q3_k_l",
        file_type=13,
        base="q3_k",
        rules={"v": _all("q5_k"), "o": _all("q5_k"), "down": _all("q5_k")},
    ),
    Mix(
        name="q4_k_s",
        file_type=14,
        base="q4_k",
        rules={"v": ((Where.FIRST_FOUR, "q5_k"),), "down": ((Where.FIRST_EIGHTH, "q5_k"),)},
    ),
    Mix(name="q4_k_m", file_type=15, base="q4_k", rules=_MORE),
    Mix(name="q5_k_s", file_type=16, base="q5_k"),
    Mix(name="q5_k_m", file_type=17, base="q5_k", rules=_MORE),
    Mix(name="q6_k", file_type=18, base="q6_k"),
    Mix(name="iq4_nl", file_type=25, base="iq4_nl", rules=_NON_LINEAR),
    Mix(name="iq4_xs", file_type=30, base="iq4_xs", rules=_NON_LINEAR),
    Mix(name="tq1_0", file_type=36, base="tq1_0", embedding="q4_k"),
    Mix(name="tq2_0", file_type=37, base="tq2_0", embedding="q4_k"),
    Mix(name="mxfp4", file_type=38, base="mxfp4-gguf", embedding="q8_0", head="q8_0"),
)
MIXES = {mix.name: mix for mix in _MIXES}
#: A file of floating-point numbers alone: ``LLAMA_FTYPE_ALL_F32``.
FLOAT_MIX = Mix(name="float32", file_type=0, base="q8_0", head="q8_0")
#: Mixes whose name is not the name of a block type, so that it can only mean the mix.
MIXED_NAMES = tuple(
    name for name in MIXES if name.rpartition("_")[0] in BLOCK_TYPES and name not in BLOCK_TYPES
)


def mix_of_type(name: str) -> Mix:
    """Return the mix that the file of a plain type declares; the pure one of a K type.

    >>> [mix_of_type(name).name for name in ("q4_0", "q4_k", "mxfp4-gguf")]
    ['q4_0', 'q4_k_s', 'mxfp4']
    """
    plain = name.removesuffix("-gguf")
    return MIXES[f"{plain}_s" if f"{plain}_s" in MIXES else plain]
