"""Mixes of GGUF block types, such as ``q4_k_m``: the block type of each matrix of a model.

The rules are those of llama.cpp's ``llama_tensor_get_type_impl`` and ``tensor_type_fallback``
(src/llama-quant.cpp at 007dbbf3, without an importance matrix, for dense models of the Llama
layout), which ``llama-quantize`` writes files by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numerics.gguf.scheme import GgufScheme
from sim.model.config import ModelConfig
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names, tensor_shapes

#: Layers whose matrices some families store as a single matrix.
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a matrix in a model."""

    layer: int
    layers: int
    #: Number of query heads per key head.
    queries_per_key: int

    @property
    def is_early(self) -> bool:
        """Whether the layer is in the first eighth."""
        return self.layer < self.layers // 8

    @property
    def gets_more_bits(self) -> bool:
        """Whether the layer is in the first or last eighth, or every third of the others."""
        is_late = self.layer >= 7 * self.layers // 8
        return self.is_early or is_late or (self.layer - self.layers // 8) % 3 == 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A block type, the condition for layers to have it, and the condition as text."""

    kind: str
    holds: Callable[[Place], bool]
    words: str = ""


def _always(kind: str) -> Choice:
    return Choice(kind, lambda place: True)


def _early(kind: str) -> Choice:
    return Choice(kind, lambda place: place.is_early, "in the first eighth of the layers")


def _half(kind: str) -> Choice:
    return Choice(kind, lambda place: place.gets_more_bits, "in half of the layers")


def _shared(kind: str) -> Choice:
    words = "where 4 or more queries share a key"
    return Choice(kind, lambda place: place.queries_per_key >= 4, words)


def _first(count: int, kind: str) -> Choice:
    return Choice(kind, lambda place: place.layer < count, f"in the first {count} layers")


def _sixteenth(kind: str) -> Choice:
    words = "in the first sixteenth of the layers"
    return Choice(kind, lambda place: place.layer < place.layers // 16, words)


#: By mix: the type of most matrices, and choices for others (the first that applies is used).
MIXES: Mapping[str, tuple[str, Mapping[str, tuple[Choice, ...]]]] = {
    "q2_k": (
        "q2_k",
        {
            "self_attn.v_proj": (_shared("q4_k"), _always("q3_k")),
            "self_attn.o_proj": (_always("q3_k"),),
            "mlp.down_proj": (_always("q3_k"),),
        },
    ),
    "q2_k_s": (
        "q2_k",
        {"self_attn.v_proj": (_shared("q4_k"),), "mlp.down_proj": (_early("q4_k"),)},
    ),
    "q3_k_s": ("q3_k", {}),
    "q3_k_m": (
        "q3_k",
        {
            "self_attn.v_proj": (_first(2, "q5_k"), _always("q4_k")),
            "self_attn.o_proj": (_always("q4_k"),),
            "mlp.down_proj": (_sixteenth("q5_k"), _always("q4_k")),
        },
    ),
    "q3_k_l": (
        "q3_k",
        {
            name: (_always("q5_k"),)
            for name in ("self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj")
        },
    ),
    "q4_k_s": (
        "q4_k",
        {"self_attn.v_proj": (_first(4, "q5_k"),), "mlp.down_proj": (_early("q5_k"),)},
    ),
    "q4_k_m": (
        "q4_k",
        {"self_attn.v_proj": (_half("q6_k"),), "mlp.down_proj": (_half("q6_k"),)},
    ),
    "q5_k_s": ("q5_k", {}),
    "q5_k_m": (
        "q5_k",
        {"self_attn.v_proj": (_half("q6_k"),), "mlp.down_proj": (_half("q6_k"),)},
    ),
    **{
        name: (
            name,
            {"self_attn.v_proj": (_shared("q5_k"),), "mlp.down_proj": (_early("q5_k"),)},
        )
        for name in ("iq4_nl", "iq4_xs")
    },
    **{name: (name, {}) for name in ("q4_0", "q4_1", "q5_0", "q5_1", "q6_k", "q8_0")},
    **{name: (name, {}) for name in ("tq1_0", "tq2_0")},
}
#: ``general.file_type`` by mix: ``llama_ftype`` of llama.cpp's ``llama.h``.
FILE_TYPES = {
    "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q2_k_s": 21,
    "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16,
    "q5_k_m": 17, "q6_k": 18, "iq4_nl": 25, "iq4_xs": 30, "tq1_0": 36, "tq2_0": 37,
}  # fmt: skip
#: Families whose files hold q, k and v as one matrix, which gets the type of v.
FUSED_QKV = ("gpt2", "phi3")
#: Type of the embedding in mixes where it differs from that of most matrices.
EMBEDDINGS = {"tq1_0": "q4_k", "tq2_0": "q4_k"}
#: Number of layers (that of 70B models) with which ``attn_v`` has more bits.
DEEP_LAYERS = 80
#: Replacement types for rows that are not a multiple of 256 values (a super-block).
FALLBACK = {
    "q2_k": "q4_0", "q3_k": "q4_0", "tq1_0": "q4_0", "tq2_0": "q4_0", "q4_k": "q5_0",
    "q5_k": "q5_1", "q6_k": "q8_0", "iq4_xs": "iq4_nl",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufMix:
    """A mix: the block types of the linear layers, of the embedding and of ``lm_head``."""

    #: Name of the mix in :data:`MIXES`.
    kind: str

    @property
    def name(self) -> str:
        """Name of the mix, with a prefix that sets it apart from block types.

        >>> GgufMix("q4_0").name
        'gguf-q4_0'
        """
        return f"gguf-{self.kind}"

    def types(self, config: ModelConfig) -> dict[str, str]:
        """Return the block type of every matrix of a model, by name without ``.weight``.

        Matrices whose rows are not a multiple of any block size are left out; llama.cpp stores them
        in FP16.
        """
        shapes = tensor_shapes(config)
        head = () if config.tie_embeddings else (LM_HEAD,)
        names = (*linear_names(config), EMBED_TOKENS, *head)
        wanted = {name: (self._type(name, config), shapes[f"{name}.weight"][-1]) for name in names}
        found = {name: fitting(kind, row) for name, (kind, row) in wanted.items()}
        return {name: kind for name, kind in found.items() if kind is not None}

    @property
    def about(self) -> str:
        """Text of the types in the mix.

        >>> GgufMix("q4_k_m").about
        'Q4_K; v_proj and down_proj Q6_K in half of the layers; head Q6_K'
        """
        base, choices = MIXES[self.kind]
        by_words: dict[str, list[str]] = {}
        for member, some in choices.items():
            words = ", else ".join(f"{c.kind.upper()} {c.words}".strip() for c in some)
            by_words.setdefault(words, []).append(member.rpartition(".")[2])
        parts = [f"{' and '.join(members)} {words}" for words, members in by_words.items()]
        head = "Q8_0" if base == "q8_0" else "Q6_K"
        return "; ".join([base.upper(), *parts, f"head {head}"])

    def schemes(self, config: ModelConfig) -> dict[str, GgufScheme]:
        """Return the scheme of every matrix of a model."""
        return {name: GgufScheme(type_name=kind) for name, kind in self.types(config).items()}

    def _type(self, name: str, config: ModelConfig) -> str:
        base, choices = MIXES[self.kind]
        if name == LM_HEAD or (name == EMBED_TOKENS and config.tie_embeddings):
            fits = config.hidden_size % _block(base) == 0
            return "q6_k" if fits and base != "q8_0" else "q8_0"
        if name == EMBED_TOKENS:
            return EMBEDDINGS.get(base, base)
        _, layer, member = name.split(".", 2)
        if member in QKV and config.family in FUSED_QKV:
            member = "self_attn.v_proj"
        place = Place(int(layer), config.layers, config.heads // config.kv_heads)
        kind = next((c.kind for c in choices.get(member, ()) if c.holds(place)), base)
        is_deep = config.layers == DEEP_LAYERS and place.queries_per_key > 1
        is_deep = is_deep and member == "self_attn.v_proj"
        return "q5_k" if is_deep and kind in ("q3_k", "q4_k") else kind


def _block(kind: str) -> int:
    return GgufScheme(type_name=kind).group_size


def fitting(kind: str, row: int) -> str | None:
    """Return a type whose blocks divide a row; ``None`` if there is none."""
    if row % _block(kind) == 0:
        return kind
    other = FALLBACK.get(kind)
    return other if other is not None and row % _block(other) == 0 else None
