"""Mixes of GGUF block types, such as ``q4_k_m``: the block type of each matrix, layer by layer.

The rules are those of llama.cpp's ``llama_tensor_get_type_impl`` and ``tensor_type_fallback``
(src/llama-quant.cpp at 007dbbf3, without an importance matrix, for the Llama layout), which
``llama-quantize`` writes files by. Matrices have the names of layers: ``v``, ``o``, ``down`` and
so on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from numerics.gguf.block_types import BLOCK, BLOCK_TYPES, SUPER_BLOCK

#: Types without blocks; a file in one of them has it in all matrices.
FLOATS = ("f32", "f16", "bf16")
#: Types that :mod:`numerics` does not encode, with blocks of 32 values; others have 256.
SMALL_BLOCKS = ("mxfp4", "q6_0")
#: Replacement types for rows that are not a multiple of 256 values (a super-block).
FALLBACK = {
    "q2_k": "q4_0", "q3_k": "q4_0", "tq1_0": "q4_0", "tq2_0": "q4_0", "q4_k": "q5_0",
    "q5_k": "q5_1", "q6_k": "q8_0", "iq4_xs": "iq4_nl",
}  # fmt: skip
#: Number of layers (that of 70B models) with which ``attn_v`` has more bits.
DEEP_LAYERS = 80
#: Number of experts (that of Mixtral) with which attention has more bits.
FEW_EXPERTS = 8
#: Mixes whose ``attn_output`` has Q5_K in a model with that number of experts.
WIDER_WITH_EXPERTS = ("q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m", "iq4_nl", "iq4_xs")


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a matrix in a model."""

    layer: int
    layers: int
    #: Number of query heads per key head.
    queries_per_key: int
    #: Number of experts of a layer; 0 in a dense model.
    experts: int = 0

    @property
    def is_early(self) -> bool:
        """Whether the layer is in the first eighth."""
        return self.layer < self.layers // 8

    @property
    def gets_more_bits(self) -> bool:
        """Whether the layer is in the first or last eighth, or every third of the others."""
        is_late = self.layer >= 7 * self.layers // 8
        return self.is_early or is_late or (self.layer - self.layers // 8) % 3 == 2


#: Conditions for layers to have a type, by the words that describe them.
CONDITIONS: Mapping[str, Callable[[Place], bool]] = MappingProxyType(
    {
        "": lambda place: True,
        "in the first eighth of the layers": lambda place: place.is_early,
        "in half of the layers": lambda place: place.gets_more_bits,
        "where 4 or more queries share a key": lambda place: place.queries_per_key >= 4,
        "in the first 2 layers": lambda place: place.layer < 2,
        "in the first 4 layers": lambda place: place.layer < 4,
        "in the first sixteenth of the layers": lambda place: place.layer < place.layers // 16,
    }
)
EARLY, HALF, SHARED, FIRST_2, FIRST_4, SIXTEENTH = list(CONDITIONS)[1:]


@dataclass(frozen=True, slots=True)
class Choice:
    """A block type, and the condition for layers to have it: a key of :data:`CONDITIONS`."""

    kind: str
    words: str = ""

    def holds(self, place: Place) -> bool:
        """Return whether the layer of a place has the type."""
        return CONDITIONS[self.words](place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The block types of a model's matrices."""

    #: Name of the file type, such as ``q4_k_m``.
    name: str
    #: Type of most matrices.
    base: str
    #: Choices for other matrices, of which the first that applies is used.
    choices: tuple[tuple[str, tuple[Choice, ...]], ...] = ()
    #: Type of the embedding where it differs from that of most matrices.
    embedding: str | None = None
    #: Whether all linear layers have one type, whatever the model.
    is_uniform: bool = False

    def linear_type(self, member: str, place: Place) -> str:
        """Return the type of a linear layer, if its rows consist of whole blocks.

        >>> MIXES["q4_k_m"].linear_type("v", Place(0, 32, 4))
        'q6_k'
        """
        if self.is_uniform:
            return self.base
        if place.experts == FEW_EXPERTS and member in ("k", "v", "o"):
            return self._beside_experts(member)
        choices = dict(self.choices).get(member, ())
        kind = next((choice.kind for choice in choices if choice.holds(place)), self.base)
        is_deep = place.layers == DEEP_LAYERS and place.queries_per_key > 1 and member == "v"
        return "q5_k" if is_deep and kind in ("q3_k", "q4_k") else kind

    def head_type(self, row: int) -> str:
        """Return the type of ``lm_head``, which is the embedding too where both are tied."""
        if self.base in FLOATS:
            return self.base
        is_whole = row % block_size(self.base) == 0
        return "q6_k" if is_whole and self.base != "q8_0" else "q8_0"

    @property
    def embedding_type(self) -> str:
        """Type of an embedding that is not tied to the head."""
        return self.embedding or self.base

    def uniform(self) -> "Mix":
        """Return the mix with one type in all linear layers; embedding and head stay."""
        return replace(self, choices=(), is_uniform=True)

    def _beside_experts(self, member: str) -> str:
        if member != "o":
            return "q8_0"
        return "q5_k" if self.name in WIDER_WITH_EXPERTS else self.base


def block_size(kind: str) -> int:
    """Return the number of values in a block of a type."""
    if kind in BLOCK_TYPES:
        return BLOCK_TYPES[kind].values
    return 1 if kind in FLOATS else BLOCK if kind in SMALL_BLOCKS else SUPER_BLOCK


def fitting(kind: str, row: int) -> str | None:
    """Return a type whose blocks divide a row; ``None`` if there is none.

    >>> fitting("q4_k", 4096), fitting("q4_k", 576), fitting("q4_k", 100)
    ('q4_k', 'q5_0', None)
    """
    if row % block_size(kind) == 0:
        return kind
    other = FALLBACK.get(kind)
    return other if other is not None and row % block_size(other) == 0 else None


def _mix(
    name: str, base: str, *, embedding: str | None = None, **choices: Choice | list[Choice]
) -> Mix:
    listed = {
        key: (some,) if isinstance(some, Choice) else tuple(some) for key, some in choices.items()
    }
    return Mix(name=name, base=base, choices=tuple(listed.items()), embedding=embedding)


_LISTED = (
    _mix(
        "q2_k",
        "q2_k",
        v=[Choice("q4_k", SHARED), Choice("q3_k")],
        o=Choice("q3_k"),
        down=Choice("q3_k"),
    ),
    _mix("q2_k_s", "q2_k", v=Choice("q4_k", SHARED), down=Choice("q4_k", EARLY)),
    _mix("q3_k_s", "q3_k"),
    _mix(
        "q3_k_m",
        "q3_k",
        v=[Choice("q5_k", FIRST_2), Choice("q4_k")],
        o=Choice("q4_k"),
        down=[Choice("q5_k", SIXTEENTH), Choice("q4_k")],
    ),
    _mix("q3_k_l", "q3_k", v=Choice("q5_k"), o=Choice("q5_k"), down=Choice("q5_k")),
    _mix("q4_k_s", "q4_k", v=Choice("q5_k", FIRST_4), down=Choice("q5_k", EARLY)),
    _mix("q4_k_m", "q4_k", v=Choice("q6_k", HALF), down=Choice("q6_k", HALF)),
    _mix("q5_k_s", "q5_k"),
    _mix("q5_k_m", "q5_k", v=Choice("q6_k", HALF), down=Choice("q6_k", HALF)),
    *(
        _mix(name, name, v=Choice("q5_k", SHARED), down=Choice("q5_k", EARLY))
        for name in ("iq4_nl", "iq4_xs")
    ),
    *(_mix(name, name) for name in ("q4_0", "q4_1", "q5_0", "q5_1", "q6_k", "q8_0")),
    *(_mix(name, name, embedding="q4_k") for name in ("tq1_0", "tq2_0")),
)
#: Mixes by name.
MIXES: Mapping[str, Mix] = MappingProxyType({mix.name: mix for mix in _LISTED})
#: Block types of linear layers that are alike, by the name of the type; ``q2_k`` is a mix too.
UNIFORM: Mapping[str, Mix] = MappingProxyType(
    {mix.base: MIXES.get(mix.base, replace(mix, name=mix.base)).uniform() for mix in _LISTED}
)
