"""Block types of a model's matrices in a GGUF mix, such as ``q4_k_m``.

:mod:`numerics.gguf.mixes` has the rules for each layer.
"""

from dataclasses import dataclass

from numerics.gguf.mixes import MIXES, Mix, Place, fitting
from numerics.gguf.scheme import GgufScheme
from sim.model.config import ModelConfig
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names, tensor_shapes

#: Layers whose matrices some families store as a single matrix.
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
#: ``general.file_type`` by mix: ``llama_ftype`` of llama.cpp's ``llama.h``.
FILE_TYPES = {
    "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q2_k_s": 21,
    "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16,
    "q5_k_m": 17, "q6_k": 18, "iq4_nl": 25, "iq4_xs": 30, "tq1_0": 36, "tq2_0": 37,
}  # fmt: skip
#: Families whose files hold q, k and v as one matrix, which gets the type of v.
FUSED_QKV = ("gpt2", "phi3")


@dataclass(frozen=True, slots=True)
class GgufMix:
    """A mix: the block types of the linear layers, of the embedding and of ``lm_head``."""

    #: Name of the mix in :data:`numerics.gguf.mixes.MIXES`.
    kind: str

    @property
    def name(self) -> str:
        """Name of the mix, with a prefix that sets it apart from block types.

        >>> GgufMix("q4_0").name
        'gguf-q4_0'
        """
        return f"gguf-{self.kind}"

    @property
    def rules(self) -> Mix:
        """The types of matrices by layer."""
        return MIXES[self.kind]

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
        mix = self.rules
        by_words: dict[str, list[str]] = {}
        for member, some in mix.choices:
            words = ", else ".join(f"{c.kind.upper()} {c.words}".strip() for c in some)
            by_words.setdefault(words, []).append(f"{member}_proj")
        parts = [f"{' and '.join(members)} {words}" for words, members in by_words.items()]
        head = "Q8_0" if mix.base == "q8_0" else "Q6_K"
        return "; ".join([mix.base.upper(), *parts, f"head {head}"])

    def schemes(self, config: ModelConfig) -> dict[str, GgufScheme]:
        """Return the scheme of every matrix of a model."""
        return {name: GgufScheme(type_name=kind) for name, kind in self.types(config).items()}

    def _type(self, name: str, config: ModelConfig) -> str:
        if name == LM_HEAD or (name == EMBED_TOKENS and config.tie_embeddings):
            return self.rules.head_type(config.hidden_size)
        if name == EMBED_TOKENS:
            return self.rules.embedding_type
        _, layer, member = name.split(".", 2)
        if member in QKV and config.family in FUSED_QKV:
            member = "self_attn.v_proj"
        place = Place(int(layer), config.layers, config.heads // config.kv_heads)
        return self.rules.linear_type(member.rpartition(".")[2].removesuffix("_proj"), place)
