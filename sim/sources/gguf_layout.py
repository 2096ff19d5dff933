"""Which tensors a GGUF file has, of which canonical tensors each is made, and in which order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.mixes import MIXES, Kind, Mix, MixModel
from numerics.gguf.scheme import GgufScheme
from sim.model.config import ModelConfig
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, tensor_shapes
from sim.sources.gguf_tensors import QKV, interleaved, stored_name
from sim.sources.source import ModelSource

#: Kind of tensor in the rules of a mix, by the last part of its canonical name.
KINDS: Mapping[str, Kind] = {
    EMBED_TOKENS: "embedding", LM_HEAD: "head",
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o",
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down",
}  # fmt: skip
#: Families whose q, k and v are one matrix, and those whose gate and up are one, named ``ffn_up``.
FUSED_QKV, FUSED_GATE_UP = ("gpt2", "phi3"), ("phi3",)
#: Families of the architecture ``llama``, whose rows of q and k the converter reorders.
REORDERED = ("llama", "mistral")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of the file: the rows of its canonical tensors, one after the other."""

    name: str
    members: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose weights these are, as recipes spell them."""
        return tuple(member.removesuffix(".weight") for member in self.members)

    @property
    def kind(self) -> Kind | None:
        """Kind of matrix in the rules of a mix; ``None`` for what is never quantized."""
        if len(self.shape) < 2:
            return None
        if len(self.members) == len(QKV):
            return "qkv"
        # Gate and up in one matrix count as up, whose name it has.
        return KINDS.get(self.layers[-1].rpartition(".")[2])

    @property
    def layer(self) -> int:
        """Index of the layer, 0 outside the layers."""
        parts = self.members[0].split(".")
        return int(parts[1]) if parts[0] == "layers" else 0


def stored_tensors(config: ModelConfig) -> list[Stored]:
    """Return the tensors of the file of a model, in canonical order."""
    shapes = tensor_shapes(config)
    joined: dict[str, list[str]] = {}
    for name in shapes:
        joined.setdefault(_joint_name(name, config), []).append(name)
    return [
        Stored(
            stored,
            tuple(members),
            (sum(shapes[m][0] for m in members), *shapes[members[0]][1:]),
        )
        for stored, members in joined.items()
    ]


def _joint_name(name: str, config: ModelConfig) -> str:
    part = name.rpartition(".")[0].split(".", 2)[-1]
    if part in QKV and config.family in FUSED_QKV:
        return stored_name(name).replace(f"attn_{part[-6]}.", "attn_qkv.")
    if part == "mlp.gate_proj" and config.family in FUSED_GATE_UP:
        return stored_name(name).replace("ffn_gate", "ffn_up")
    return stored_name(name)


def mix_model(config: ModelConfig) -> MixModel:
    """Return what the rules of a mix ask about a model."""
    return MixModel(
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        is_tied=config.tie_embeddings,
    )


def mix_types(mix: Mix, config: ModelConfig) -> dict[str, str]:
    """Return the type of each matrix of a model, by layer name; fused matrices have one."""
    model = mix_model(config)
    types: dict[str, str] = {}
    for stored in stored_tensors(config):
        if (kind := stored.kind) is not None:
            found = mix.tensor_type(kind, stored.layer, stored.shape[-1], model)
            types |= dict.fromkeys(stored.layers, found)
    return types


def mix_schemes(name: str, config: ModelConfig) -> dict[str, GgufScheme]:
    """Return the scheme of each matrix that a mix quantizes, by layer name."""
    types = mix_types(MIXES[name], config)
    return {
        layer: GgufScheme(type_name=kind) for layer, kind in types.items() if kind in BLOCK_TYPES
    }


def read_stored(source: ModelSource, stored: Stored) -> np.ndarray:
    """Return the values of a tensor of the file, rows in the order of llama.cpp's converter."""
    config = source.config
    rows = [_ordered(source.read(name), name, config) for name in stored.members]
    values = rows[0] if len(rows) == 1 else np.concatenate(rows)
    offset = config.norm_weight_offset if stored.members[0].endswith("_norm.weight") else 0.0
    return np.ascontiguousarray(values + np.float32(offset) if offset else values)


def _ordered(rows: np.ndarray, name: str, config: ModelConfig) -> np.ndarray:
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(_module(name), 0)
    if not heads or config.family not in REORDERED:
        return rows
    return interleaved(rows, heads)


def _module(name: str) -> str:
    return name.rpartition(".")[0].rpartition(".")[2]
