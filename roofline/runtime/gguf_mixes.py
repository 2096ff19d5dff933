"""GGUF mixes: the block type of each kind of tensor, by the label of the file.

A label such as ``Q4_K_M`` names a mix: ``attn_v`` and ``ffn_down`` of some layers have wider types
than the rest, and the head has Q6_K. The rules are those of llama.cpp's ``llama_tensor_get_type``;
where it picks layers one by one, the share of layers stands here.
"""

from dataclasses import dataclass, field

#: Bits per weight of the block types that only ik_llama.cpp has, from its ggml-common.h; the few
#: extra bytes a row of some types don't count.
IK_BITS = {
    "q6_0": 6.5, "iq2_k": 2.375, "iq3_k": 3.4375, "iq4_k": 4.5, "iq5_k": 5.5, "iq6_k": 6.625,
    "iq2_ks": 2.1875, "iq3_ks": 3.1875, "iq4_ks": 4.25, "iq5_ks": 5.25, "iq2_kl": 2.6875,
    "iq4_kss": 4.0, "iq1_kt": 1.75, "iq2_kt": 2.125, "iq3_kt": 3.125, "iq4_kt": 4.0,
}  # fmt: skip
#: Bits per weight of all block types, from ggml-common.h.
TYPE_BITS = {
    "f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q6_k": 6.5625, "q5_k": 5.5, "q4_k": 4.5,
    "q3_k": 3.4375, "q2_k": 2.625, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0, "q4_0": 4.5,
    "iq4_nl": 4.5, "iq4_xs": 4.25, "iq3_s": 3.4375, "iq3_xxs": 3.0625, "iq2_s": 2.5625,
    "iq2_xs": 2.3125, "iq2_xxs": 2.0625, "iq1_s": 1.5625, "iq1_m": 1.75, "tq1_0": 1.6875,
    "tq2_0": 2.0625, "mxfp4": 4.25, **IK_BITS,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Block types of one mix; ``more`` has pairs of layer share and type for other tensors."""

    base: str
    more: dict[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    head: str = "q6_k"
    embedding: str | None = None

    def bits(self, tensor: str) -> float:
        """Return the bits per weight of ``v``, ``o``, ``down``, ``head`` and so on.

        >>> MIXES["q4_k_m"].bits("down")
        5.53125
        """
        if tensor == "head":
            return TYPE_BITS[self.head]
        if tensor == "embedding":
            return TYPE_BITS[self.embedding or self.base]
        parts = self.more.get(tensor, ())
        rest = 1.0 - sum(share for share, _ in parts)
        return rest * TYPE_BITS[self.base] + sum(share * TYPE_BITS[name] for share, name in parts)


def _all(name: str) -> tuple[tuple[float, str], ...]:
    return ((1.0, name),)


def _half(name: str) -> tuple[tuple[float, str], ...]:
    """Return a type for the first and last eighth of the layers, and every third between."""
    return ((0.5, name),)


MIXES = {
    **{name: Mix(base=name, head=name) for name in ("f32", "f16", "bf16", "q8_0", "q6_k")},
    **{
        name: Mix(base=name)
        for name in ("q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "iq4_xs", "mxfp4", *IK_BITS)
    },
    "q2_k": Mix(base="q2_k", more={"v": _all("q4_k"), "o": _all("q3_k"), "down": _all("q3_k")}),
    "q2_k_s": Mix(base="q2_k", more={"v": _all("q4_k"), "down": ((0.125, "q4_k"),)}),
    "q3_k_s": Mix(base="q3_k"),
    "q3_k_m": Mix(
        base="q3_k",
        more={
            "v": ((0.0625, "q5_k"), (0.9375, "q4_k")),
            "o": _all("q4_k"),
            "down": ((0.0625, "q5_k"), (0.9375, "q4_k")),
        },
    ),
    "q3_k_l": Mix(base="q3_k", more={name: _all("q5_k") for name in ("v", "o", "down")}),
    "q4_k_s": Mix(base="q4_k", more={"v": ((0.125, "q5_k"),), "down": ((0.125, "q5_k"),)}),
    "q4_k_m": Mix(base="q4_k", more={"v": _half("q6_k"), "down": _half("q6_k")}),
    "q5_k_s": Mix(base="q5_k"),
    "q5_k_m": Mix(base="q5_k", more={"v": _half("q6_k"), "down": _half("q6_k")}),
    **{
        name: Mix(base=name, embedding="q4_k")
        for name in (
            "tq1_0",
            "tq2_0",
            "iq3_s",
            "iq3_xxs",
            "iq2_s",
            "iq2_xs",
            "iq2_xxs",
            "iq1_s",
            "iq1_m",
        )
    },
}
#: Other names of mixes in use.
MIX_ALIASES = {
    "q3_k": "q3_k_m",
    "q4_k": "q4_k_m",
    "q5_k": "q5_k_m",
    "q4": "q4_0",
    "q5": "q5_0",
    "q6": "q6_k",
    "q8": "q8_0",
}
